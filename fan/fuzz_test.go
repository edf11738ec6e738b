package fan

import (
	"errors"
	"net/netip"
	"strings"
	"testing"
)

// checkParsed holds for every parser: what it takes prints as something that it
// takes for the same, and what it refuses is answered with one line that shows it.
func checkParsed(t *testing.T, s string, parse func(string) (string, error)) {
	t.Helper()
	text, err := parse(s)
	if err != nil {
		checkUsage(t, s, err, "")
		checkNames(t, s, err)
		return
	}
	if again, err := parse(text); err != nil || again != text {
		t.Errorf("%q is %q, which is %q, %v", s, text, again, err)
	}
}

func FuzzParseUnderlay(f *testing.F) {
	for _, s := range []string{"10.0.0.0/16", "10.0.0.45", "eth0/24", "default", "a/b/c", "::1/8", "10.0.0.256/16"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		checkParsed(t, s, parsed(ParseUnderlay))
		spec, err := ParseUnderlay(s)
		if err != nil {
			return
		}
		set := 0
		for _, is := range []bool{spec.Device != "", spec.Default, spec.Addr.IsValid()} {
			if is {
				set++
			}
		}
		if set != 1 || spec.Bits < 1 || spec.Bits > 30 {
			t.Errorf("%q is %+v", s, spec)
		}
		underlay, host, _, err := spec.Resolve([]Local{{"eth0", netip.MustParsePrefix("10.0.0.45/24"), false}}, "eth0")
		if err == nil && !underlay.Contains(host) {
			t.Errorf("%q: %s is not in %s", s, host, underlay)
		}
	})
}

func FuzzParseOverlay(f *testing.F) {
	for _, s := range []string{"250", "250.0.0.0/8", "0", "10.254.0.0/16", "250.0.0.1/8", "::/0", "::0/0"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		checkParsed(t, s, parsed(ParseOverlay))
		if p, err := ParseOverlay(s); err == nil && (!p.Addr().Is4() || p != p.Masked() || len(BridgeName(p)) > maxName || len(TunnelName(p)) > maxName) {
			t.Errorf("%q is %s with bridge %s and tunnel %s", s, p, BridgeName(p), TunnelName(p))
		}
	})
}

func FuzzParseAlias(f *testing.F) {
	f.Add("fan-250", "fan1 underlay=10.0.3.4/16 overlay=250.0.0.0/8 dev=eth0 type=ipip mtu=1480 datapath=ebpf fast=force")
	f.Add("x", "fan1 underlay=10.0.3.4/16 overlay=250.0.0.0/8 dev=eth0 type=vxlan mtu=1450 port=8472 fixed-mtu=1 nat=0 fwd=0")
	f.Add("", "fan1 a=b=c =")
	f.Fuzz(func(t *testing.T, bridge, s string) {
		fan, extra, err := ParseAlias(bridge, s)
		if err != nil {
			if !errors.Is(err, ErrNotAlias) {
				t.Errorf("%q: %v", s, err)
			}
			return
		}
		if err := fan.Validate(); err != nil {
			t.Errorf("%q is a fan that can't be: %v", s, err)
		}
		again, words, err := ParseAlias(bridge, WithExtra(fan.Alias(), extra))
		if err != nil || again != fan || len(words) != len(extra) {
			t.Errorf("%q\nis %+v, which is read as\n%+v, %v", s, fan, again, err)
		}
	})
}

// FuzzWords tries the parsers of single words on one input.
func FuzzWords(f *testing.F) {
	for _, s := range []string{"ipip", "vxlan", "auto", "device", "ebpf", "on", "force", "fan-250", "8472", "1480", "..", "a%d", "\x00", "-1"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		for _, parse := range []func(string) (string, error){parsed(ParseType), parsed(ParseDatapath), parsed(ParseFast), parseBridge, parsePort, parseMTU} {
			checkParsed(t, s, parse)
		}
		if name, err := ParseBridgeName(s); err == nil && (len(name) > maxName || strings.ContainsAny(name, "/: \n\t%")) {
			t.Errorf("%q is no device's name", name)
		}
	})
}

// FuzzMapping tries any networks and any address.
func FuzzMapping(f *testing.F) {
	f.Add(uint32(0x0a000000), 16, uint32(0xfa000000), 8, uint32(0x0a000304))
	f.Add(uint32(0x0a100000), 12, uint32(0xf0000000), 8, uint32(0x0a110203))
	f.Fuzz(func(t *testing.T, underlay uint32, u int, overlay uint32, o int, a uint32) {
		m, err := NewMapping(netip.PrefixFrom(address(underlay), u), netip.PrefixFrom(address(overlay), o))
		if err != nil {
			checkUsage(t, "mapping", err, "")
			return
		}
		slice, ok := m.Slice(address(a))
		if ok != m.Underlay().Contains(address(a)) {
			t.Errorf("%s in %s: %t", address(a), m.Underlay(), ok)
		}
		if !ok {
			return
		}
		if owner, ok := m.Host(last(slice)); !ok || owner != address(a) || slice.Bits() > maxSliceBits || slice != slice.Masked() {
			t.Errorf("slice %s of %s belongs to %s", slice, address(a), owner)
		}
	})
}

func FuzzParseSpec(f *testing.F) {
	for _, s := range []string{"250 eth0", "10.0.0.45/16 250.0.0.0/8 bridge mine", "-u eth0 -o 250 --type=vxlan --port 4790", "--mtu 1300 default 250 no-nat", "250 --fast eth0", "fast eth0 250", "eth0 250 --fast=force", "0.1.0.0/1 1"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		words := strings.Fields(s)
		spec, err := ParseSpec(words)
		if err != nil {
			checkUsage(t, s, err, "")
			return
		}
		if !spec.Overlay.IsValid() || spec.Underlay.String() == "" {
			t.Errorf("%q is %+v", s, spec)
		}
		if again, err := ParseSpec(spec.Words()); err != nil || again != spec {
			t.Errorf("%q is %+v, which prints as %q and is then %+v, %v", s, spec, spec.Words(), again, err)
		}
	})
}
