package tests

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"testing"

	"github.com/fanctl/fanctl/tests/bed"
	"github.com/fanctl/fanctl/tests/bed/wire"
)

// A router between the hosts cuts what is too long for its next device and may be cut.
// The kernel puts the pieces together, for its tunnel devices; eBPF alone can't, and
// counts them.
func TestFragmentsOnTheWay(t *testing.T) {
	eachPath(t, func(t *testing.T, p path) {
		b := bed.New(t, bed.Options{Routed: true, NoIPv6: true})
		for i, sub := range []string{"10.0.0.0/24", "10.0.3.0/24"} {
			b.Router.IP(t, fmt.Sprintf("route change %s dev sub%d mtu lock 1400", sub, i))
		}
		fans := upAll(t, b, p, overlay)
		l := newLane(t, fans, bed.ContainerOptions{})
		for _, size := range []int{1400, fans[0].mtu(b) - 1, fans[0].mtu(b)} {
			f := l.send(t, bed.Datagram{Payload: bed.Marked(l.sent, size-28)}, 1)
			switch {
			case p.datapath == "ebpf" && (f.arrived != 0 || f.counted["fragments of host 2"] != 2):
				t.Errorf("%d bytes in two fragments: %s; eBPF alone should count them", size, f)
			case p.datapath == "device" && (f.arrived != 1 || len(f.counted) != 0):
				t.Errorf("%d bytes in two fragments: %s", size, f)
			}
		}
		if p.datapath == "device" {
			l.fragments(t) // of the containers' own
		}
	})
}

// What comes in pieces, or with options in its outer header, is looked at as closely as
// what comes whole. Before Linux 5.14 options are too much for us, and counted.
func TestForgedInPieces(t *testing.T) {
	p := ipipByDevice()
	if !hasIPIP(t) {
		return // TestMain says that this is left out
	}
	s := newTrespass(t, p)
	own := s.fans[2].net.Gateway()
	marked := func(from, to netip.Addr) []byte {
		return wire.IPv4{Src: from, Dst: to, Proto: wire.ProtoUDP}.Build(wire.UDP{Src: 1, Dst: markPort}.Build(make([]byte, 100)))
	}
	pieces := func(id int, inner []byte) {
		t.Helper()
		const cut = 24
		for i, part := range [][]byte{inner[:cut], inner[cut:]} {
			s.send.Must(t, wire.IPv4{Src: s.attacker.Addr, Dst: s.fans[1].host.Addr, Proto: wire.ProtoIPIP, ID: uint16(id), MF: i == 0, Offset: uint16(i * cut)}.Build(part))
		}
	}
	optional := func(inner []byte) []byte {
		// Two words of options that do nothing (RFC 791, section 3.1).
		whole := wire.IPv4{Src: s.attacker.Addr, Dst: s.fans[1].host.Addr, Proto: wire.ProtoIPIP}.Build(append([]byte{1, 1, 1, 1, 1, 1, 1, 0}, inner...))
		whole[0], whole[10], whole[11] = 0x47, 0, 0
		binary.BigEndian.PutUint16(whole[10:], wire.Checksum(whole[:28]))
		return whole
	}
	before := s.fans[1].counters(t)
	for i := range 100 {
		pieces(i+1, marked(s.friend.Addr, s.victim.Addr))
		s.send.Must(t, optional(marked(s.friend.Addr, s.victim.Addr)))
		pieces(i+1000, marked(own, s.friend.Addr))
	}
	if got := s.arrived(t); got != 0 {
		t.Errorf("%d of 200 forged packets have arrived", got)
	}
	for name, want := range map[string]uint64{"spoofed": 200, "not_ours": 100, "fragments": 0, "malformed": 0} {
		if got := s.fans[1].countsTo(t, name, before[name]+want); got != before[name]+want {
			t.Errorf("counter %s went from %d to %d, want %d more", name, before[name], got, want)
		}
	}
	pieces(2000, marked(own, s.victim.Addr))
	s.send.Must(t, optional(marked(own, s.victim.Addr)))
	want, unread := 2, before["malformed"]
	if !bed.KernelAtLeast(t, 5, 14) {
		want, unread = 1, unread+1
	}
	if got := s.arrived(t); got != want {
		t.Errorf("%d packets with an honest source have arrived, want %d", got, want)
	}
	if got := s.fans[1].countsTo(t, "malformed", unread); got != unread {
		t.Errorf("counter malformed is %d, want %d", got, unread)
	}
}

// A fan changes its datapath while containers talk, and no packet is lost; what is left
// is what a fan of that datapath has.
func TestDatapathChanges(t *testing.T) {
	needs(t, ipipByDevice())
	b := bed.New(t, bed.Options{NoIPv6: true})
	h := b.Hosts[0]
	empty := h.Settled(t)
	first, then := ipipEBPF(), ipipByDevice()
	fans := upAll(t, b, first, overlay)
	one, two := fans[0].container(t, bed.ContainerOptions{}), fans[1].container(t, bed.ContainerOptions{})
	alone := h.Settled(t)
	change := func(p path) {
		t.Helper()
		h.MustFanctl(t, append([]string{"up", "-u", b.Underlay.String(), "-o", overlay}, p.args...)...)
		if got := h.ShowOf(t, fans[0].net.Bridge).Datapath; got != p.datapath {
			t.Errorf("the datapath is %s, want %s", got, p.datapath)
		}
	}
	whilePinging(t, one, two, func(int) {
		change(then)
		change(first)
	})
	if difference := h.Becomes(t, alone); difference != "" {
		t.Errorf("there and back: %s", difference)
	}
	change(then)
	nothingToMend(t, h)
	one.Remove(t)
	fans[0].down(t)
	if difference := h.Becomes(t, empty); difference != "" {
		t.Errorf("after down: %s", difference)
	}
}

// The ipip device is put right like all else, whether it was asked for or not.
func TestMendIPIPDevice(t *testing.T) {
	if !hasIPIP(t) {
		return // TestMain says that this is left out
	}
	for _, p := range []path{ipipByDevice(), {"ipip, by whatever there is", "ipip", "device", nil, 20}} {
		t.Run(p.name, func(t *testing.T) {
			b := bed.New(t, bed.Options{NoIPv6: true})
			f := upOn(t, b, b.Hosts[0], p, overlay)
			before := f.host.Settled(t)
			for name, breaks := range map[string]func(){
				"deleted":             func() { f.host.IP(t, "link del ftun-ipip") },
				"its programs gone":   func() { detach(t, f.host, "ftun-ipip") },
				"set down":            func() { f.host.IP(t, "link set ftun-ipip down") },
				"all programs gone":   func() { detach(t, f.host, "ftun-ipip"); detach(t, f.host, "ftun-250"); detach(t, f.host, "eth0") },
				"both devices gone":   func() { f.host.IP(t, "link del ftun-ipip", "link del ftun-250") },
				"it and the route":    func() { f.host.IP(t, "link del ftun-ipip", "route flush root 250.0.0.0/8") },
				"the whole tunnel":    func() { f.host.IP(t, "link del ftun-ipip", "link del ftun-250", "link del ftrm-250") },
				"nothing (the check)": func() {},
			} {
				breaks()
				said, _ := mend(t, f.host)
				if (said == "") != (name == "nothing (the check)") {
					t.Errorf("%s: up -e says %q", name, said)
				}
				if got := f.host.ShowOf(t, f.net.Bridge).Datapath; got != "device" {
					t.Errorf("%s: the datapath is %s", name, got)
				}
				if difference := f.host.Becomes(t, before); difference != "" {
					t.Errorf("%s: %s", name, difference)
				}
				nothingToMend(t, f.host)
			}
		})
	}
}
