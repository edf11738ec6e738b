package host

import (
	"net/netip"
	"slices"
	"testing"

	"github.com/fanctl/fanctl/fan"
	"github.com/fanctl/fanctl/internal/kernel"
)

func request(t *testing.T, underlay, overlay string, change func(*fan.Spec)) fan.Spec {
	t.Helper()
	spec, err := fan.ParseUnderlay(underlay)
	if err != nil {
		t.Fatal(err)
	}
	r := fan.Spec{Underlay: spec, Overlay: netip.MustParsePrefix(overlay)}
	if change != nil {
		change(&r)
	}
	return r
}

// What a request leaves out is chosen from what the host has.
func TestResolveChooses(t *testing.T) {
	for _, test := range []struct {
		underlay, overlay string
		change            func(*fan.Spec)
		bridge, alias     string
	}{
		{"eth0/16", "250.0.0.0/8", nil,
			"fan-250", "fan1 underlay=10.0.0.45/16 overlay=250.0.0.0/8 dev=eth0 type=ipip mtu=1480"},
		{"10.0.0.0/16", "250.0.0.0/8", func(r *fan.Spec) { r.Type = fan.VXLAN },
			"fan-250", "fan1 underlay=10.0.0.45/16 overlay=250.0.0.0/8 dev=eth0 type=vxlan mtu=1450 port=8472"},
		{"default/24", "240.9.0.0/16", nil,
			"fan-240-9", "fan1 underlay=192.168.1.9/24 overlay=240.9.0.0/16 dev=eth1 type=ipip mtu=8980"},
		{"192.168.1.9/24", "240.0.0.0/8", func(r *fan.Spec) { r.Type, r.Port, r.Bridge, r.NoNAT = fan.VXLAN, 4790, "mine", true },
			"mine", "fan1 underlay=192.168.1.9/24 overlay=240.0.0.0/8 dev=eth1 type=vxlan mtu=8950 port=4790 nat=0"},
		{"eth0/16", "250.0.0.0/8", func(r *fan.Spec) { r.MTU, r.Datapath = 1480, fan.EBPF }, // as much as fits
			"fan-250", "fan1 underlay=10.0.0.45/16 overlay=250.0.0.0/8 dev=eth0 type=ipip mtu=1480 fixed-mtu=1 datapath=ebpf"},
	} {
		f, err := resolve(request(t, test.underlay, test.overlay, test.change), plain())
		if err != nil || f.Bridge != test.bridge || f.Alias() != test.alias {
			t.Errorf("%s over %s is %s, %s, %v; want %s, %s", test.overlay, test.underlay, f.Bridge, f.Alias(), err, test.bridge, test.alias)
		}
	}
}

func TestResolveRefuses(t *testing.T) {
	for _, test := range []struct {
		underlay, overlay string
		change            func(*fan.Spec)
		words             string
	}{
		{"eth7/16", "250.0.0.0/8", nil, "eth7/16 there device eth7"},
		{"172.31.0.0/16", "250.0.0.0/8", nil, "172.31.0.0/16 10.0.0.45/16"},
		{"eth0/16", "250.0.0.0/16", nil, "10.0.0.0/16 250.0.0.0/16 longer"},
		{"eth0/16", "10.0.0.0/8", nil, "10.0.0.0/16 10.0.0.0/8"},
		{"eth0/16", "250.0.0.0/8", func(r *fan.Spec) { r.MTU = 1481 }, "1481 eth0 1500 ipip 20 1480"},
		{"eth0/16", "250.0.0.0/8", func(r *fan.Spec) { r.Type, r.MTU = fan.VXLAN, 1451 }, "1451 eth0 1500 vxlan 50 1450"},
		{"eth0/16", "250.0.0.0/8", func(r *fan.Spec) { r.Port = 8472 }, "8472 vxlan"},
		{"eth0/16", "250.0.0.0/8", func(r *fan.Spec) { r.Type, r.Datapath = fan.VXLAN, fan.EBPF }, "ebpf vxlan"},
	} {
		_, err := resolve(request(t, test.underlay, test.overlay, test.change), plain())
		checkRefused(t, test.overlay+" over "+test.underlay, err, test.words)
	}
}

func TestResolveRefusesWithoutDefaultRoute(t *testing.T) {
	s := plain()
	s.Routes = nil
	_, err := resolve(request(t, "default/16", "250.0.0.0/8", nil), s)
	checkRefused(t, "no default route", err, "default/16 route")
}

func TestOnlyDefaultRoute(t *testing.T) {
	s := plain()
	s.Routes = s.Routes[1:]
	f, err := resolve(request(t, "default/24", "240.9.0.0/16", nil), s)
	if err != nil || f.Device != "eth1" {
		t.Errorf("default is %s, %v; want eth1", f.Device, err)
	}
}

func TestDeviceNames(t *testing.T) {
	withFans := withFan(t, withFan(t, plain(), "fan-250", ipipAlias), "mine", vxlanAlias)
	withFans.Links = append(withFans.Links, kernel.Link{Name: "ftrm-250", Kind: "ipvlan"}, kernel.Link{Name: fan.SharedTunnel, Kind: "ipip"})
	for _, s := range []kernel.State{plain(), withFans} {
		if got, want := deviceNames(s), "eth0, eth1, docker0, wg0"; got != want {
			t.Errorf("the devices are %q, want %q", got, want)
		}
	}
	alone := kernel.State{Links: []kernel.Link{{Name: "lo", Loopback: true}}}
	if got, want := deviceNames(alone), "none but the loopback device"; got != want {
		t.Errorf("the devices are %q, want %q", got, want)
	}
}

// A device whose MTU leaves less than every host must take can't carry a fan.
func TestResolveRefusesSmallDevice(t *testing.T) {
	s := plain()
	s.Links[1].MTU = 595
	_, err := resolve(request(t, "eth0/16", "250.0.0.0/8", nil), s)
	checkRefused(t, "MTU 595", err, "595 eth0 20 596")
	s.Links[1].MTU = 596
	_, err = resolve(request(t, "eth0/16", "250.0.0.0/8", nil), s)
	checkRefused(t, "MTU 596", err, "")
}

// The address of a fan bridge is not one that a fan can be built on.
func TestLocals(t *testing.T) {
	s := withFan(t, plain(), "fan-250", ipipAlias)
	want := locals(plain())
	if got := locals(s); !slices.Equal(got, want) || len(got) != 5 {
		t.Errorf("with a fan the local addresses are %v, want %v", got, want)
	}
	if lo := want[0]; lo.Device != "lo" || !lo.Loopback || want[1].Loopback {
		t.Errorf("the local addresses are %v", want)
	}
	s.Addresses = append(s.Addresses, kernel.Address{Prefix: netip.MustParsePrefix("10.9.9.9/8"), Link: 99}) // its link has just gone
	if got := locals(s); !slices.Equal(got, want) {
		t.Errorf("with an address of no device the local addresses are %v", got)
	}
}

func TestWaysOut(t *testing.T) {
	const onLo = "fan1 underlay=10.0.9.9/16 overlay=250.0.0.0/8 dev=eth2 type=ipip mtu=1380"
	twoWays := cabled(route("0.0.0.0/0", 2, true), route("10.0.3.4/32", 4, true), route("10.0.3.4/32", 3, true))
	for _, test := range []struct {
		alias string
		state kernel.State
		want  []string
	}{
		{ipipAlias, plain(), []string{"eth0", "eth1", "wg0"}}, {vxlanAlias, plain(), []string{"eth1", "wg0"}}, // the main table first, none twice
		{onLo, twoWays, []string{"eth2", "eth1", "eth0"}},
	} {
		if got := waysOut(fanOf(t, "fan-250", test.alias), test.state); !slices.Equal(got, test.want) {
			t.Errorf("the ways out of %s are %v, want %v", test.alias, got, test.want)
		}
	}
}
