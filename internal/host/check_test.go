package host

import (
	"net/netip"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/fanctl/fanctl/fan"
	"github.com/fanctl/fanctl/internal/kernel"
)

// What is up may come up again with other words, but not as another fan.
func TestCheckAgainstFanThatIsUp(t *testing.T) {
	up := fanOf(t, "fan-240-9", vxlanAlias)
	for name, test := range map[string]struct {
		change func(*fan.Fan)
		words  string
	}{
		"the same":             {func(*fan.Fan) {}, ""},
		"other MTU, NAT":       {func(f *fan.Fan) { f.MTU, f.FixedMTU, f.NAT = 1300, true, false }, ""},
		"another host address": {func(f *fan.Fan) { f.Host = netip.MustParseAddr("192.168.1.10") }, ""},
		"another bridge":       {func(f *fan.Fan) { f.Bridge = "mine" }, "240.9.0.0/16 fan-240-9 fanctl down -u 192.168.1.0/24 -o 240.9.0.0/16"},
		"another underlay": {func(f *fan.Fan) { f.Mapping = networks(t, "192.168.1.0/25", "240.9.0.0/16") },
			"240.9.0.0/16 192.168.1.0/25 fanctl down -u 192.168.1.0/24 -o 240.9.0.0/16"},
		"another type":         {func(f *fan.Fan) { f.Type = fan.IPIP }, "fan-240-9 vxlan ipip fanctl down -u 192.168.1.0/24 -o 240.9.0.0/16"},
		"another port":         {func(f *fan.Fan) { f.Port = 4790 }, "fan-240-9 8472 4790 fanctl down -u 192.168.1.0/24 -o 240.9.0.0/16"},
		"another overlay":      {func(f *fan.Fan) { f.Mapping = networks(t, "192.168.1.0/24", "241.0.0.0/8") }, "fan-240-9 240.9.0.0/16 --bridge"},
		"overlay and bridge":   {func(f *fan.Fan) { f.Mapping, f.Bridge = networks(t, "192.168.1.0/24", "241.0.0.0/8"), "fan-241" }, ""},
		"an overlay around it": {func(f *fan.Fan) { f.Mapping, f.Bridge = networks(t, "192.168.1.0/24", "240.0.0.0/8"), "fan-240" }, "240.0.0.0/8 240.9.0.0/16 fan-240-9"},
		"an overlay inside": {func(f *fan.Fan) { f.Mapping, f.Bridge = networks(t, "192.168.1.0/24", "240.9.64.0/18"), "x" },
			"240.9.64.0/18 240.9.0.0/16 fan-240-9"},
	} {
		f := up
		test.change(&f)
		checkRefused(t, name, checkAgainst(f, up), test.words)
	}
}

func networks(t *testing.T, underlay, overlay string) fan.Mapping {
	t.Helper()
	m, err := fan.NewMapping(netip.MustParsePrefix(underlay), netip.MustParsePrefix(overlay))
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// What a host has that a fan would get in the way of.
func TestCheckHost(t *testing.T) {
	taken := func(prefix string) func(*kernel.State) {
		return func(s *kernel.State) {
			s.Routes = append(s.Routes, kernel.Route{Destination: netip.MustParsePrefix(prefix), Link: 5, Table: 51820})
		}
	}
	dead := func(prefix string) func(*kernel.State) {
		return func(s *kernel.State) {
			s.Routes = append(s.Routes, kernel.Route{Dead: "blackhole", Destination: netip.MustParsePrefix(prefix), Table: unix.RT_TABLE_MAIN})
		}
	}
	for name, test := range map[string]struct {
		change func(*kernel.State)
		words  string
	}{
		"nothing":        {func(*kernel.State) {}, ""},
		"the fan itself": {func(s *kernel.State) { *s = withFan(t, *s, "fan-250", ipipAlias) }, ""},
		"another fan":    {func(s *kernel.State) { *s = withFan(t, *s, "mine", vxlanAlias) }, ""},
		"a fan inside": {func(s *kernel.State) {
			*s = withFan(t, *s, "x", "fan1 underlay=192.168.1.9/24 overlay=250.9.0.0/16 dev=eth1 type=ipip mtu=1480")
		}, "250.0.0.0/8 250.9.0.0/16 x"},
		"a foreign bridge": {func(s *kernel.State) {
			s.Links = append(s.Links, kernel.Link{Name: "fan-250", Kind: "bridge", Index: 9, MAC: [6]byte{2}})
		}, "fan-250 bridge --bridge"},
		"a route around it":        {taken("240.0.0.0/4"), "250.0.0.0/8 240.0.0.0/4 wg0"},
		"a route inside":           {taken("250.7.0.0/16"), "250.0.0.0/8 250.7.0.0/16 wg0"},
		"a route beside it":        {taken("251.0.0.0/8"), ""},
		"a blackhole in its place": {dead("250.0.0.0/8"), "250.0.0.0/8 blackhole"},
		"a blackhole inside":       {dead("250.7.0.0/16"), "250.0.0.0/8 blackhole 250.7.0.0/16"},
		"a blackhole around it":    {dead("240.0.0.0/4"), ""},
		"a blackhole beside it":    {dead("251.0.0.0/8"), ""},
		"an address": {func(s *kernel.State) {
			s.Addresses = append(s.Addresses, kernel.Address{Prefix: netip.MustParsePrefix("250.1.2.3/32"), Link: 4})
		}, "250.0.0.0/8 250.1.2.3/32 docker0"},
		"a device that has gone": {func(s *kernel.State) {
			s.Addresses = append(s.Addresses, kernel.Address{Prefix: netip.MustParsePrefix("250.1.2.3/32"), Link: 77})
			s.Routes = append(s.Routes, kernel.Route{Destination: netip.MustParsePrefix("250.0.0.0/8"), Link: 77})
		}, ""},
	} {
		s := plain()
		test.change(&s)
		checkRefused(t, name, checkHost(fanOf(t, "fan-250", ipipAlias), s), test.words)
	}
}

// A fan that an earlier version has built by the ipip device has its route there.
func TestRouteOfAnEarlierVersion(t *testing.T) {
	s := plain()
	s.Links = append(s.Links, kernel.Link{Name: fan.SharedTunnel, Kind: "ipip", Index: 8, External: true})
	s.Routes = append(s.Routes, kernel.Route{Destination: netip.MustParsePrefix("250.0.0.0/8"), Link: 8, Table: unix.RT_TABLE_MAIN})
	checkRefused(t, "its route", checkHost(fanOf(t, "fan-250", ipipAlias), s), "")
	s.Routes[len(s.Routes)-1].Destination = netip.MustParsePrefix("250.1.0.0/16")
	checkRefused(t, "another route", checkHost(fanOf(t, "fan-250", ipipAlias), s), "250.1.0.0/16 "+fan.SharedTunnel)
}

func TestChooseDatapath(t *testing.T) {
	shared := kernel.Link{Name: fan.SharedTunnel, Kind: "ipip", Index: 8, External: true}
	foreign := kernel.Link{Name: "tun9", Kind: "ipip", Index: 9, External: true}
	bare, direct := plain(), withFan(t, plain(), "fan-250", ipipAlias)
	with := func(s kernel.State, links ...kernel.Link) kernel.State {
		s.Links = append(s.Links, links...)
		return s
	}
	withShared, withForeign := with(plain(), shared), with(plain(), foreign)
	fallback := kernel.Link{Name: "tunl0", Kind: "ipip", Index: 8} // what the module makes, without metadata
	used := fallback
	used.Up = true
	namesake := kernel.Link{Name: fan.SharedTunnel, Kind: "dummy", Index: 8}
	for name, test := range map[string]struct {
		state kernel.State
		alias string
		want  fan.Datapath
	}{
		"vxlan":                      {bare, vxlanAlias, fan.Device},
		"nothing is there":           {bare, ipipAlias, fan.EBPF},
		"nothing, but tunl0 is down": {with(plain(), fallback), ipipAlias, fan.EBPF},
		"asked for":                  {bare, ipipAlias + " datapath=ebpf", fan.EBPF},
		"asked for otherwise":        {direct, ipipAlias + " datapath=device", fan.Device},
		"as it is":                   {direct, ipipAlias, fan.EBPF},
		"the device is there":        {withShared, ipipAlias, fan.Device},
		"somebody else's is there":   {withForeign, ipipAlias, fan.EBPF},
		"another fan has the device": {with(direct, shared), ipipAlias, fan.Device},
		"somebody uses tunl0":        {with(plain(), used), ipipAlias, fan.EBPF},
		"somebody came to use tunl0": {with(plain(), shared, used), ipipAlias, fan.EBPF},
		"a device of its name":       {with(plain(), namesake, foreign), ipipAlias, fan.EBPF},
	} {
		for _, has := range []bool{false, true} {
			want := test.want
			if has && strings.HasPrefix(name, "nothing") {
				want = fan.Device
			}
			never := func() bool { return false }
			if got := chooseDatapath(fanOf(t, "fan-250", test.alias), test.state, func() bool { return has }, never); got != want {
				t.Errorf("%s, the kernel has the ipip device: %t: the datapath is %s, want %s", name, has, got, want)
			}
		}
	}
	for want, state := range map[string]kernel.State{foreign.Name: withForeign, used.Name: with(plain(), used)} {
		if got := otherIPIP(state); got != want {
			t.Errorf("the ipip device of somebody else is %q, want %q", got, want)
		}
	}
	for name, state := range map[string]kernel.State{"the fans'": withShared, "tunl0 that is down": with(plain(), fallback),
		"vxlan": withFan(t, plain(), "fan-240-9", vxlanAlias)} {
		if got := otherIPIP(state); got != "" {
			t.Errorf("%s: %q is taken for somebody else's ipip device", name, got)
		}
	}
}

// A fan that was there before somebody's device stays as it is, and that is said.
func TestBesideIPIP(t *testing.T) {
	f, s := fanOf(t, "fan-250", ipipAlias), plain()
	used := kernel.Link{Name: "tunl0", Kind: "ipip", Index: 9, Up: true}
	if notes := besideIPIP(Result{Fan: f, Datapath: fan.Device}, s); len(notes) > 0 {
		t.Errorf("alone: %q", notes)
	}
	s.Links = append(s.Links, used)
	if notes := besideIPIP(Result{Fan: f, Datapath: fan.EBPF}, s); len(notes) > 0 {
		t.Errorf("by eBPF: %q", notes)
	}
	if notes := besideIPIP(Result{Fan: f, Datapath: fan.Device}, s); len(notes) != 1 || !strings.Contains(notes[0], "tunl0") {
		t.Errorf("by the device: %q", notes)
	}
}

func TestCheckDatapath(t *testing.T) {
	s := withFan(t, plain(), "fan-250", ipipAlias)
	f := fanOf(t, "fan-250", ipipAlias)
	checkRefused(t, "as it is", checkDatapath(Result{Fan: f, Datapath: fan.EBPF}, s), "")
	checkRefused(t, "not up", checkDatapath(Result{Fan: f, Datapath: fan.Device}, plain()), "")
	checkRefused(t, "another", checkDatapath(Result{Fan: f, Datapath: fan.Device}, s), "")
	theirs := plain()
	theirs.Links = append(theirs.Links, kernel.Link{Name: "tun9", Kind: "ipip", Index: 9, External: true})
	checkRefused(t, "one ipip device", checkDatapath(Result{Fan: f, Datapath: fan.Device}, theirs), "device tun9 --datapath ebpf")
	checkRefused(t, "without it", checkDatapath(Result{Fan: f, Datapath: fan.EBPF}, theirs), "")
}
