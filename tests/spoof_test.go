package tests

import (
	"net/netip"
	"testing"
	"time"

	"github.com/fanctl/fanctl/tests/bed"
	"github.com/fanctl/fanctl/tests/bed/wire"
)

// markPort marks the packets that nobody may get.
const markPort = 6666

// trespass is three hosts with a fan each: a container of the second, which the
// third attacks; the third is a real host of the fan that answers to its address.
type trespass struct {
	fans           []fan
	friend, victim *bed.Container
	attacker       *bed.Host
	came           *bed.Capture // what reaches the victim
	send           *bed.Sender  // from the third host to the second
	inMAC          wire.MAC     // the victim's
}

func newTrespass(t *testing.T, p path) trespass {
	t.Helper()
	b := bed.New(t, bed.Options{Hosts: []string{"10.0.0.11", "10.0.3.4", "10.0.9.9"}})
	s := trespass{fans: upAll(t, b, p, overlay), attacker: b.Hosts[2]}
	s.friend, s.victim = s.fans[0].container(t, bed.ContainerOptions{}), s.fans[1].container(t, bed.ContainerOptions{})
	s.came = s.victim.Capture(t, "eth0")
	s.send = s.attacker.IPSender(t, b.Hosts[1].Addr)
	s.inMAC = s.victim.MAC(t, "eth0")
	// The way is open for all that follows.
	reaches(t, s.friend.NS, s.victim.Addr, "friend to victim")
	reaches(t, s.attacker.NS, s.victim.Addr, "the third host to the victim, with its own address")
	return s
}

// marked is a UDP packet inside of the overlay.
func marked(from, to netip.Addr) []byte {
	return wire.IPv4{Src: from, Dst: to, Proto: wire.ProtoUDP}.Build(wire.UDP{Src: 1, Dst: markPort}.Build([]byte("forged")))
}

// outer wraps an inner packet as the fan's type has it.
func (s trespass) outer(from, to netip.Addr, vni uint32, inner []byte) []byte {
	if s.fans[0].path.kind == "ipip" {
		return wire.IPv4{Src: from, Dst: to, Proto: wire.ProtoIPIP}.Build(inner)
	}
	frame := wire.Eth{Dst: s.inMAC, Src: wire.MAC{0x02, 0xfa, 10, 0, 9, 9}, Type: wire.TypeIPv4}.Build(inner)
	return vxlanPacket(from, to, vni, frame)
}

func vxlanPacket(from, to netip.Addr, vni uint32, frame []byte) []byte {
	return wire.IPv4{Src: from, Dst: to, Proto: wire.ProtoUDP}.Build(
		wire.UDP{Src: 50000, Dst: 8472}.Build(wire.VXLAN{Flags: 8, VNI: vni}.Build(frame)))
}

const overlayVNI = 0xfa0000 // 250.0.0.0 >> 8

// many sends one packet many times, in bursts that no queue on the way is too
// small for.
func (s trespass) many(t *testing.T, count int, packet []byte) {
	t.Helper()
	for i := range count {
		s.send.Must(t, packet)
		if i%50 == 49 {
			time.Sleep(2 * time.Millisecond)
		}
	}
}

// arrived counts the marked packets that the victim has got. Everything that was
// sent before has been through when a ping after it has come back.
func (s trespass) arrived(t *testing.T) int {
	t.Helper()
	if s.attacker.Ping(s.victim.Addr, 1) != 1 {
		t.Error("the third host gets no answer from the victim any more")
	}
	return len(s.came.Frames(func(f bed.Frame) bool { return !f.Outgoing && f.UDP != nil && f.UDP.Dst == markPort }))
}

// A real host of the fan sends 1,000 packets whose inner source is a container of
// another host.
func TestForgedInnerSource(t *testing.T) {
	eachPath(t, func(t *testing.T, p path) {
		s := newTrespass(t, p)
		victimHost := s.fans[1].host
		forged := s.outer(s.attacker.Addr, victimHost.Addr, overlayVNI, marked(s.friend.Addr, s.victim.Addr))
		s.many(t, 1000, forged)
		if got := s.arrived(t); got != 0 {
			t.Errorf("%d of 1000 forged packets have arrived", got)
		}
		if got := s.fans[1].countsTo(t, "spoofed", 1000); got != 1000 {
			t.Errorf("counter spoofed is %d, want 1000", got)
		}
		// The same packet with the third host's own slice arrives: it was the
		// source, and nothing else, that was refused.
		honest := s.outer(s.attacker.Addr, victimHost.Addr, overlayVNI, marked(s.fans[2].net.Gateway(), s.victim.Addr))
		s.many(t, 1, honest)
		if got := s.arrived(t); got != 1 {
			t.Errorf("%d packets with an honest source have arrived, want 1", got)
		}
	})
}

// Other lies about the source: none arrives, each is counted.
func TestForgedSources(t *testing.T) {
	eachPath(t, func(t *testing.T, p path) {
		s := newTrespass(t, p)
		own := s.fans[2].net.Gateway()
		tests := []struct {
			name         string
			outer, inner netip.Addr
			counted      bool
		}{
			{"the receiver's own slice", s.attacker.Addr, bed.Nth(s.fans[1].net.Slice, 77), true},
			{"outside of the overlay", s.attacker.Addr, netip.MustParseAddr("192.0.2.1"), true},
			{"broadcast", s.attacker.Addr, netip.MustParseAddr("255.255.255.255"), true},
			{"the slice of the underlay's network address", s.attacker.Addr, netip.MustParseAddr("250.0.0.5"), true},
			// A router on the way may have dropped it, and so may the host's stack.
			{"outer source outside of the underlay", netip.MustParseAddr("192.0.2.1"), own, false},
			{"outer source is the receiver", s.fans[1].host.Addr, bed.Nth(s.fans[1].net.Slice, 77), false},
		}
		for _, test := range tests {
			t.Run(test.name, func(t *testing.T) {
				before := s.fans[1].counters(t)
				s.many(t, 10, s.outer(test.outer, s.fans[1].host.Addr, overlayVNI, marked(test.inner, s.victim.Addr)))
				if got := s.arrived(t); got != 0 {
					t.Errorf("%d of 10 have arrived", got)
				}
				if got := s.fans[1].countsTo(t, "spoofed", before["spoofed"]+10); test.counted && got != before["spoofed"]+10 {
					t.Errorf("counter spoofed went from %d to %d, want 10 more", before["spoofed"], got)
				}
			})
		}
	})
}

// A switch that does not know where a hardware address is sends the frame to all:
// only the host with that address takes it.
func TestFrameForAnotherCard(t *testing.T) {
	eachPath(t, func(t *testing.T, p path) {
		s := newTrespass(t, p)
		victimHost := s.fans[1].host
		send := s.attacker.FrameSender(t, "eth0")
		packet := s.outer(s.attacker.Addr, victimHost.Addr, overlayVNI, marked(s.fans[2].net.Gateway(), s.victim.Addr))
		for _, test := range []struct {
			card wire.MAC
			want int
		}{{wire.MAC{0x02, 0, 0, 0, 0x99, 0x99}, 0}, {victimHost.MAC(t, "eth0"), 1}} {
			send.Must(t, wire.Eth{Dst: test.card, Src: s.attacker.MAC(t, "eth0"), Type: wire.TypeIPv4}.Build(packet))
			if got := s.arrived(t); got != test.want {
				t.Errorf("%d frames to %s have arrived, want %d", got, test.card, test.want)
			}
		}
	})
}

// What is for another host's container is not handed on.
func TestInnerDestinationOfAnotherHost(t *testing.T) {
	eachPath(t, func(t *testing.T, p path) {
		s := newTrespass(t, p)
		friendCame := s.friend.Capture(t, "eth0")
		before := s.fans[1].counters(t)
		s.many(t, 100, s.outer(s.attacker.Addr, s.fans[1].host.Addr, overlayVNI, marked(s.fans[2].net.Gateway(), s.friend.Addr)))
		if got := s.arrived(t); got != 0 {
			t.Errorf("the wrong container has got %d packets", got)
		}
		if got := s.fans[1].countsTo(t, "not_ours", before["not_ours"]+100); got != before["not_ours"]+100 {
			t.Errorf("counter not_ours went from %d to %d, want 100 more", before["not_ours"], got)
		}
		reaches(t, s.victim.NS, s.friend.Addr, "afterwards")
		handedOn := friendCame.Frames(func(f bed.Frame) bool { return f.UDP != nil && f.UDP.Dst == markPort })
		if len(handedOn) > 0 {
			t.Errorf("handed on to the other host: %d, such as %s", len(handedOn), handedOn[0])
		}
	})
}

// A container that takes an address of another host's slice gets nothing out.
func TestContainerWithAForeignAddress(t *testing.T) {
	eachPath(t, func(t *testing.T, p path) {
		s := newTrespass(t, p)
		liar := s.fans[2].container(t, bed.ContainerOptions{})
		out := s.attacker.Capture(t, "eth0")
		to := s.fans[2].host.MAC(t, s.fans[2].net.Bridge)
		if p.kind == "vxlan" {
			to = s.inMAC
		}
		frame := wire.Eth{Dst: to, Src: liar.MAC(t, "eth0"), Type: wire.TypeIPv4}.Build(marked(s.friend.Addr, s.victim.Addr))
		sender := liar.FrameSender(t, "eth0")
		for range 10 {
			sender.Must(t, frame)
		}
		if got := s.arrived(t); got != 0 {
			t.Errorf("%d of 10 have arrived", got)
		}
		left := out.Frames(func(f bed.Frame) bool { return f.Tunnelled() && f.Inner.UDP != nil && f.Inner.UDP.Dst == markPort })
		if len(left) > 0 {
			t.Errorf("left the host: %s", left[0])
		}
	})
}

// An ARP request or reply with another host's address does not reach anybody's
// neighbour table.
func TestForgedARP(t *testing.T) {
	s := newTrespass(t, vxlan())
	victimHost := s.fans[1].host
	evil := wire.MAC{0x02, 0x66, 0x66, 0x66, 0x66, 0x66}
	before := s.fans[1].counters(t)
	for _, reply := range []bool{false, true} {
		for _, to := range []wire.MAC{wire.Broadcast(), s.inMAC} {
			arp := wire.ARP{Reply: reply, SenderMAC: evil, Sender: s.friend.Addr, TargetMAC: s.inMAC, Target: s.victim.Addr}
			frame := wire.Eth{Dst: to, Src: evil, Type: wire.TypeARP}.Build(arp.Build())
			s.many(t, 25, vxlanPacket(s.attacker.Addr, victimHost.Addr, overlayVNI, frame))
		}
	}
	s.arrived(t) // all have been through
	if seen := s.came.Frames(func(f bed.Frame) bool { return f.ARP != nil && f.ARP.SenderMAC == evil }); len(seen) > 0 {
		t.Errorf("%d forged ARP messages have arrived: %s", len(seen), seen[0])
	}
	if got := s.fans[1].countsTo(t, "spoofed", before["spoofed"]+100); got != before["spoofed"]+100 {
		t.Errorf("counter spoofed went from %d to %d, want 100 more", before["spoofed"], got)
	}
	reaches(t, s.victim.NS, s.friend.Addr, "victim to friend")
}

// A vxlan packet with another network identifier is not ours, nor is one without
// the flag that says that it has one.
func TestWrongVNI(t *testing.T) {
	s := newTrespass(t, vxlan())
	victimHost, inner := s.fans[1].host, marked(s.fans[2].net.Gateway(), s.victim.Addr)
	for _, vni := range []uint32{0, 1, overlayVNI + 1, overlayVNI >> 8, 0xffffff} {
		s.many(t, 10, s.outer(s.attacker.Addr, victimHost.Addr, vni, inner))
	}
	frame := wire.Eth{Dst: s.inMAC, Src: wire.MAC{2, 0xfa, 10, 0, 9, 9}, Type: wire.TypeIPv4}.Build(inner)
	s.many(t, 10, wire.IPv4{Src: s.attacker.Addr, Dst: victimHost.Addr, Proto: wire.ProtoUDP}.Build(
		wire.UDP{Src: 50000, Dst: 8472}.Build(wire.VXLAN{VNI: overlayVNI}.Build(frame))))
	if got := s.arrived(t); got != 0 {
		t.Errorf("%d packets have arrived", got)
	}
	s.many(t, 1, s.outer(s.attacker.Addr, victimHost.Addr, overlayVNI, inner))
	if got := s.arrived(t); got != 1 {
		t.Errorf("with the right identifier %d packets have arrived, want 1", got)
	}
}

// Packets that are cut short, or are something else inside, do no harm and do not
// arrive.
func TestMalformed(t *testing.T) {
	eachPath(t, func(t *testing.T, p path) {
		s := newTrespass(t, p)
		inner := marked(s.fans[2].net.Gateway(), s.victim.Addr)
		wrong := append([]byte{}, inner...)
		wrong[0] = 0x65 // version 6
		short := append([]byte{}, inner...)
		short[0] = 0x44 // header of 16 bytes
		for _, in := range [][]byte{wrong, short, inner[:19], inner[:1], {}} {
			s.many(t, 5, s.outer(s.attacker.Addr, s.fans[1].host.Addr, overlayVNI, in))
		}
		if got := s.arrived(t); got != 0 {
			t.Errorf("%d packets have arrived", got)
		}
	})
}
