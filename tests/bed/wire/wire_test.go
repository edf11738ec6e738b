package wire

import (
	"bytes"
	"encoding/hex"
	"errors"
	"net/netip"
	"testing"
)

func hexBytes(t *testing.T, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// The header of RFC 1071's kin that every textbook has: checksum b861.
func TestIPv4KnownHeader(t *testing.T) {
	known := hexBytes(t, "4500007300004000401100"+"00c0a80001c0a800c7")
	h := IPv4{DF: true, TTL: 64, Proto: ProtoUDP, TotalLen: 0x73,
		Src: netip.MustParseAddr("192.168.0.1"), Dst: netip.MustParseAddr("192.168.0.199")}
	got := h.Build(nil)
	copy(known[10:], []byte{0xb8, 0x61})
	if !bytes.Equal(got, known) {
		t.Errorf("built %x, want %x", got, known)
	}
	parsed, _, err := ParseIPv4(known)
	if err != nil || !parsed.ChecksumOK || parsed.Checksum != 0xb861 {
		t.Errorf("ParseIPv4 = %+v, %v", parsed, err)
	}
	known[8]--
	if parsed, _, _ = ParseIPv4(known); parsed.ChecksumOK {
		t.Error("a header with another TTL still has a right checksum")
	}
}

func TestIPv4RoundTrip(t *testing.T) {
	src, dst := netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("250.0.2.9")
	tests := map[string]IPv4{
		"plain":         {Src: src, Dst: dst, Proto: ProtoIPIP, TTL: 64},
		"marked":        {Src: src, Dst: dst, Proto: ProtoICMP, TTL: 1, TOS: 0xb8 | CE, ID: 0xbeef, DF: true},
		"first part":    {Src: src, Dst: dst, Proto: ProtoUDP, TTL: 9, MF: true},
		"middle part":   {Src: src, Dst: dst, Proto: ProtoUDP, TTL: 9, MF: true, Offset: 1480},
		"last part":     {Src: src, Dst: dst, Proto: ProtoUDP, TTL: 9, Offset: 65528},
		"truncated lie": {Src: src, Dst: dst, Proto: ProtoUDP, TTL: 9, TotalLen: 4000},
	}
	for name, want := range tests {
		t.Run(name, func(t *testing.T) {
			got, payload, err := ParseIPv4(want.Build([]byte("hello")))
			if err != nil || string(payload) != "hello" || !got.ChecksumOK || got.HeaderLen != 20 {
				t.Fatalf("ParseIPv4 = %+v, %q, %v", got, payload, err)
			}
			if want.TotalLen == 0 {
				want.TotalLen = 25
			}
			got.HeaderLen, got.Checksum, got.ChecksumOK = 0, 0, false
			if got != want {
				t.Errorf("got %+v, want %+v", got, want)
			}
		})
	}
}

func TestShort(t *testing.T) {
	tests := map[string]error{}
	_, _, tests["eth"] = ParseEth(make([]byte, 13))
	_, _, tests["ipv4"] = ParseIPv4(append([]byte{0x45}, make([]byte, 18)...))
	_, _, tests["options"] = ParseIPv4(append([]byte{0x46}, make([]byte, 19)...))
	_, _, tests["udp"] = ParseUDP(make([]byte, 7))
	_, _, tests["vxlan"] = ParseVXLAN(make([]byte, 7))
	_, _, tests["icmp"] = ParseICMP(make([]byte, 7))
	_, tests["arp"] = ParseARP(make([]byte, 27))
	for name, err := range tests {
		if !errors.Is(err, ErrShort) {
			t.Errorf("%s: error %v, want %v", name, err, ErrShort)
		}
	}
}

func TestDecodeTunnels(t *testing.T) {
	a, b := netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("10.0.0.2")
	inA, inB := netip.MustParseAddr("250.0.1.2"), netip.MustParseAddr("250.0.2.2")
	echo := IPv4{Src: inA, Dst: inB, Proto: ProtoICMP}.Build(ICMP{Type: ICMPEcho, Rest: 7<<16 | 1}.Build([]byte("x")))
	ipip := Eth{Type: TypeIPv4}.Build(IPv4{Src: a, Dst: b, Proto: ProtoIPIP}.Build(echo))
	p := Decode(ipip)
	if !p.Tunnelled() || p.Inner == nil || p.Inner.ICMP == nil || p.Inner.ICMP.Rest != 7<<16|1 || p.Inner.IP.Dst != inB {
		t.Errorf("ipip decoded as %s", p)
	}

	arp := Eth{Dst: Broadcast(), Type: TypeARP}.Build(ARP{Sender: inA, Target: inB, SenderMAC: MAC{2, 0xfa, 10, 0, 0, 1}}.Build())
	vx := VXLAN{Flags: 8, VNI: 0xfa0000}.Build(arp)
	outer := Eth{Type: TypeIPv4}.Build(IPv4{Src: a, Dst: b, Proto: ProtoUDP}.Build(UDP{Src: 40000, Dst: 8472}.Build(vx)))
	p = Decode(outer)
	if !p.Tunnelled() || p.VXLAN.VNI != 0xfa0000 || p.VXLAN.Flags != 8 || p.VXLAN.Reserved != 0 || p.UDP.Checksum != 0 {
		t.Fatalf("vxlan decoded as %s", p)
	}
	if p.Inner.ARP == nil || p.Inner.ARP.Target != inB || p.Inner.ARP.SenderMAC[5] != 1 || p.Inner.ARP.Reply {
		t.Errorf("ARP in vxlan decoded as %s", p)
	}
	if Decode(outer, 4789).VXLAN != nil {
		t.Error("port 8472 taken for VXLAN although 4789 was asked for")
	}
}

func TestDecodeICMPError(t *testing.T) {
	about := IPv4{Src: netip.MustParseAddr("250.0.1.2"), Dst: netip.MustParseAddr("250.0.2.2"), Proto: ProtoUDP, DF: true,
		TotalLen: 1500}.Build(UDP{Src: 1, Dst: 2}.Build(nil))
	frame := Eth{Type: TypeIPv4}.Build(IPv4{Src: netip.MustParseAddr("250.0.1.1"), Dst: netip.MustParseAddr("250.0.1.2"),
		Proto: ProtoICMP}.Build(ICMP{Type: ICMPUnreachable, Code: CodeFragmentationNeeded, Rest: 1480}.Build(about)))
	p := Decode(frame)
	if p.Tunnelled() || p.ICMP == nil || p.ICMP.NextHopMTU() != 1480 || p.Inner.UDP.Dst != 2 || p.Inner.IP.TotalLen != 1500 {
		t.Errorf("decoded as %s", p)
	}
}

func TestChecksumOddLength(t *testing.T) {
	if got := Checksum([]byte{0x12, 0x34, 0x56}); got != ^uint16(0x1234+0x5600) {
		t.Errorf("got %#x", got)
	}
}
