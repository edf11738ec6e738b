package tests

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"testing"

	"github.com/fanctl/fanctl/tests/bed"
	"github.com/fanctl/fanctl/tests/bed/wire"
)

// The outer packets have exactly the fields of design.md 4, whatever the inner
// one looks like: both ends must agree, also with other people's fans.
func TestOuterPackets(t *testing.T) {
	tests := []struct {
		name     string
		datagram bed.Datagram
		size     int
	}{
		{"plain", bed.Datagram{}, 100},
		{"one byte", bed.Datagram{}, 4},
		{"do not fragment", bed.Datagram{DF: true}, 100},
		{"expedited forwarding", bed.Datagram{TOS: 0xb8}, 100},
		{"every bit of the class", bed.Datagram{TOS: 0xfc, DF: true}, 100},
		{"ECT0", bed.Datagram{TOS: wire.ECT0}, 100},
		{"ECT1 and a class", bed.Datagram{TOS: 0x28 | wire.ECT1}, 100},
		{"CE", bed.Datagram{TOS: wire.CE}, 100},
		{"small TTL", bed.Datagram{TTL: 3}, 100},
		{"large TTL", bed.Datagram{TTL: 255}, 100},
		{"as large as it may be", bed.Datagram{DF: true}, 0},
	}
	eachPath(t, func(t *testing.T, p path) {
		b := bed.New(t, bed.Options{})
		fans := upAll(t, b, p, overlay)
		flat := bed.ContainerOptions{Bits: fans[0].net.Overlay.Bits()} // so that vxlan bridges and does not route
		one, two := fans[0].container(t, flat), fans[1].container(t, flat)
		came := b.Hosts[1].Capture(t, "eth0")
		for i, test := range tests {
			t.Run(test.name, func(t *testing.T) {
				d := test.datagram
				d.To = netip.AddrPortFrom(two.Addr, uint16(9000+i))
				if test.size == 0 {
					test.size = fans[0].mtu(b) - 28
				}
				d.Payload = bed.Marked(uint32(i), test.size)
				if _, err := one.Datagram(t, d); err != nil {
					t.Fatal(err)
				}
				f, ok := came.Wait(func(f bed.Frame) bool {
					return !f.Outgoing && f.Tunnelled() && f.Inner.UDP != nil && f.Inner.UDP.Dst == d.To.Port()
				})
				if !ok {
					t.Fatal("no such packet came to the other host")
				}
				checkOuter(t, f, b, p)
				checkInner(t, *f.Inner, one, two, d)
			})
		}
	})
}

// checkOuter compares a packet's outer headers with design.md 4.
func checkOuter(t *testing.T, f bed.Frame, b *bed.Bed, p path) {
	t.Helper()
	if f.Eth.Dst != b.Hosts[1].MAC(t, "eth0") || f.Eth.Src != b.Hosts[0].MAC(t, "eth0") {
		t.Errorf("outer Ethernet header %s > %s", f.Eth.Src, f.Eth.Dst)
	}
	if err := compareOuter(f, b.Hosts[0].Addr, b.Hosts[1].Addr, p, true); err != nil {
		t.Error(err)
	}
}

// outerIPv4 is what there is to say of an outer header.
type outerIPv4 struct {
	src, dst           netip.Addr
	headerLen, proto   int
	total              int
	ttl, tos           uint8
	df, mf, checksumOK bool
	offset             uint16
}

// compareOuter compares the outer headers of a packet from one host to another with
// RFC 2003, section 3.1, or RFC 7348, section 5. What these leave to the sender is
// compared with what we send, if it is ours.
func compareOuter(f bed.Frame, from, to netip.Addr, p path, ours bool) error {
	if f.IP == nil || f.Inner == nil || f.Inner.IP == nil || (f.VXLAN != nil) != (p.kind == "vxlan") {
		return fmt.Errorf("not a packet in a tunnel of type %s: %s", p.kind, f)
	}
	in := f.Inner.IP
	got := outerIPv4{src: f.IP.Src, dst: f.IP.Dst, headerLen: f.IP.HeaderLen, proto: int(f.IP.Proto), total: int(f.IP.TotalLen),
		ttl: f.IP.TTL, tos: f.IP.TOS, df: f.IP.DF, mf: f.IP.MF, checksumOK: f.IP.ChecksumOK, offset: f.IP.Offset}
	want := outerIPv4{src: from, dst: to, headerLen: 20, proto: wire.ProtoIPIP,
		total: int(in.TotalLen) + p.overhead, ttl: 64, tos: in.TOS, df: in.DF, checksumOK: true}
	if p.kind == "vxlan" {
		want.proto = wire.ProtoUDP
	}
	if p.kind == "vxlan" && in.TOS&wire.CE == wire.CE {
		// The kernel's device keeps a mark for the inner header alone, as RFC 3168
		// had it (include/net/inet_ecn.h: INET_ECN_encapsulate); the receiver cannot
		// tell the difference.
		want.tos = in.TOS&^wire.CE | wire.ECT0
	}
	if !ours {
		// Linux leaves "don't fragment" to the route that has the outer header, although
		// RFC 2003 has it copied from the inner one.
		want.ttl, want.tos, want.df = got.ttl, got.tos, got.df
	}
	if got != want {
		return fmt.Errorf("outer IPv4 header\n got %+v\nwant %+v", got, want)
	}
	if p.kind != "vxlan" {
		return nil
	}
	if f.UDP.Dst != 8472 || ours && f.UDP.Checksum != 0 || int(f.UDP.Len) != want.total-20 {
		return fmt.Errorf("outer UDP header %+v, want port 8472, no checksum, length %d", *f.UDP, want.total-20)
	}
	if want := (wire.VXLAN{Flags: 0x08, VNI: overlayVNI}); *f.VXLAN != want {
		return fmt.Errorf("VXLAN header %+v, want %+v", *f.VXLAN, want)
	}
	return nil
}

// checkInner: a tunnel that routes (ipip) takes one from the TTL, one that bridges
// (vxlan) takes nothing; all else is as the container has sent it.
func checkInner(t *testing.T, p wire.Packet, one, two *bed.Container, d bed.Datagram) {
	t.Helper()
	ttl := d.TTL
	if ttl == 0 {
		ttl = 64
	}
	if p.Eth == nil {
		ttl--
	}
	if p.IP.Src != one.Addr || p.IP.Dst != two.Addr || p.IP.DF != d.DF || int(p.IP.TOS) != d.TOS ||
		int(p.IP.TTL) != ttl || !p.IP.ChecksumOK || string(p.Payload) != string(d.Payload) {
		t.Errorf("inner packet %s, want TTL %d, TOS %#02x, DF %t, and the payload as it was", p, ttl, d.TOS, d.DF)
	}
}

// An ARP request crosses the tunnel to the one host that its target maps to, and
// to nobody else.
func TestARPGoesToOneHost(t *testing.T) {
	b := bed.New(t, bed.Options{Hosts: []string{"10.0.0.11", "10.0.3.4", "10.0.9.9"}})
	fans := upAll(t, b, vxlan(), overlay)
	one, two := fans[0].container(t, bed.ContainerOptions{Bits: 8}), fans[1].container(t, bed.ContainerOptions{Bits: 8})
	var ports []*bed.Capture
	for _, h := range b.Hosts {
		ports = append(ports, b.SwitchCapture(h))
	}
	requests := func(port *bed.Capture, outgoing bool, target netip.Addr) []bed.Frame {
		return port.Frames(func(f bed.Frame) bool {
			return f.Outgoing == outgoing && f.VXLAN != nil && f.Inner.ARP != nil && !f.Inner.ARP.Reply && f.Inner.ARP.Target == target
		})
	}
	nobody := bed.Nth(fans[1].net.Slice, 99)
	one.Ping(nobody, 1, "-W", "1")
	reaches(t, one.NS, two.Addr, "the other container")
	for _, target := range []netip.Addr{nobody, two.Addr} {
		sent := requests(ports[0], false, target)
		if len(sent) == 0 {
			t.Errorf("no ARP request for %s has left the host", target)
		}
		for _, f := range sent {
			if f.IP.Dst != b.Hosts[1].Addr || f.Inner.ARP.Sender != one.Addr {
				t.Errorf("ARP request went astray: %s", f)
			}
		}
		if len(requests(ports[1], true, target)) == 0 {
			t.Errorf("no ARP request for %s has reached the host that it maps to", target)
		}
	}
	if stray := ports[2].Frames(func(f bed.Frame) bool { return f.Tunnelled() }); len(stray) > 0 {
		t.Errorf("the third host has got a packet of the fan: %s", stray[0])
	}
}

// unwanted are frames of a container that no host but its own may see.
func unwanted(from wire.MAC, c *bed.Container) map[string][]byte {
	frames := map[string][]byte{}
	groups := map[string]wire.MAC{
		"to everybody":             wire.Broadcast(),
		"to a group":               {0x01, 0x00, 0x5e, 0, 0, 0xfb},
		"to an unknown address":    {0x02, 0x11, 0x22, 0x33, 0x44, 0x55},
		"to the fan bridge":        {0x02, 0xfa, 10, 0, 0, 11},
		"to another host's":        {0x02, 0xfa, 10, 0, 3, 4},
		"to another host's tunnel": {0x06, 0xfa, 10, 0, 3, 4},
	}
	for where, to := range groups {
		for _, dst := range []string{
			"255.255.255.255", "250.255.255.255", "224.0.0.251", "239.1.2.3", // broadcast and multicast
			"0.0.0.0", "127.0.0.1", "192.0.2.9", "10.0.3.4", "251.0.3.4", // outside of the overlay
			"250.0.0.5", "250.255.255.5", // of the underlay's network and broadcast address
			"250.0.11.99", // nobody in the own slice
		} {
			packet := wire.IPv4{Src: c.Addr, Dst: netip.MustParseAddr(dst), Proto: wire.ProtoUDP}
			frames["IPv4 "+dst+" "+where] = wire.Eth{Dst: to, Src: from, Type: wire.TypeIPv4}.Build(
				// A flow of its own: connection tracking decides once per flow.
				packet.Build(wire.UDP{Src: uint16(1000 + len(frames)), Dst: markPort}.Build([]byte("stay"))))
		}
		for _, target := range []string{"10.0.3.4", "192.0.2.9", "250.255.255.5", "250.0.0.5", "250.0.11.99", c.Addr.String()} {
			arp := wire.ARP{SenderMAC: from, Sender: c.Addr, Target: netip.MustParseAddr(target)}
			frames["ARP "+target+" "+where] = wire.Eth{Dst: to, Src: from, Type: wire.TypeARP}.Build(arp.Build())
		}
		ipv6 := append([]byte{0x60, 0, 0, 0, 0, 0, 59, 64}, make([]byte, 32)...)
		copy(ipv6[24:], []byte{0xff, 0x02})
		frames["IPv6 "+where] = wire.Eth{Dst: to, Src: from, Type: wire.TypeIPv6}.Build(ipv6)
		frames["unknown type "+where] = wire.Eth{Dst: to, Src: from, Type: 0x88b5}.Build([]byte("stay"))
		frames["VLAN "+where] = wire.Eth{Dst: to, Src: from, Type: 0x8100}.Build(append([]byte{0, 7, 8, 0}, marked(c.Addr, c.Addr)...))
	}
	return frames
}

// Broadcast, multicast, IPv6, and addresses that are nobody's never leave the
// host, whatever Ethernet address they are sent to.
func TestNeverLeaves(t *testing.T) {
	eachPath(t, func(t *testing.T, p path) {
		b := bed.New(t, bed.Options{})
		fans := upAll(t, b, p, overlay)
		one, two := fans[0].container(t, bed.ContainerOptions{Bits: 8}), fans[1].container(t, bed.ContainerOptions{Bits: 8})
		reaches(t, one.NS, two.Addr, "before")
		port, mac := b.SwitchCapture(b.Hosts[0]), one.MAC(t, "eth0")
		sender := one.FrameSender(t, "eth0")
		frames := unwanted(mac, one)
		for _, name := range slices.Sorted(maps.Keys(frames)) {
			sender.Must(t, frames[name])
		}
		one.Ping(two.Addr, 1, "-W", "1") // now all has gone through that will
		reaches(t, one.NS, two.Addr, "after")
		left := port.Frames(func(f bed.Frame) bool { return !f.Outgoing && escaped(f, mac, one, two) })
		for i, f := range left {
			t.Errorf("has left the host: %s", f)
			if i == 9 {
				t.Fatalf("… %d in all", len(left))
			}
		}
	})
}

// escaped says whether a frame that a host has sent to the underlay should not be
// there. What goes from one container to the other may.
func escaped(f bed.Frame, mac wire.MAC, one, two *bed.Container) bool {
	overlay := one.Network.Overlay
	between := func(a, b netip.Addr) bool { return a == one.Addr && b == two.Addr || a == two.Addr && b == one.Addr }
	switch {
	case f.Tunnelled() && f.Inner.IP != nil && f.Inner.ICMP != nil:
		return !between(f.Inner.IP.Src, f.Inner.IP.Dst)
	case f.Tunnelled() && f.Inner.ARP != nil:
		return !between(f.Inner.ARP.Sender, f.Inner.ARP.Target)
	case f.Tunnelled():
		return true
	case f.IP != nil:
		return overlay.Contains(f.IP.Src) || overlay.Contains(f.IP.Dst)
	case f.ARP != nil:
		return overlay.Contains(f.ARP.Sender) || overlay.Contains(f.ARP.Target)
	}
	return f.Eth.Src == mac
}
