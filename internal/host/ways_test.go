package host

import (
	"net/netip"
	"slices"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/fanctl/fanctl/fan"
	"github.com/fanctl/fanctl/internal/kernel"
)

// cabled is a host with 10.0.1.1 on eth0 of 10.0.1.0/24, two more cards, a bridge of
// containers inside of the underlay 10.0.0.0/16, and no routes but what is added.
func cabled(routes ...kernel.Route) kernel.State {
	prefix := netip.MustParsePrefix
	return kernel.State{
		Links: []kernel.Link{
			{Name: "lo", Index: 1, MTU: 65536, Loopback: true}, {Name: "eth0", Index: 2, MTU: 1500, Ethernet: true},
			{Name: "eth1", Index: 3, MTU: 1400, Ethernet: true}, {Name: "eth2", Index: 4, MTU: 9000, Ethernet: true},
			{Name: "br0", Kind: "bridge", Index: 5, MTU: 1300}, {Name: "cali1", Kind: "veth", Index: 6, MTU: 1200},
		},
		Addresses: []kernel.Address{{Prefix: prefix("10.0.1.1/24"), Link: 2}, {Prefix: prefix("10.0.2.1/24"), Link: 3},
			{Prefix: prefix("10.0.7.1/24"), Link: 5}, {Prefix: prefix("10.0.9.9/32"), Link: 1}},
		Routes: routes,
	}
}

// route is one of the table main unless a table is given; with a gateway if via.
func route(to string, link int, via bool, table ...int) kernel.Route {
	r := kernel.Route{Destination: netip.MustParsePrefix(to), Link: link, Table: unix.RT_TABLE_MAIN}
	if via {
		r.Gateway = netip.MustParseAddr("192.0.2.1")
	}
	if len(table) > 0 {
		r.Table = table[0]
	}
	return r
}

func TestWaysTo(t *testing.T) {
	main := kernel.Rule{Table: unix.RT_TABLE_MAIN, Suppress: -1}
	rule := func(table int, change func(*kernel.Rule)) kernel.Rule {
		r := kernel.Rule{Table: table, Suppress: -1}
		change(&r)
		return r
	}
	prefix := netip.MustParsePrefix
	dead := func(word, to string, table int) kernel.Route {
		return kernel.Route{Dead: word, Destination: prefix(to), Table: table}
	}
	for name, test := range map[string]struct {
		rules  []kernel.Rule
		routes []kernel.Route
		want   []string
	}{
		"one network":         {nil, []kernel.Route{route("0.0.0.0/0", 3, true), route("10.0.0.0/16", 2, false)}, []string{"eth0"}},
		"by its default":      {nil, []kernel.Route{route("0.0.0.0/0", 2, true), route("10.0.1.0/24", 2, false)}, []string{"eth0"}},
		"default elsewhere":   {nil, []kernel.Route{route("0.0.0.0/0", 4, true), route("10.0.1.0/24", 2, false)}, []string{"eth0", "eth2"}},
		"two networks inside": {nil, []kernel.Route{route("10.0.2.0/24", 3, false), route("10.0.1.0/24", 2, false)}, []string{"eth0", "eth1"}},
		"two hops":            {nil, []kernel.Route{route("10.0.3.4/32", 3, true), route("10.0.3.4/32", 4, true)}, []string{"eth1", "eth2"}},
		"containers inside":   {nil, []kernel.Route{route("10.0.0.0/16", 2, false), route("10.0.7.0/24", 5, false), route("10.0.8.8/32", 6, false)}, []string{"eth0"}},
		"host behind bridge":  {nil, []kernel.Route{route("10.0.3.4/32", 5, true)}, []string{"br0"}},
		"loopback":            {nil, []kernel.Route{route("10.0.5.0/24", 1, true)}, nil},
		"other networks":      {nil, []kernel.Route{route("10.1.0.0/16", 3, true)}, nil},
		"dead around":         {nil, []kernel.Route{dead("blackhole", "10.0.0.0/8", unix.RT_TABLE_MAIN), route("0.0.0.0/0", 4, true), route("10.0.3.0/24", 3, true)}, []string{"eth1"}},
		"by source": {[]kernel.Rule{rule(100, func(r *kernel.Rule) { r.From = prefix("10.0.1.1/32") }), main},
			[]kernel.Route{route("10.0.0.0/16", 2, false), route("0.0.0.0/0", 4, true, 100)}, []string{"eth2"}},
		"another's source": {[]kernel.Rule{rule(100, func(r *kernel.Rule) { r.From = prefix("10.0.2.1/32") }), main},
			[]kernel.Route{route("10.0.0.0/16", 2, false), route("0.0.0.0/0", 4, true, 100)}, []string{"eth0"}},
		"some hosts": {[]kernel.Rule{rule(100, func(r *kernel.Rule) { r.To = prefix("10.0.64.0/18") }), main},
			[]kernel.Route{route("10.0.0.0/16", 2, false), route("0.0.0.0/0", 4, true, 100)}, []string{"eth0", "eth2"}},
		"a port": {[]kernel.Rule{rule(100, func(r *kernel.Rule) { r.More = true }), main},
			[]kernel.Route{route("10.0.0.0/16", 2, false), route("0.0.0.0/0", 4, true, 100)}, []string{"eth0", "eth2"}},
		"thrown back": {[]kernel.Rule{rule(100, func(*kernel.Rule) {}), main},
			[]kernel.Route{route("10.0.0.0/16", 2, false), dead("throw", "10.0.0.0/16", 100)}, []string{"eth0"}},
		"of this host": {[]kernel.Rule{rule(100, func(r *kernel.Rule) { r.Input = "lo" }), main},
			[]kernel.Route{route("10.0.0.0/16", 2, false), route("0.0.0.0/0", 4, true, 100)}, []string{"eth2"}},
		"of others": {[]kernel.Rule{rule(100, func(r *kernel.Rule) { r.Input = "eth1" }), main},
			[]kernel.Route{route("10.0.0.0/16", 2, false), route("0.0.0.0/0", 4, true, 100)}, []string{"eth0"}},
		"by a device": {[]kernel.Rule{rule(100, func(r *kernel.Rule) { r.Never = true }), main},
			[]kernel.Route{route("10.0.0.0/16", 2, false), route("0.0.0.0/0", 4, true, 100)}, []string{"eth0"}},
		"not by a device": {[]kernel.Rule{rule(100, func(r *kernel.Rule) { r.Never, r.Not = true, true }), main},
			[]kernel.Route{route("10.0.0.0/16", 2, false), route("0.0.0.0/0", 4, true, 100)}, []string{"eth2"}},
		"as wg-quick has it": {[]kernel.Rule{rule(unix.RT_TABLE_MAIN, func(r *kernel.Rule) { r.Suppress = 0 }),
			rule(51820, func(r *kernel.Rule) { r.Not, r.Never = true, true }), main},
			[]kernel.Route{route("0.0.0.0/0", 2, true), route("10.0.1.0/24", 2, false), route("0.0.0.0/0", 4, false, 51820)}, []string{"eth0", "eth2"}},
		"a VRF's table": {[]kernel.Rule{main}, []kernel.Route{route("10.0.0.0/16", 2, false), route("0.0.0.0/0", 4, true, 7)}, []string{"eth0"}},
	} {
		s := cabled(test.routes...)
		s.Rules = test.rules
		if got := waysTo(prefix("10.0.0.0/16"), netip.MustParseAddr("10.0.1.1"), "eth0", s); !slices.Equal(got, test.want) {
			t.Errorf("%s: %v, want %v", name, got, test.want)
		}
	}
}

// The MTU is that of the address's device if packets leave by it, or the least one.
func TestNarrowest(t *testing.T) {
	for _, test := range []struct {
		ways   ways
		device string
		want   string
	}{
		{ways{"eth0"}, "eth0", "eth0"}, {ways{"eth0", "eth1"}, "eth0", "eth0"}, {nil, "eth0", "eth0"},
		{ways{"eth2", "eth0", "eth1"}, "lo", "eth1"}, {ways{"eth2"}, "eth0", "eth2"},
	} {
		if got := test.ways.narrowest(test.device, cabled()); got.Name != test.want {
			t.Errorf("of %v with the address on %s it is %s, want %s", test.ways, test.device, got.Name, test.want)
		}
	}
}

// An address on a loopback device is reached by the ways, whose least MTU counts.
func TestResolveOnLoopback(t *testing.T) {
	s := cabled(route("10.0.3.4/32", 4, true), route("10.0.3.4/32", 3, true))
	for _, word := range []string{"10.0.9.9/16", "lo/16"} {
		f, err := resolve(request(t, word, "250.0.0.0/8", nil), s)
		if err != nil || f.Device != "eth2" || f.Host.String() != "10.0.9.9" || f.MTU != 1380 {
			t.Errorf("%s: %s, %v", word, f.Alias(), err)
		}
		if got := devicesOf(f, s); !slices.Equal(got, []string{"eth2", "eth1"}) {
			t.Errorf("%s: packets come by %v", word, got)
		}
		_, err = resolve(request(t, word, "250.0.0.0/8", func(r *fan.Spec) { r.MTU = 1381 }), s)
		checkRefused(t, "too large an MTU", err, "1381 eth1 1400 1380")
	}
	_, err := resolve(request(t, "10.0.9.9/16", "250.0.0.0/8", nil), cabled())
	checkRefused(t, "no route", err, "10.0.9.9/16 lo no route 10.0.0.0/16")
}

// An address on a loopback device and on a card makes one fan, in whatever words it is
// named: the card's, which stays as it is when it is looked at again.
func TestResolveOnLoopbackAndCard(t *testing.T) {
	s := cabled(route("10.0.9.0/24", 4, false), route("10.0.0.0/16", 2, true))
	s.Addresses = append(s.Addresses, kernel.Address{Prefix: netip.MustParsePrefix("10.0.9.9/24"), Link: 4})
	s.Addresses = slices.DeleteFunc(s.Addresses, func(a kernel.Address) bool { return a.Link == 2 || a.Link == 3 || a.Link == 5 })
	for _, word := range []string{"10.0.0.0/16", "10.0.9.9/16", "lo/16", "eth2/16"} {
		r := request(t, word, "250.0.0.0/8", nil)
		f, err := resolve(r, s)
		if err != nil || f.Device != "eth2" || f.MTU != 8980 {
			t.Errorf("%s: %s, %v; want eth2 and MTU 8980", word, f.Alias(), err)
			continue
		}
		if got, want := whyMTU(f, s), "MTU 8980: the 9000 of eth2 less the 20 bytes that ipip puts before a packet"; got != want {
			t.Errorf("%s: %q, want %q", word, got, want)
		}
		again, err := f.SpecAmong(locals(s), true)
		if err != nil {
			t.Fatal(err)
		}
		if g, err := resolve(again, s); err != nil || g != f {
			t.Errorf("%s: %s\nis again %s, %v", word, f.Alias(), g.Alias(), err)
		}
	}
}

// The device with the address is the fan's own, if it has it, whatever else does.
func TestWithAddress(t *testing.T) {
	s := cabled()
	for _, link := range []int{3, 4} {
		s.Addresses = append(s.Addresses, kernel.Address{Prefix: netip.MustParsePrefix("10.0.9.9/24"), Link: link})
	}
	for device, want := range map[string]string{"eth2": "eth2", "eth1": "eth1", "lo": "lo", "eth0": "eth1", "gone": "eth1"} {
		f := fanOf(t, "fan-250", "fan1 underlay=10.0.9.9/16 overlay=250.0.0.0/8 dev="+device+" type=ipip mtu=1480")
		if got := withAddress(f, s); got != want {
			t.Errorf("a fan by %s has its address on %s, want %s", device, got, want)
		}
	}
}

// A VRF is no place for the host's address nor for the first way; what else leads there
// is left out.
func TestVRF(t *testing.T) {
	const onEth0, onLo = "fan1 underlay=10.0.1.1/16 overlay=250.0.0.0/8 dev=eth0 type=ipip mtu=1480", "fan1 underlay=10.0.9.9/16 overlay=250.0.0.0/8 dev=eth2 type=ipip mtu=1380"
	around, inside, some, leak := route("0.0.0.0/0", 4, true), route("10.0.1.0/24", 2, false), route("10.0.3.0/24", 3, true), route("10.0.3.0/24", 9, true)
	for name, test := range map[string]struct {
		alias   string
		routes  []kernel.Route
		vrf     int // whose port the VRF has
		devices []string
		words   string
	}{
		"none":                {onEth0, []kernel.Route{inside, some}, 0, []string{"eth0", "eth1"}, ""},
		"a way to some":       {onEth0, []kernel.Route{inside, some}, 3, []string{"eth0"}, ""},
		"the VRF itself":      {onEth0, []kernel.Route{inside, leak}, 0, []string{"eth0"}, ""},
		"the address":         {onEth0, []kernel.Route{inside, some}, 2, []string{"eth0", "eth1"}, "10.0.0.0/16 eth0 VRF blue"},
		"the address, no way": {onEth0, []kernel.Route{around}, 2, []string{"eth2", "eth0"}, "10.0.0.0/16 eth0 VRF blue"},
		"the first way":       {onEth0, []kernel.Route{leak}, 0, []string{"blue", "eth0"}, "10.0.0.0/16 blue VRF blue"},
		"of two ways one":     {onLo, []kernel.Route{route("10.0.3.0/24", 4, true), some}, 3, []string{"eth2"}, ""},
		"both ways":           {onLo, []kernel.Route{some, leak}, 3, []string{"eth1", "eth2"}, "10.0.0.0/16 eth1 VRF blue"},
	} {
		f, s := fanOf(t, "fan-250", test.alias), cabled(test.routes...)
		s.Links = append(s.Links, kernel.Link{Name: "blue", Kind: "vrf", Index: 9})
		for i := range s.Links {
			if s.Links[i].Index == test.vrf {
				s.Links[i].Master = 9
			}
		}
		checkRefused(t, name, checkVRF(f, s), test.words)
		if got := devicesOf(f, s); !slices.Equal(got, test.devices) {
			t.Errorf("%s: packets come by %v, want %v", name, got, test.devices)
		}
	}
	// Nor does its MTU count.
	s := cabled(route("10.0.3.4/32", 4, true), route("10.0.3.4/32", 3, true))
	s.Links = append(s.Links, kernel.Link{Name: "blue", Kind: "vrf", Index: 9})
	s.Links[2].Master = 9
	if f, err := resolve(request(t, "lo/16", "250.0.0.0/8", nil), s); err != nil || f.MTU != 8980 {
		t.Errorf("beside a way of MTU 1400 in a VRF: %s, %v; want MTU 8980", f.Alias(), err)
	}
}
