package fan

import (
	"errors"
	"net/netip"
	"strings"
	"testing"
)

// place is where a spec means to be among a host's addresses.
func place(s Spec, locals []Local, mtu MTU) (Place, error) {
	underlay, host, device, err := s.Underlay.Resolve(locals, "")
	return Place{Underlay: underlay, Host: host, Device: device, MTU: mtu}, err
}

// The spec of any fan means that fan, also as words, on a host that is as it was;
// whatever else the host has inside the underlay.
func TestSpecOfFan(t *testing.T) {
	eachFan(t, func(f Fan) {
		bits := f.Mapping.Underlay().Bits()
		neighbour := f.Host.Next()
		locals := []Local{{"lo", netip.MustParsePrefix("127.0.0.1/8"), true}, {"eth1", netip.PrefixFrom(neighbour, bits), false},
			{"eth0.7", netip.PrefixFrom(f.Host, bits), false}}
		underlay := f.Type.Overhead() + f.MTU
		spec, err := f.SpecAmong(locals, false)
		if err != nil || spec != f.Spec() {
			t.Fatalf("%s: among its own addresses the spec is %+v, %v, alone %+v", f.Alias(), spec, err, f.Spec())
		}
		at, err := place(spec, locals, underlay)
		if err != nil {
			t.Fatalf("%s: %v", f.Alias(), err)
		}
		if again, err := spec.At(at); err != nil || again != f {
			t.Fatalf("%s\nis again %s, %v", f.Alias(), again.Alias(), err)
		}
		spec.Auto = false // which no word says
		if read, err := ParseSpec(spec.Words()); err != nil || read != spec {
			t.Fatalf("%q is read as %+v, %v; want %+v", spec.Words(), read, err, spec)
		}
		// Over a longer packet, only an MTU that was given stays.
		longer, err := f.Spec().At(Place{Underlay: at.Underlay, Host: at.Host, Device: at.Device, MTU: underlay + 1})
		if err == nil && (longer.MTU == f.MTU) != f.FixedMTU {
			t.Fatalf("%s: over a longer MTU it is %s", f.Alias(), longer.Alias())
		}
	})
}

// Without its address, a fan goes to the only one that its device has in the underlay,
// to another device only if its own has gone, and else nowhere.
func TestSpecAmong(t *testing.T) {
	f := sample(t, nil) // 10.0.3.4/16 on eth0
	local := func(device, prefix string) Local { return Local{device, netip.MustParsePrefix(prefix), device == "lo"} }
	for name, test := range map[string]struct {
		locals    []Local
		hasDevice bool
		want      string // address and device, or words of the error
		fails     bool
	}{
		"renamed":             {[]Local{local("wan0", "10.0.3.4/16")}, false, "10.0.3.4 wan0", false},
		"moved by hand":       {[]Local{local("eth0", "10.0.7.9/16"), local("wan0", "10.0.3.4/16")}, true, "10.0.3.4 wan0", false},
		"renamed and renewed": {[]Local{local("wan0", "10.0.7.9/16")}, false, "10.0.7.9 wan0", false},
		"other mask":          {[]Local{local("eth0", "10.0.3.4/24")}, true, "10.0.3.4 eth0", false},
		"renewed":             {[]Local{local("eth0", "10.0.7.9/16"), local("eth1", "192.0.2.1/24")}, true, "10.0.7.9 eth0", false},
		"still has it":        {[]Local{local("eth0", "10.0.7.9/16"), local("eth0", "10.0.3.4/16")}, true, "10.0.3.4 eth0", false},
		"a VIP as well":       {[]Local{local("eth0", "10.0.7.9/16"), local("eth0", "10.0.8.8/32")}, true, "10.0.7.9 eth0", false},
		"another device too":  {[]Local{local("wlan0", "10.0.7.10/16"), local("eth0", "10.0.7.9/16")}, true, "10.0.7.9 eth0", false},
		"away for a moment":   {[]Local{local("wlan0", "10.0.7.10/16")}, true, "eth0 no 10.0.0.0/16 10.0.3.4 10.0.7.10/16 wlan0", true},
		"two to choose":       {[]Local{local("eth0", "10.0.7.9/16"), local("eth0", "10.0.7.10/16")}, true, "eth0 10.0.0.0/16 10.0.3.4 several 10.0.7.9/16 10.0.7.10/16", true},
		"two to choose, gone": {[]Local{local("wan0", "10.0.7.9/16"), local("eth1", "10.0.7.10/16")}, false, "10.0.0.0/16 several 10.0.7.9/16 10.0.7.10/16", true},
		"none":                {[]Local{local("eth0", "192.0.2.1/24")}, true, "eth0 10.0.0.0/16 192.0.2.1/24", true},
		"none, gone":          {[]Local{local("wan0", "192.0.2.1/24")}, false, "10.0.0.0/16 192.0.2.1/24", true},
		"only on lo":          {[]Local{local("lo", "10.0.3.4/32")}, true, "10.0.3.4 lo", false},
	} {
		var at Place
		spec, err := f.SpecAmong(test.locals, test.hasDevice)
		if err == nil {
			at, err = place(spec, test.locals, 1500)
		}
		got := at.Host.String() + " " + at.Device
		if err != nil {
			got = err.Error()
		}
		if (err != nil) != test.fails || err != nil && !errors.Is(err, ErrUsage) {
			t.Errorf("%s: %s, want %s", name, got, test.want)
		}
		for word := range strings.FieldsSeq(test.want) {
			if !strings.Contains(got, word) {
				t.Errorf("%s: %q does not name %s", name, got, word)
			}
		}
	}
}
