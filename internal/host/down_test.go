package host

import (
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/fanctl/fanctl/bridge"
	"github.com/fanctl/fanctl/fan"
	"github.com/fanctl/fanctl/internal/firewall"
	"github.com/fanctl/fanctl/internal/kernel"
)

// Down finds the fan by its overlay, and what else was said must not contradict.
func TestTarget(t *testing.T) {
	s := withFan(t, withFan(t, plain(), "fan-250", ipipAlias+" fwd=0"), "mine", vxlanAlias)
	for _, test := range []struct{ underlay, overlay, bridge, words string }{
		{"eth0/16", "250.0.0.0/8", "fan-250", ""},
		{"default/16", "250.0.0.0/8", "fan-250", ""}, // whatever device has the default route now
		{"10.0.0.0/16", "250.0.0.0/8", "fan-250", ""},
		{"10.0.7.7/16", "250.0.0.0/8", "fan-250", ""}, // the host's address may have changed
		{"eth1/24", "240.9.0.0/16", "mine", ""},
		{"eth1/16", "250.0.0.0/8", "", "eth1/16 250.0.0.0/8 10.0.0.0/16 eth0"},
		{"eth0/24", "250.0.0.0/8", "", "eth0/24 250.0.0.0/8 10.0.0.0/16"},
		{"10.1.0.0/16", "250.0.0.0/8", "", "10.1.0.0/16 250.0.0.0/8 10.0.0.0/16"},
	} {
		r := request(t, test.underlay, test.overlay, nil)
		f, facts, up, err := target(DownRequest{Underlay: r.Underlay, Overlay: r.Overlay}, s)
		checkRefused(t, test.overlay+" over "+test.underlay, err, test.words)
		if test.words == "" && (!up || f.Bridge != test.bridge || facts.ForwardingOff != (test.bridge == "fan-250")) {
			t.Errorf("%s over %s is %s, %+v, %t; want %s", test.overlay, test.underlay, f.Bridge, facts, up, test.bridge)
		}
	}
}

// Of a fan that is not up there may be leftovers: those of the fan that these
// networks would make here.
func TestTargetOfFanThatIsNotUp(t *testing.T) {
	r := request(t, "eth0/16", "250.0.0.0/8", nil)
	f, _, up, err := target(DownRequest{Underlay: r.Underlay, Overlay: r.Overlay}, withFan(t, plain(), "mine", vxlanAlias))
	if err != nil || up || f.Alias() != ipipAlias || f.Bridge != "fan-250" {
		t.Errorf("it is %s, %s, %t, %v; want %s", f.Bridge, f.Alias(), up, err, ipipAlias)
	}
}

// A fan that is up is nobody else's leftovers, although its names are those that the
// overlay which is named would have.
func TestTargetWithTheNamesOfAnotherFan(t *testing.T) {
	const shorter = "fan1 underlay=10.0.0.45/16 overlay=250.0.0.0/12 dev=eth0 type=ipip mtu=1480"
	for _, test := range []struct{ bridge, alias, underlay, overlay, words string }{
		{"fan-250", shorter, "10.0.0.0/16", "250.0.0.0/8", "fan-250 250.0.0.0/12 10.0.0.0/16 250.0.0.0/8; fanctl down -u -o"},
		{"fan-250", shorter, "172.31.0.0/16", "250.0.0.0/8", "fan-250 250.0.0.0/12 fanctl down -u 10.0.0.0/16"}, // without an address of this host
		{"mine", shorter, "eth0/16", "250.0.0.0/8", "mine 250.0.0.0/12"},                                        // whose tunnel is ftun-250
		{"fan-250", ipipAlias, "10.0.0.0/24", "250.0.0.0/12", "fan-250 250.0.0.0/8 10.0.0.0/16"},
		{"fan-250", vxlanAlias, "eth0/16", "250.0.0.0/8", "fan-250 240.9.0.0/16 192.168.1.0/24"},
		{"fan-240-9", vxlanAlias, "eth0/16", "250.0.0.0/8", ""},
	} {
		r := request(t, test.underlay, test.overlay, nil)
		_, _, up, err := target(DownRequest{Underlay: r.Underlay, Overlay: r.Overlay}, withFan(t, plain(), test.bridge, test.alias))
		if checkRefused(t, test.overlay+" beside "+test.alias, err, test.words); up {
			t.Errorf("%s is up, where only %s as %s is", test.overlay, test.alias, test.bridge)
		}
	}
}

// With the device or the address gone as well, a fan is gone, unless some device may be
// what is left of it: then somebody has to say where it was.
func TestTargetWithoutUnderlay(t *testing.T) {
	for _, underlay := range []string{"eth7/16", "docker1/24", "172.31.0.0/16", "10.0.0.9/16"} {
		r := request(t, underlay, "250.0.0.0/8", nil)
		request := DownRequest{Underlay: r.Underlay, Overlay: r.Overlay}
		f, facts, up, err := target(request, withFan(t, plain(), "mine", vxlanAlias))
		if err != nil || up || f != (fan.Fan{Bridge: "fan-250"}) || !reflect.DeepEqual(facts, bridge.Facts{}) {
			t.Errorf("%s: it is %+v, %+v, %t, %v; want nothing but the name fan-250", underlay, f, facts, up, err)
		}
		for _, left := range []string{"fan-250", "ftun-250", "ftin-250", "ftrm-250"} {
			s := plain()
			s.Links = append(s.Links, kernel.Link{Name: left, Kind: "bridge", Index: 90})
			_, _, _, err = target(request, s)
			checkRefused(t, left+" is left", err, underlay)
		}
	}
	r := request(t, "eth0/8", "250.0.0.0/8", nil)
	_, _, _, err := target(DownRequest{Underlay: r.Underlay, Overlay: r.Overlay}, plain())
	checkRefused(t, "networks that can't be", err, "10.0.0.0/8 250.0.0.0/8 longer")
}

func TestOthersThan(t *testing.T) {
	s := withFan(t, withFan(t, plain(), "fan-250", ipipAlias), "mine", vxlanAlias+" tables=nat")
	others := othersThan(fanOf(t, "fan-250", ipipAlias), s)
	if len(others) != 1 || others[0].Fan.Bridge != "mine" || len(others[0].Facts.Tables) != 1 {
		t.Errorf("the other fans are %+v, want mine with its facts", others)
	}
}

func TestInUseError(t *testing.T) {
	text := (&InUseError{"fan-250", []string{"veth1", "veth2"}}).Error()
	for _, word := range []string{"fan-250", "veth1, veth2", "--force"} {
		if !strings.Contains(text, word) {
			t.Errorf("%q does not name %s", text, word)
		}
	}
}

func TestSomePeerIsNotThisHost(t *testing.T) {
	f := fan.Fan{Mapping: networks(t, "10.0.0.4/30", "250.0.0.0/8")}
	for host, want := range map[string]string{"10.0.0.5": "10.0.0.6", "10.0.0.6": "10.0.0.5"} {
		f.Host = netip.MustParseAddr(host)
		if got := somePeer(f, f.Mapping.Underlay()).String(); got != want {
			t.Errorf("the peer of %s is %s, want %s", host, got, want)
		}
	}
}

// Whoever began to forward packets while the fan was up is found, and nobody else.
func TestForwarder(t *testing.T) {
	f := fanOf(t, "fan-250", ipipAlias)
	s := withFan(t, plain(), "fan-250", ipipAlias) // docker0 is older
	nat := func(chain, spec string) firewall.Tables {
		return firewall.Tables{Chains: map[string]map[string]firewall.Chain{"nat": {chain: {Rules: []string{spec}}}}}
	}
	younger := s
	last := s.Links[len(s.Links)-1].Index
	younger.Links = append(slices.Clone(s.Links), kernel.Link{Name: "lxdbr0", Kind: "bridge", Index: last + 1}, kernel.Link{Name: "br9", Kind: "bridge", Index: last + 2},
		kernel.Link{Name: "veth9", Kind: "veth", Index: last + 3})
	address := kernel.Address{Prefix: netip.MustParsePrefix("10.7.0.1/24"), Link: last + 3}
	plugged := younger
	plugged.Addresses = append(slices.Clone(s.Addresses), address)
	address.Link = last + 1
	younger.Addresses = append(slices.Clone(s.Addresses), address)
	for name, test := range map[string]struct {
		s      kernel.State
		tables firewall.Tables
		want   string
		was    bridge.Facts
	}{
		"what was there before":           {s, firewall.Tables{}, "", bridge.Facts{}},
		"a younger bridge":                {younger, firewall.Tables{}, "lxdbr0", bridge.Facts{}},
		"one without an address":          {plugged, firewall.Tables{}, "", bridge.Facts{}},
		"the fan has gone":                {plain(), firewall.Tables{}, "", bridge.Facts{}},
		"the fan's own NAT":               {s, nat("FAN-POSTROUTING", "-s 250.0.45.0/24 ! -o fan-250 -j MASQUERADE"), "", bridge.Facts{}},
		"Docker's NAT":                    {s, nat("POSTROUTING", "-s 172.17.0.0/16 ! -o docker0 -j MASQUERADE"), "the rule -A POSTROUTING -s 172.17.0.0/16 ! -o docker0 -j MASQUERADE", bridge.Facts{}},
		"somebody's NAT to one address":   {s, nat("MINE", "-s 10.9.0.0/16 -j SNAT --to-source 10.0.0.45"), "the rule -A MINE -s 10.9.0.0/16 -j SNAT --to-source 10.0.0.45", bridge.Facts{}},
		"rules that translate no source":  {s, nat("PREROUTING", "-p tcp -j DNAT --to-destination 10.9.0.2"), "", bridge.Facts{}},
		"a table of packets that pass by": {s, firewall.Tables{Chains: map[string]map[string]firewall.Chain{"filter": {"FORWARD": {Rules: []string{"-j MASQUERADE"}}}}}, "", bridge.Facts{}},
		"NAT that was there before":       {s, nat("POSTROUTING", "-s 10.9.0.0/16 -j MASQUERADE"), "", bridge.Facts{Translating: true}},
		"another fan":                     {withFan(t, s, "mine", vxlanAlias), firewall.Tables{}, "", bridge.Facts{}},
		"another fan and a bridge":        {withFan(t, younger, "mine", vxlanAlias), firewall.Tables{}, "lxdbr0", bridge.Facts{}},
		"NAT before, a bridge since":      {younger, nat("POSTROUTING", "-s 10.9.0.0/16 -j MASQUERADE"), "lxdbr0", bridge.Facts{Translating: true}},
	} {
		if got := forwarder(f, test.was, test.s, test.tables); got != test.want {
			t.Errorf("%s: %q, want %q", name, got, test.want)
		}
	}
}

// Who forwards packets needs it whichever fan goes first, and no fan remembers more
// of how it was before; the rest it does remember.
func TestForwardingStays(t *testing.T) {
	off := bridge.Facts{ForwardingOff: true, ForwardingOn: []string{"eth1"}, RedirectsOff: true, Translating: true, Tables: []string{"nat"}, Clsact: []string{"eth0"}}
	others := []bridge.Other{{Facts: bridge.Facts{Tables: []string{"raw"}}}, {Facts: off}}
	facts, kept := forwarding(off, others)
	for i, got := range []bridge.Facts{facts, kept[0].Facts, kept[1].Facts} {
		want := []bridge.Facts{{Tables: off.Tables, Clsact: off.Clsact}, {Tables: []string{"raw"}}, {Tables: off.Tables, Clsact: off.Clsact}}[i]
		if !reflect.DeepEqual(got, want) {
			t.Errorf("facts %d are %+v, want %+v", i, got, want)
		}
	}
	if !others[1].Facts.ForwardingOff {
		t.Error("the facts that were given are changed")
	}
}
