package tests

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/fanctl/fanctl/tests/bed"
	"github.com/fanctl/fanctl/tests/bed/wire"
)

// underlay is a network of hosts that is not the usual one: how a bed becomes it,
// and what fans over it are then like.
type underlay struct {
	name    string
	options bed.Options
	build   func(t *testing.T, b *bed.Bed)  // nil: the bed is it already
	named   func(h *bed.Host) string        // the underlay in the words of that host; nil: the network
	device  func(h *bed.Host) string        // what show names; nil: eth0
	mtu     int                             // of the way; 0: the bed's
	world   func(h *bed.Host) string        // what the world sees containers as; nil: the host's address
	source  func(t *testing.T, h *bed.Host) // makes the host address the source of kernels before 6.0; nil: it is
}

// byAddress names an underlay by the host's address in it.
func byAddress(h *bed.Host) string { return h.Addr.String() + "/16" }

// number tells the hosts of a bed apart, from 1 on.
func number(b *bed.Bed, h *bed.Host) int { return slices.Index(b.Hosts, h) + 1 }

// routerAddr is the router's address in the bed's underlay.
func routerAddr(b *bed.Bed) string { return bed.LastUsable(b.Underlay).String() }

func underlays() []underlay {
	return []underlay{
		{name: "jumbo frames", options: bed.Options{MTU: 9000}},
		{name: "MTU 1280", options: bed.Options{MTU: 1280}},
		{name: "MTU 1492", options: bed.Options{MTU: 1492}},
		{name: "secondary address", build: secondary, named: byAddress, world: firstAddress, source: sourceOfLink},
		{name: "strict reverse path", build: strict},
		{name: "point to point", options: bed.Options{MTU: 1492}, build: pointToPoint, named: byAddress},
		{name: "only a default route", build: onlyDefault, named: byAddress},
		{name: "a card for each direction", build: crossed, named: byAddress, device: cardOfAddress, world: cardToWorld, source: sourceOfParts},
		{name: "loopback address, two ways", build: loopback(1500), named: byAddress, world: cardToWorld},
		{name: "loopback address, two ways of unequal MTU", build: loopback(1400), named: byAddress, mtu: 1400, world: cardToWorld},
		{name: "loopback address, unnumbered", build: unnumbered, named: func(*bed.Host) string { return "lo/16" }},
	}
}

// secondary: the host address is not the first one of its device.
func secondary(t *testing.T, b *bed.Bed) {
	for _, h := range b.Hosts {
		h.IP(t, "addr flush dev eth0",
			fmt.Sprintf("addr add %s/16 dev eth0", firstAddress(h)),
			fmt.Sprintf("addr add %s/16 dev eth0", h.Addr),
			"addr add 192.0.2.7/24 dev eth0",
			"route add default via "+routerAddr(b))
	}
}

// firstAddress is another address in the underlay than the host's.
func firstAddress(h *bed.Host) string { return bed.Nth(netip.PrefixFrom(h.Addr, 32), 100).String() }

func sourceOfLink(t *testing.T, h *bed.Host) {
	h.IP(t, fmt.Sprintf("route change 10.0.0.0/16 dev eth0 src %s", h.Addr))
}

// strict: packets are only taken from the device that leads to their source.
func strict(t *testing.T, b *bed.Bed) {
	for _, h := range b.Hosts {
		for _, conf := range []string{"all", "default", "eth0"} {
			h.Sysctl(t, "ipv4/conf/"+conf+"/rp_filter", "1")
		}
	}
}

// pointToPoint: as by PPP, the host knows one neighbour.
func pointToPoint(t *testing.T, b *bed.Bed) {
	for _, h := range b.Hosts {
		h.IP(t, "addr flush dev eth0", fmt.Sprintf("addr add %s peer %s/32 dev eth0", h.Addr, routerAddr(b)), "route add default via "+routerAddr(b))
	}
}

// onlyDefault: as in some clouds, the host has an address and a gateway, and no
// network.
func onlyDefault(t *testing.T, b *bed.Bed) {
	for _, h := range b.Hosts {
		h.IP(t, "addr flush dev eth0", fmt.Sprintf("addr add %s/32 dev eth0", h.Addr),
			fmt.Sprintf("route add default via %s dev eth0 onlink src %s", routerAddr(b), h.Addr))
	}
}

// crossed: one host's address is on its first card, the other's on its second, so that
// each sends by the card that has not its own.
func crossed(t *testing.T, b *bed.Bed) {
	b.SecondCards(1500)
	b.Router.IP(t, "addr add 10.0.3.254/24 dev second", "addr flush dev sub0", "addr add 10.0.0.254/24 dev sub0")
	for _, h := range b.Hosts {
		n := number(b, h)
		first, second := fmt.Sprintf("10.0.0.%d", 100+n), fmt.Sprintf("10.0.3.%d", 100+n)
		if n == 1 {
			first = h.Addr.String()
		} else {
			second = h.Addr.String()
		}
		h.IP(t, "addr flush dev eth0", "addr add "+first+"/24 dev eth0", "addr add "+second+"/24 dev eth1", "route add default via 10.0.0.254")
	}
}

// cardOfAddress is the card that has the host's address: 10.0.0.11 or 10.0.3.4.
func cardOfAddress(h *bed.Host) string {
	if h.Addr.As4()[2] == 3 {
		return "eth1"
	}
	return "eth0"
}

func sourceOfParts(t *testing.T, h *bed.Host) {
	h.IP(t, fmt.Sprintf("route change 10.0.0.0/24 dev eth0 src %s", h.Addr), fmt.Sprintf("route change 10.0.3.0/24 dev eth1 src %s", h.Addr))
}

// cardToWorld is the address of the card with the default route, whichever that is.
func cardToWorld(h *bed.Host) string {
	words := strings.Fields(h.Exec("ip", "-4", "-o", "addr", "show", "dev", "eth0").Stdout)
	for i, word := range words {
		if word == "inet" && i+1 < len(words) {
			return netip.MustParsePrefix(words[i+1]).Addr().String()
		}
	}
	return "no address on eth0"
}

// loopback: hosts tell each other their addresses by a routing protocol, and there are
// two ways of the same worth to each.
func loopback(second int) func(t *testing.T, b *bed.Bed) {
	return func(t *testing.T, b *bed.Bed) {
		b.SecondCards(second)
		b.Router.IP(t, "addr flush dev sub0", "addr add 192.168.1.254/24 dev sub0", "addr add 192.168.2.254/24 dev second")
		for _, h := range b.Hosts {
			n := number(b, h)
			h.IP(t, "addr flush dev eth0", fmt.Sprintf("addr add 192.168.1.%d/24 dev eth0", n), fmt.Sprintf("addr add 192.168.2.%d/24 dev eth1", n),
				fmt.Sprintf("addr add %s/32 dev lo", h.Addr), "route add default via 192.168.1.254")
			b.Router.IP(t, fmt.Sprintf("route add %s via 192.168.1.%d", h.Addr, n))
			for i, other := range b.Hosts {
				if other != h {
					h.IP(t, fmt.Sprintf("route add %s src %s nexthop via 192.168.1.%d nexthop via 192.168.2.%d", other.Addr, h.Addr, i+1, i+1))
				}
			}
		}
		strict(t, b)
	}
}

// unnumbered: the cards have no addresses of IPv4 at all, and the next hops are of
// IPv6 (RFC 5549).
func unnumbered(t *testing.T, b *bed.Bed) {
	b.SecondCards(1500)
	b.Router.IP(t, "addr flush dev sub0", "addr add fe80::fe/64 dev sub0", "addr add fe80::fe/64 dev second")
	for _, h := range b.Hosts {
		n := number(b, h)
		h.IP(t, "addr flush dev eth0", fmt.Sprintf("addr add fe80::%d/64 dev eth0", n), fmt.Sprintf("addr add fe80::%d/64 dev eth1", n),
			fmt.Sprintf("addr add %s/32 dev lo", h.Addr), "route add 0.0.0.0/0 via inet6 fe80::fe dev eth0")
		b.Router.IP(t, fmt.Sprintf("route add %s via inet6 fe80::%d dev sub0", h.Addr, n))
		for i, other := range b.Hosts {
			if other != h {
				h.IP(t, fmt.Sprintf("route add %s nexthop via inet6 fe80::%d dev eth0 nexthop via inet6 fe80::%d dev eth1", other.Addr, i+1, i+1))
			}
		}
	}
}

// up brings a fan up on a host, in the host's own words.
func (u underlay) up(t *testing.T, b *bed.Bed, h *bed.Host, p path) fan {
	t.Helper()
	word := b.Underlay.String()
	if u.named != nil {
		word = u.named(h)
	}
	over := netip.MustParsePrefix(overlay)
	f := fan{host: h, path: p, args: slices.Concat([]string{"-u", word, "-o", overlay}, p.args),
		net: bed.Network{Bridge: bridgeName(over), Overlay: over, Slice: bed.Slice(b.Underlay, over, h.Addr)}}
	f.up(t)
	return f
}

// The underlays that hosts have beside a network of one device each: containers reach
// each other and the world, by the host address and with the MTU of the way.
func TestUnderlays(t *testing.T) {
	for _, u := range underlays() {
		t.Run(u.name, func(t *testing.T) {
			eachPath(t, func(t *testing.T, p path) {
				b := bed.New(t, u.options)
				if u.build != nil {
					u.build(t, b)
				}
				if u.source != nil && p.kind == "vxlan" && !bed.KernelAtLeast(t, 6, 0) {
					u.choosesSource(t, b, p)
				}
				before := b.Hosts[0].Settled(t)
				fans := []fan{u.up(t, b, b.Hosts[0], p), u.up(t, b, b.Hosts[1], p)}
				l := u.carries(t, b, fans)
				for _, f := range fans {
					nothingToMend(t, f.host)
				}
				l.from.Remove(t)
				fans[0].down(t)
				if difference := b.Hosts[0].Becomes(t, before); difference != "" {
					t.Errorf("after down: %s", difference)
				}
			})
		})
	}
}

// choosesSource: before Linux 6.0 vxlan has the source that the routes give it. Where it
// is wrong for all hosts, up refuses, and for some, says so.
func (u underlay) choosesSource(t *testing.T, b *bed.Bed, p path) {
	t.Helper()
	for _, h := range b.Hosts {
		r := h.Fanctl(slices.Concat([]string{"up"}, []string{"-u", u.named(h), "-o", overlay}, p.args)...)
		if !oneLine(r.Stderr, "source", h.Addr.String(), "src") {
			t.Errorf("with a source that the kernel can't choose: %s", r)
		}
		h.MustFanctl(t, "down", "-u", u.named(h), "-o", overlay)
		u.source(t, h)
	}
}

// carries fails the test unless the fans do all that fans do.
func (u underlay) carries(t *testing.T, b *bed.Bed, fans []fan) *lane {
	t.Helper()
	mtu := cmp.Or(u.mtu, b.MTU) - fans[0].path.overhead
	for _, f := range fans {
		shown := f.host.ShowOf(t, f.net.Bridge)
		device := "eth0"
		if u.device != nil {
			device = u.device(f.host)
		}
		if shown.MTU != mtu || shown.Device != device || shown.Host != f.host.Addr.String() {
			t.Errorf("%s: show has MTU %d, device %s, host %s; want %d, %s, %s", f.host, shown.MTU, shown.Device, shown.Host, mtu, device, f.host.Addr)
		}
	}
	passing := u.captures(t, b.Hosts[1])
	l := newLane(t, fans, bed.ContainerOptions{MTU: 9000})
	reaches(t, l.to.NS, l.from.Addr, "and back")
	transfer(t, l.from, l.to, 2<<20)
	transfer(t, l.to, l.from, 2<<20)
	if got, err := l.from.EchoUDP(l.to.Serve(t, l.to.Addr), 3, 1000); err != nil || got != 3 {
		t.Errorf("%d of 3 datagrams came back (%v)", got, err)
	}
	u.edges(t, l, mtu)
	u.sources(t, passing, b)
	u.refusesForged(t, l)
	server := b.World.Serve(t, b.WorldAddr)
	for _, c := range []*bed.Container{l.from, l.to} {
		want := c.Host.Addr.String()
		if u.world != nil {
			want = u.world(c.Host)
		}
		if seen, err := c.SeenBy("tcp4", server); err != nil || seen.String() != want {
			t.Errorf("the world sees a container of %s as %s (%v), want %s", c.Host, seen, err, want)
		}
	}
	return l
}

func (u underlay) captures(t *testing.T, h *bed.Host) []*bed.Capture {
	t.Helper()
	list := []*bed.Capture{h.Capture(t, "eth0")}
	if h.Exec("ip", "link", "show", "eth1").Code == 0 {
		list = append(list, h.Capture(t, "eth1"))
	}
	return list
}

// edges: the whole MTU passes, and of one byte more the sender is told.
func (u underlay) edges(t *testing.T, l *lane, mtu int) {
	t.Helper()
	for size, fits := range map[int]bool{mtu: true, mtu + 1: false} {
		f := l.expect(t, fmt.Sprintf("%d bytes", size), bed.Datagram{Payload: bed.Marked(l.sent, size-28), DF: true}, 1)
		if fits && f.arrived != 1 || !fits && (f.arrived != 0 || !tooBig(f, mtu)) {
			t.Errorf("%d bytes that are not to be fragmented, with MTU %d: %s", size, mtu, f)
		}
	}
}

// sources: every packet of the tunnel has the address as its outer source that its
// inner one maps to.
func (u underlay) sources(t *testing.T, passing []*bed.Capture, b *bed.Bed) {
	t.Helper()
	seen := 0
	for _, c := range passing {
		for _, f := range c.Frames(func(f bed.Frame) bool { return f.Tunnelled() && f.IP != nil }) {
			seen++
			if f.IP.Src != b.Hosts[0].Addr && f.IP.Src != b.Hosts[1].Addr {
				t.Fatalf("a packet has the outer source %s: %s", f.IP.Src, f)
			}
		}
	}
	if seen == 0 {
		t.Error("no packet of the tunnel was seen on the underlay")
	}
}

// refusesForged: a host of the fan that sends with a source that is not its own is
// found out.
func (u underlay) refusesForged(t *testing.T, l *lane) {
	t.Helper()
	attacker, victim := l.fans[0], l.fans[1]
	before := victim.counters(t)["spoofed"]
	inner := marked(netip.MustParseAddr("250.0.9.9"), l.to.Addr)
	packet := wire.IPv4{Src: attacker.host.Addr, Dst: victim.host.Addr, Proto: wire.ProtoIPIP}.Build(inner)
	if attacker.path.kind == "vxlan" {
		frame := wire.Eth{Dst: l.to.MAC(t, "eth0"), Src: wire.MAC{0x02, 0xfa, 10, 0, 9, 9}, Type: wire.TypeIPv4}.Build(inner)
		packet = vxlanPacket(attacker.host.Addr, victim.host.Addr, overlayVNI, frame)
	}
	came := l.to.Capture(t, "eth0")
	send := attacker.host.IPSender(t, victim.host.Addr)
	for range 10 {
		send.Must(t, packet)
	}
	if got := victim.countsTo(t, "spoofed", before+10); got != before+10 {
		t.Errorf("counter spoofed went from %d to %d, want 10 more", before, got)
	}
	if got := came.Frames(func(f bed.Frame) bool { return f.UDP != nil && f.UDP.Dst == markPort }); len(got) > 0 {
		t.Errorf("a forged packet has arrived: %s", got[0])
	}
}
