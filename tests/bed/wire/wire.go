// Package wire builds and reads the headers that the whole-program tests send
// and capture: Ethernet, ARP, IPv4, UDP, ICMP and VXLAN. It is pure, and it
// shares no code with the program that it checks.
package wire

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
)

// Numbers of the fields "EtherType" (RFC 7042) and "protocol" (RFC 791).
const (
	TypeIPv4 = 0x0800
	TypeARP  = 0x0806
	TypeIPv6 = 0x86dd

	ProtoICMP = 1
	ProtoIPIP = 4
	ProtoTCP  = 6
	ProtoUDP  = 17
)

// ECN codepoints, the two low bits of the TOS byte (RFC 3168, figure 1).
const (
	NotECT = 0
	ECT1   = 1
	ECT0   = 2
	CE     = 3
)

// ICMP types of RFC 792 that the tests look for.
const (
	ICMPEchoReply    = 0
	ICMPUnreachable  = 3
	ICMPEcho         = 8
	ICMPTimeExceeded = 11

	// CodeFragmentationNeeded goes with ICMPUnreachable (RFC 1191).
	CodeFragmentationNeeded = 4
)

// ErrShort says that bytes end before the header does.
var ErrShort = errors.New("packet too short")

// MAC is an Ethernet address.
type MAC [6]byte

// Broadcast is the address that every station listens to.
func Broadcast() MAC { return MAC{0xff, 0xff, 0xff, 0xff, 0xff, 0xff} }

// String returns the address as six hexadecimal numbers with colons.
func (m MAC) String() string {
	return fmt.Sprintf("%02x:%02x:%02x:%02x:%02x:%02x", m[0], m[1], m[2], m[3], m[4], m[5])
}

// Eth is an Ethernet header without VLAN tag, 14 bytes.
type Eth struct {
	Dst, Src MAC
	Type     uint16
}

// Build returns header and payload. Nothing is padded to the 60 bytes of a real wire.
func (e Eth) Build(payload []byte) []byte {
	b := append(append([]byte{}, e.Dst[:]...), e.Src[:]...)
	b = binary.BigEndian.AppendUint16(b, e.Type)
	return append(b, payload...)
}

// ParseEth splits a frame into header and payload.
func ParseEth(b []byte) (Eth, []byte, error) {
	var e Eth
	if len(b) < 14 {
		return e, nil, fmt.Errorf("ethernet header: %w", ErrShort)
	}
	copy(e.Dst[:], b)
	copy(e.Src[:], b[6:])
	e.Type = binary.BigEndian.Uint16(b[12:])
	return e, b[14:], nil
}

// IPv4 is the header of RFC 791. Build writes no options.
type IPv4 struct {
	// HeaderLen is in bytes; only ParseIPv4 sets it.
	HeaderLen int
	TOS       uint8
	// TotalLen is in bytes; Build computes it if it is 0.
	TotalLen uint16
	ID       uint16
	DF, MF   bool
	// Offset is the fragment's offset in bytes, a multiple of 8.
	Offset   uint16
	TTL      uint8 // Build makes a 0 a 64
	Proto    uint8
	Checksum uint16 // only ParseIPv4 sets it
	// ChecksumOK says that the header sums up as RFC 791 wants; only ParseIPv4 sets it.
	ChecksumOK bool
	Src, Dst   netip.Addr
}

// Build returns header and payload, with a right header checksum.
func (h IPv4) Build(payload []byte) []byte {
	b := make([]byte, 20, 20+len(payload))
	b[0], b[1] = 0x45, h.TOS
	total := h.TotalLen
	if total == 0 {
		total = uint16(20 + len(payload))
	}
	binary.BigEndian.PutUint16(b[2:], total)
	binary.BigEndian.PutUint16(b[4:], h.ID)
	flags := h.Offset / 8
	if h.DF {
		flags |= 0x4000
	}
	if h.MF {
		flags |= 0x2000
	}
	binary.BigEndian.PutUint16(b[6:], flags)
	b[8], b[9] = h.TTL, h.Proto
	if h.TTL == 0 {
		b[8] = 64
	}
	src, dst := h.Src.As4(), h.Dst.As4()
	copy(b[12:], src[:])
	copy(b[16:], dst[:])
	binary.BigEndian.PutUint16(b[10:], Checksum(b))
	return append(b, payload...)
}

// ParseIPv4 splits a packet into header and payload. The payload ends where the
// total length says, or where the bytes end if that is earlier.
func ParseIPv4(b []byte) (IPv4, []byte, error) {
	if len(b) < 20 || b[0]>>4 != 4 {
		return IPv4{}, nil, fmt.Errorf("IPv4 header: %w", ErrShort)
	}
	n := int(b[0]&0xf) * 4
	if n < 20 || len(b) < n {
		return IPv4{}, nil, fmt.Errorf("IPv4 header of %d bytes: %w", n, ErrShort)
	}
	flags := binary.BigEndian.Uint16(b[6:])
	h := IPv4{
		HeaderLen: n, TOS: b[1], TotalLen: binary.BigEndian.Uint16(b[2:]), ID: binary.BigEndian.Uint16(b[4:]),
		DF: flags&0x4000 != 0, MF: flags&0x2000 != 0, Offset: flags & 0x1fff * 8,
		TTL: b[8], Proto: b[9], Checksum: binary.BigEndian.Uint16(b[10:]),
		ChecksumOK: Checksum(b[:n]) == 0,
		Src:        netip.AddrFrom4([4]byte(b[12:16])), Dst: netip.AddrFrom4([4]byte(b[16:20])),
	}
	end := min(max(int(h.TotalLen), n), len(b))
	return h, b[n:end], nil
}

// UDP is the header of RFC 768. Build leaves the checksum 0, which means none.
type UDP struct {
	Src, Dst uint16
	Len      uint16 // header and payload; Build computes it
	Checksum uint16 // only ParseUDP sets it
}

// Build returns header and payload.
func (u UDP) Build(payload []byte) []byte {
	b := binary.BigEndian.AppendUint16(nil, u.Src)
	b = binary.BigEndian.AppendUint16(b, u.Dst)
	b = binary.BigEndian.AppendUint16(b, uint16(8+len(payload)))
	b = binary.BigEndian.AppendUint16(b, 0)
	return append(b, payload...)
}

// ParseUDP splits a datagram into header and payload.
func ParseUDP(b []byte) (UDP, []byte, error) {
	if len(b) < 8 {
		return UDP{}, nil, fmt.Errorf("UDP header: %w", ErrShort)
	}
	return UDP{
		Src: binary.BigEndian.Uint16(b), Dst: binary.BigEndian.Uint16(b[2:]),
		Len: binary.BigEndian.Uint16(b[4:]), Checksum: binary.BigEndian.Uint16(b[6:]),
	}, b[8:], nil
}

// VXLAN is the header of RFC 7348, 8 bytes.
type VXLAN struct {
	Flags uint8 // 0x08: the network identifier is valid
	VNI   uint32
	// Reserved holds the 24 bits before and the 8 bits after the network
	// identifier, which have to be 0; only ParseVXLAN sets it.
	Reserved uint32
}

// Build returns header and payload.
func (v VXLAN) Build(payload []byte) []byte {
	b := []byte{v.Flags, 0, 0, 0}
	b = binary.BigEndian.AppendUint32(b, v.VNI<<8)
	return append(b, payload...)
}

// ParseVXLAN splits a UDP payload into header and Ethernet frame.
func ParseVXLAN(b []byte) (VXLAN, []byte, error) {
	if len(b) < 8 {
		return VXLAN{}, nil, fmt.Errorf("VXLAN header: %w", ErrShort)
	}
	return VXLAN{
		Flags:    b[0],
		VNI:      binary.BigEndian.Uint32(b[4:]) >> 8,
		Reserved: binary.BigEndian.Uint32(b)&0xffffff<<8 | uint32(b[7]),
	}, b[8:], nil
}

// ARP is a message of RFC 826 for Ethernet and IPv4.
type ARP struct {
	Reply                bool
	SenderMAC, TargetMAC MAC
	Sender, Target       netip.Addr
}

// Build returns the 28 bytes of the message.
func (a ARP) Build() []byte {
	b := []byte{0, 1, 8, 0, 6, 4, 0, 1}
	if a.Reply {
		b[7] = 2
	}
	sender, target := a.Sender.As4(), a.Target.As4()
	b = append(append(b, a.SenderMAC[:]...), sender[:]...)
	return append(append(b, a.TargetMAC[:]...), target[:]...)
}

// ParseARP reads a message.
func ParseARP(b []byte) (ARP, error) {
	if len(b) < 28 {
		return ARP{}, fmt.Errorf("ARP message: %w", ErrShort)
	}
	return ARP{
		Reply:     binary.BigEndian.Uint16(b[6:]) == 2,
		SenderMAC: MAC(b[8:14]), Sender: netip.AddrFrom4([4]byte(b[14:18])),
		TargetMAC: MAC(b[18:24]), Target: netip.AddrFrom4([4]byte(b[24:28])),
	}, nil
}

// ICMP is the header of RFC 792. For an error, the payload begins with the IPv4
// header that it is about.
type ICMP struct {
	Type, Code uint8
	// Rest is the four bytes behind the checksum: identifier and sequence number
	// of an echo, or 16 unused bits and the next hop's MTU (RFC 1191).
	Rest uint32
	// ChecksumOK is what ParseICMP found.
	ChecksumOK bool
}

// Build returns header and payload, with a right checksum.
func (i ICMP) Build(payload []byte) []byte {
	b := []byte{i.Type, i.Code, 0, 0}
	b = append(binary.BigEndian.AppendUint32(b, i.Rest), payload...)
	binary.BigEndian.PutUint16(b[2:], Checksum(b))
	return b
}

// ParseICMP splits a message into header and payload.
func ParseICMP(b []byte) (ICMP, []byte, error) {
	if len(b) < 8 {
		return ICMP{}, nil, fmt.Errorf("ICMP header: %w", ErrShort)
	}
	return ICMP{Type: b[0], Code: b[1], Rest: binary.BigEndian.Uint32(b[4:]), ChecksumOK: Checksum(b) == 0}, b[8:], nil
}

// NextHopMTU is the MTU that "fragmentation needed" tells (RFC 1191).
func (i ICMP) NextHopMTU() int { return int(i.Rest & 0xffff) }

// Checksum is the Internet checksum of RFC 1071; 0 over bytes that hold a right
// one.
func Checksum(b []byte) uint16 {
	var sum uint32
	for ; len(b) >= 2; b = b[2:] {
		sum += uint32(binary.BigEndian.Uint16(b))
	}
	if len(b) == 1 {
		sum += uint32(b[0]) << 8
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return ^uint16(sum)
}
