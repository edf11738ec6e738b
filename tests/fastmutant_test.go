package tests

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"
	"testing"

	"github.com/fanctl/fanctl/tests/bed/wire"
)

// specimens are frames as they are seen, by what they are.
func specimens(kind string) map[string][]byte {
	const mark = 4711
	hosts := [2]netip.Addr{netip.MustParseAddr("10.0.0.11"), netip.MustParseAddr("10.0.3.4")}
	ends := [2]netip.Addr{netip.MustParseAddr("250.0.11.2"), netip.MustParseAddr("250.0.3.2")}
	eth := wire.Eth{Dst: card(1, 1, 0), Src: card(1, 0, 0), Type: wire.TypeIPv4}
	m := &draft{mark: mark, src: ends[0], dst: ends[1], ttl: 63, tos: 0xb8, df: true}
	m.udp(2000, 9, append(binary.BigEndian.AppendUint16([]byte(markWord), mark), "and more"...))
	inner := m.packet()
	wrap := func(in []byte) []byte {
		if kind == "ipip" {
			return eth.Build(wire.IPv4{Src: hosts[0], Dst: hosts[1], ID: header(in).id(), Proto: wire.ProtoIPIP, DF: true}.Build(in))
		}
		frame := wire.Eth{Dst: card(3, 1, 0), Src: card(3, 0, 0), Type: wire.TypeIPv4}.Build(in)
		return eth.Build(wire.IPv4{Src: hosts[0], Dst: hosts[1], ID: 999, Proto: wire.ProtoUDP, DF: true}.Build(
			wire.UDP{Src: 50000, Dst: 8472}.Build(wire.VXLAN{Flags: 8, VNI: overlayVNI}.Build(frame))))
	}
	told := wire.IPv4{Src: ends[1], Dst: ends[0], ID: 31000, Proto: wire.ProtoICMP}.Build(
		wire.ICMP{Type: wire.ICMPUnreachable, Code: 3}.Build(inner))
	echo := wire.IPv4{Src: ends[1], Dst: ends[0], ID: 31001, Proto: wire.ProtoICMP}.Build(
		wire.ICMP{Type: wire.ICMPEchoReply, Rest: echoRest(mark, mark)}.Build([]byte("echo")))
	return map[string][]byte{
		"packet in a tunnel": wrap(inner), "packet": eth.Build(inner),
		"error in a tunnel": wrap(told), "error": eth.Build(told), "answer": eth.Build(echo),
	}
}

func seenOnce(kind string, frames ...[]byte) *sightings {
	s := newSightings(path{kind: kind})
	for _, f := range frames {
		s.add("here", f)
	}
	return s
}

func differ(a, b *sightings) bool {
	return len(differences(a, b, func(uint16) string { return "" })) > 0
}

// Whatever one byte is changed in what was seen, the comparison says so: a field, with the
// checksum wrong after that, or a checksum itself. Of vxlan the source port may differ.
func TestComparisonSeesEveryByte(t *testing.T) {
	for _, kind := range []string{"ipip", "vxlan"} {
		for name, frame := range specimens(kind) {
			if differ(seenOnce(kind, frame), seenOnce(kind, slices.Clone(frame))) {
				t.Errorf("%s, %s: differs from itself", kind, name)
			}
			for at := range frame {
				for _, bits := range []byte{0x01, 0x80, 0xff} {
					mutant := slices.Clone(frame)
					mutant[at] ^= bits
					free := kind == "vxlan" && name != "packet" && name != "error" && name != "answer" && (at == 34 || at == 35)
					if got := differ(seenOnce(kind, frame), seenOnce(kind, mutant)); got == free {
						t.Errorf("%s, %s: byte %d changed by %#02x: differs %t", kind, name, at, bits, got)
					}
				}
			}
		}
	}
}

// An identification may differ only where a kernel has drawn it, and then its checksum
// has to be right.
func TestComparisonOfIdentifications(t *testing.T) {
	for _, kind := range []string{"ipip", "vxlan"} {
		for name, frame := range specimens(kind) {
			places := map[string]int{"outer": 14}
			if name == "packet in a tunnel" || name == "error in a tunnel" {
				places["inner"] = map[string]int{"ipip": 34, "vxlan": 64}[kind]
			}
			for which, at := range places {
				mutant := slices.Clone(frame)
				mutant[at+4] ^= 0x40
				resum(mutant[at:])
				drawn := name == "error" || name == "answer" || name == "error in a tunnel" && which == "inner" && kind == "vxlan" ||
					kind == "vxlan" && which == "outer" && name != "packet"
				if got := differ(seenOnce(kind, frame), seenOnce(kind, mutant)); got == drawn {
					t.Errorf("%s, %s: another %s identification: differs %t", kind, name, which, got)
				}
			}
		}
	}
}

// A frame that is missing, one too many, one out of order, or in another place is told.
func TestComparisonSeesEveryFrame(t *testing.T) {
	for _, kind := range []string{"ipip", "vxlan"} {
		all := specimens(kind)
		a, b := all["packet"], all["error"] // of the same parcel
		whole := seenOnce(kind, a, b)
		elsewhere := newSightings(path{kind: kind})
		elsewhere.add("here", a)
		elsewhere.add("there", b)
		failed := seenOnce(kind, a, b)
		failed.note(4711, "send", []byte("message too long"))
		short := []byte{1, 2, 3}
		for name, other := range map[string]*sightings{
			"the first is missing": seenOnce(kind, b), "the last is missing": seenOnce(kind, a), "all are missing": seenOnce(kind),
			"one twice": seenOnce(kind, a, b, b), "another order": seenOnce(kind, b, a), "another place": elsewhere,
			"not sent": failed, "one of no parcel": seenOnce(kind, a, b, short),
		} {
			if !differ(whole, other) || !differ(other, whole) {
				t.Errorf("%s: %s: no difference", kind, name)
			}
		}
		if differ(seenOnce(kind, short, a, []byte{4}), seenOnce(kind, []byte{4}, short, a)) {
			t.Errorf("%s: frames of no parcel in another order differ", kind)
		}
	}
}

// The same seed makes the same parcels, another makes others.
func TestParcelsAreOfTheirSeed(t *testing.T) {
	make := func(seed uint64) string {
		m := newPostOf(seed, path{kind: "ipip"}, 1480)
		return fmt.Sprint(m.rounds(2000, m.any))
	}
	first, again := make(1), make(1)
	if first != again {
		t.Error("the same seed makes other parcels")
	}
	if first == make(2) {
		t.Error("another seed makes the same parcels")
	}
}
