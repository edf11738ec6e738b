package tests

import (
	"fmt"
	"os/exec"
	"testing"

	"github.com/fanctl/fanctl/tests/bed"
	"github.com/fanctl/fanctl/tests/bed/wire"
)

// A router on the way that marks the outer packets "congestion experienced": the
// containers see the mark, and only where they have said that they understand it
// (RFC 6040).
func TestCongestionMarkedOnTheWay(t *testing.T) {
	if _, err := exec.LookPath("nft"); err != nil {
		t.Skip("LEFT OUT: no nft on this machine to mark packets with")
	}
	eachPath(t, func(t *testing.T, p path) {
		b := bed.New(t, bed.Options{Routed: true, NoIPv6: true})
		fans := upAll(t, b, p, overlay)
		l := newLane(t, fans, bed.ContainerOptions{})
		came := l.to.Capture(t, "eth0")
		b.Router.Must(t, "nft", "add table ip marks; add chain ip marks forward { type filter hook forward priority mangle; }; "+
			"add rule ip marks forward ip ecn set ce")
		for i, mark := range []int{wire.ECT0, wire.ECT1, wire.CE} {
			size := 200 + i
			f := l.expect(t, fmt.Sprintf("mark %d", mark), bed.Datagram{Payload: bed.Marked(uint32(i), size), TOS: 0x28 | mark}, 1)
			if f.arrived != 1 {
				t.Errorf("mark %d: %s", mark, f)
				continue
			}
			got, ok := came.Wait(func(f bed.Frame) bool { return f.UDP != nil && len(f.Payload) == size })
			if !ok || got.IP.TOS != 0x28|wire.CE || !got.IP.ChecksumOK {
				t.Errorf("sent with mark %d, marked on the way, arrived as %s, want TOS %#02x", mark, got, 0x28|wire.CE)
			}
		}
	})
}

// Every outer mark on every inner one, as figure 4 of RFC 6040 has it. A packet
// that is not ECN-capable inside and marked outside is dropped and counted.
func TestMarksOfBothHeaders(t *testing.T) {
	const dropped = -1
	want := map[int][4]int{ // by outer mark, inner NotECT, ECT1, ECT0, CE
		wire.NotECT: {wire.NotECT, wire.ECT1, wire.ECT0, wire.CE},
		wire.ECT1:   {wire.NotECT, wire.ECT1, wire.ECT1, wire.CE},
		wire.ECT0:   {wire.NotECT, wire.ECT1, wire.ECT0, wire.CE},
		wire.CE:     {dropped, wire.CE, wire.CE, wire.CE},
	}
	eachPath(t, func(t *testing.T, p path) {
		s := newTrespass(t, p)
		size := 0
		for _, outer := range []int{wire.NotECT, wire.ECT1, wire.ECT0, wire.CE} {
			for inner, result := range want[outer] {
				size++
				before := s.fans[1].counters(t)["ecn"]
				s.send.Must(t, s.withMarks(outer, inner, size))
				s.arrived(t) // and so has this one, if it ever will
				got := dropped
				ours := func(f bed.Frame) bool {
					return !f.Outgoing && f.UDP != nil && f.UDP.Dst == markPort && len(f.Payload) == size
				}
				for _, f := range s.came.Frames(ours) {
					got = int(f.IP.TOS & 3)
					if !f.IP.ChecksumOK || f.IP.TOS>>2 != 0xb8>>2 {
						t.Errorf("outer %d, inner %d: arrived as %s", outer, inner, f)
					}
				}
				if got != result {
					t.Errorf("outer mark %d, inner %d: got %d, want %d (%d: dropped)", outer, inner, got, result, dropped)
				}
				if result == dropped && s.fans[1].countsTo(t, "ecn", before+1) != before+1 {
					t.Errorf("outer mark %d, inner %d: dropped and not counted", outer, inner)
				}
			}
		}
	})
}

// withMarks is a packet from the third host's own slice.
func (s trespass) withMarks(outer, inner, size int) []byte {
	const class = 0xb8
	from, to := s.attacker.Addr, s.fans[1].host.Addr
	packet := wire.IPv4{Src: s.fans[2].net.Gateway(), Dst: s.victim.Addr, Proto: wire.ProtoUDP, TOS: uint8(class | inner)}.Build(
		wire.UDP{Src: 1, Dst: markPort}.Build(make([]byte, size)))
	whole := s.outer(from, to, overlayVNI, packet)
	h, payload, err := wire.ParseIPv4(whole)
	if err != nil {
		return nil
	}
	h.TOS = uint8(class | outer)
	return h.Build(payload)
}
