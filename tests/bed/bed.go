// Package bed is the test bed of the whole-program tests: hosts, containers and
// the world around them as network namespaces of one machine. It touches nothing
// in the machine's own namespace and leaves nothing behind.
//
//	              switch (a bridge per underlay subnet)
//	host 1 eth0 ──┤                ├── eth0 host 2
//	 └ fan bridge  │                │    └ fan bridge
//	    ├ eth0 container            │       ├ eth0 container
//	    └ eth0 container         router ──── world 203.0.113.2
package bed

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"testing"
)

// Options say what a bed is made of.
type Options struct {
	// Underlay is the prefix that the hosts' addresses are in; empty:
	// 10.0.0.0/16.
	Underlay string
	// Hosts are the underlay addresses of the hosts; empty: two hosts,
	// 10.0.0.11 and 10.0.3.4.
	Hosts []string
	// MTU is that of the underlay; 0: 1500.
	MTU int
	// Routed puts a router between the hosts: their own subnets have masks eight
	// bits longer than the underlay's.
	Routed bool
	// NoIPv6 keeps the kernels of hosts and containers from sending anything of
	// their own accord, so that counters stand still.
	NoIPv6 bool
}

// Bed is an underlay with hosts on it.
type Bed struct {
	Underlay netip.Prefix
	MTU      int
	Hosts    []*Host
	// Router is the hosts' default gateway, with the last usable address of each
	// of their subnets.
	Router *NS
	// World is what is beyond the router.
	World *NS
	// WorldAddr is the world's address.
	WorldAddr netip.Addr

	t        testing.TB
	options  Options
	stem     string // of the names of the namespaces
	switches *NS
}

// Documentation addresses (RFC 5737) for the link between router and world.
const (
	worldPrefix = "203.0.113.0/24"
	routerWorld = "203.0.113.1"
	worldAddr   = "203.0.113.2"
)

// New makes a bed; it goes away with the test.
func New(t testing.TB, o Options) *Bed {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root for network namespaces")
	}
	if o.Underlay == "" {
		o.Underlay = "10.0.0.0/16"
	}
	if o.MTU == 0 {
		o.MTU = 1500
	}
	if len(o.Hosts) == 0 {
		o.Hosts = []string{"10.0.0.11", "10.0.3.4"}
	}
	b := &Bed{t: t, options: o, Underlay: netip.MustParsePrefix(o.Underlay), MTU: o.MTU, WorldAddr: netip.MustParseAddr(worldAddr)}
	b.reserve()
	b.switches.IP(t, "link set lo up")
	b.Router, b.World = b.NS("router"), b.NS("world")
	b.linkWorld()
	subnets := map[netip.Prefix]string{}
	for i, a := range o.Hosts {
		b.addHost(i+1, netip.MustParseAddr(a), subnets)
	}
	return b
}

// reserve finds a number that no other bed of this process has.
func (b *Bed) reserve() {
	for n := 0; b.switches == nil; n++ {
		b.stem = fmt.Sprintf("%s%d-%d-", prefix, os.Getpid(), n)
		ns, err := newNS(b.stem + "switch")
		if errors.Is(err, os.ErrExist) {
			continue
		}
		if err != nil {
			b.t.Fatalf("make network namespace: %v", err)
		}
		b.adopt(ns)
		b.switches = ns
	}
}

// NS makes one more namespace of the bed, with lo up and nothing else.
func (b *Bed) NS(role string) *NS {
	b.t.Helper()
	ns, err := newNS(b.stem + role)
	if err != nil {
		b.t.Fatalf("make network namespace: %v", err)
	}
	b.adopt(ns)
	// Without duplicate address detection, link-local addresses stand at once and
	// a snapshot does not change by itself.
	ns.Sysctl(b.t, "ipv6/conf/default/accept_dad", "0")
	if b.options.NoIPv6 {
		ns.Sysctl(b.t, "ipv6/conf/all/disable_ipv6", "1")
		ns.Sysctl(b.t, "ipv6/conf/default/disable_ipv6", "1")
	}
	ns.IP(b.t, "link set lo up")
	return ns
}

func (b *Bed) adopt(ns *NS) {
	b.t.Cleanup(func() {
		ns.endWatchers()
		if err := ns.close(); err != nil {
			b.t.Errorf("remove network namespace %s: %v", ns.Name, err)
		}
	})
}

func (b *Bed) linkWorld() {
	b.Router.IP(b.t,
		fmt.Sprintf("link add world mtu %d type veth peer name eth0 mtu %d netns %s", b.MTU, b.MTU, b.World.Name),
		"addr add "+routerWorld+"/24 dev world",
		"link set world up")
	b.World.IP(b.t, "addr add "+worldAddr+"/24 dev eth0", "link set eth0 up", "route add default via "+routerWorld)
	b.Router.Sysctl(b.t, "ipv4/ip_forward", "1")
	for _, conf := range []string{"all", "default", "world"} {
		b.Router.Sysctl(b.t, "ipv4/conf/"+conf+"/rp_filter", "0")
		b.Router.Sysctl(b.t, "ipv4/conf/"+conf+"/send_redirects", "0")
	}
}

// addSubnet makes a bridge for one subnet of hosts and the router's leg in it,
// and returns the bridge's name.
func (b *Bed) addSubnet(p netip.Prefix, n int) string {
	bridge, leg, far := fmt.Sprintf("sw%d", n), fmt.Sprintf("sub%d", n), fmt.Sprintf("router%d", n)
	b.switches.IP(b.t,
		fmt.Sprintf("link add %s mtu %d type bridge forward_delay 0 stp_state 0 mcast_snooping 0", bridge, b.MTU),
		"link set "+bridge+" addrgenmode none",
		"link set "+bridge+" up",
		fmt.Sprintf("link add %s mtu %d type veth peer name %s mtu %d netns %s", far, b.MTU, leg, b.MTU, b.Router.Name),
		fmt.Sprintf("link set %s master %s addrgenmode none up", far, bridge))
	b.Router.IP(b.t, fmt.Sprintf("addr add %s/%d dev %s", LastUsable(p), p.Bits(), leg), "link set "+leg+" up")
	return bridge
}

// hostBits is the length of the mask of the hosts' addresses.
func (b *Bed) hostBits() int {
	if b.options.Routed {
		return min(b.Underlay.Bits()+8, 30)
	}
	return b.Underlay.Bits()
}

func (b *Bed) addHost(n int, a netip.Addr, subnets map[netip.Prefix]string) {
	bits := b.hostBits()
	subnet := netip.PrefixFrom(a, bits).Masked()
	bridge, ok := subnets[subnet]
	if !ok {
		bridge = b.addSubnet(subnet, len(subnets))
		subnets[subnet] = bridge
	}
	h := &Host{NS: b.NS(fmt.Sprintf("h%d", n)), Addr: a, Port: fmt.Sprintf("port%d", n), bed: b}
	h.name = fmt.Sprintf("host %d (%s)", n, a)
	b.switches.IP(b.t,
		fmt.Sprintf("link add %s mtu %d type veth peer name eth0 mtu %d netns %s", h.Port, b.MTU, b.MTU, h.Name),
		fmt.Sprintf("link set %s master %s addrgenmode none up", h.Port, bridge))
	h.IP(b.t, fmt.Sprintf("addr add %s/%d brd + dev eth0", a, bits), "link set eth0 up",
		fmt.Sprintf("route add default via %s", LastUsable(subnet)))
	b.Hosts = append(b.Hosts, h)
}

// RouteToSlice tells the router that a slice is behind a host, for traffic that
// leaves the fan without address translation.
func (b *Bed) RouteToSlice(slice netip.Prefix, h *Host) {
	b.t.Helper()
	b.Router.IP(b.t, fmt.Sprintf("route add %s via %s", slice, h.Addr))
}

// SwitchCapture records what passes the switch's port of a host: everything
// that the host sends to the underlay or gets from it. What the host sends is
// not Outgoing there.
func (b *Bed) SwitchCapture(h *Host) *Capture {
	b.t.Helper()
	return b.switches.Capture(b.t, h.Port)
}
