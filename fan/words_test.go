package fan

import (
	"net/netip"
	"strconv"
	"strings"
	"testing"
)

func TestNames(t *testing.T) {
	for _, test := range []struct{ overlay, bridge, tunnel, inlet string }{
		{"250.0.0.0/8", "fan-250", "ftun-250", "ftin-250"},
		{"10.254.0.0/16", "fan-10-254", "ftun-10-254", "ftin-10-254"},
		{"241.0.7.0/24", "fan-241-0-7", "ftun-241-0-7", "ftin-241-0-7"},
		{"250.100.100.0/24", "fan-250-100-100", "ftun-fa646400", "ftin-fa646400"}, // 15 characters, and 16
		{"250.100.100.128/25", "fan-fa646480", "ftun-fa646480", "ftin-fa646480"},
		{"128.0.0.0/1", "fan-128", "ftun-128", "ftin-128"},
	} {
		overlay := netip.MustParsePrefix(test.overlay)
		if b, tun, in := BridgeName(overlay), TunnelName(overlay), inletName(overlay); b != test.bridge || tun != test.tunnel || in != test.inlet {
			t.Errorf("names of %s are %s, %s and %s, want %s, %s and %s", overlay, b, tun, in, test.bridge, test.tunnel, test.inlet)
		}
		if _, err := ParseBridgeName(BridgeName(overlay)); err != nil {
			t.Error(err)
		}
		if !IsInlet(test.inlet) || IsInlet(test.tunnel) || !strings.HasPrefix(test.tunnel, TunnelPrefix) {
			t.Errorf("%s is taken for an inlet, or %s is not", test.tunnel, test.inlet)
		}
	}
	if !strings.HasPrefix(SharedTunnel, TunnelPrefix) {
		t.Errorf("%s is no tunnel's name", SharedTunnel)
	}
}

// words are inputs of a parser: those that it takes and what they print as, and
// those that it refuses.
type words struct {
	name    string
	parse   func(string) (string, error)
	taken   map[string]string
	refused []string
}

func TestWords(t *testing.T) {
	for _, test := range []words{
		{"type", parsed(ParseType), same("ipip", "vxlan"), []string{"", "IPIP", "gre", "ipip ", "vxlan4"}},
		{"datapath", parsed(ParseDatapath), same("auto", "device", "ebpf"), []string{"", "bpf", "Device"}},
		{"fast", parsed(ParseFast), same("on", "force"), []string{"", "On", "off", "true", "false", "1", "force "}},
		{"bridge name", parseBridge, same("fan-250", "b", "fan.1", "123456789012345"),
			[]string{"", ".", "..", "a b", "a/b", "a:b", "a%d", "a\nb", "a\x00", "1234567890123456", "a\x7f", "fünf"}},
		{"port", parsePort, map[string]string{"1": "1", "8472": "8472", "65535": "65535"},
			[]string{"", "0", "-1", "65536", "vxlan", "8472 ", "0x1", "1e3", "99999999999999999999"}},
		{"MTU", parseMTU, map[string]string{"576": "576", "1480": "1480", "65535": "65535"},
			[]string{"", "0", "575", "65536", "-1480", "1480b", "99999999999999999999"}},
		{"overlay", parsed(ParseOverlay), map[string]string{"250": "250.0.0.0/8", "250.0.0.0/8": "250.0.0.0/8", "1": "1.0.0.0/8",
			"10.254.0.0/16": "10.254.0.0/16"},
			[]string{"", "0", "127", "224", "256", "0250", "-1", "250.0.0.0", "250.0.0.0/", "250.0.0.0/33", "250.0.0.0/08", "250.1.0.0/8",
				"250.0.0.0/8/8", " 250.0.0.0/8", "250.0.0.0/8\n", "250.0.0/8", "eth0/8", "::/8", "::ffff:250.0.0.0/104", "250.0.0.0/0"}},
	} {
		for in, want := range test.taken {
			if got, err := test.parse(in); err != nil || got != want {
				t.Errorf("%s %q is %q, %v; want %q", test.name, in, got, err, want)
			}
		}
		for _, in := range test.refused {
			_, err := test.parse(in)
			checkUsage(t, test.name+" "+in, err, test.name[:3])
			checkNames(t, in, err)
		}
	}
}

// checkNames fails the test unless the error shows the input, quoted or as it is.
func checkNames(t testing.TB, in string, err error) {
	t.Helper()
	quoted := strconv.Quote(in)
	if err == nil || !strings.Contains(err.Error(), quoted[1:len(quoted)-1]) && in != "" {
		t.Errorf("error %q does not show %s", err, quoted)
	}
}

func parsed[T interface{ String() string }](parse func(string) (T, error)) func(string) (string, error) {
	return func(s string) (string, error) {
		v, err := parse(s)
		return v.String(), err
	}
}

func same(list ...string) map[string]string {
	m := map[string]string{}
	for _, s := range list {
		m[s] = s
	}
	return m
}

func TestOverheads(t *testing.T) {
	for _, test := range []struct {
		kind     Type
		overhead MTU
		at1500   MTU
	}{{IPIP, 20, 1480}, {VXLAN, 50, 1450}} { // the design's wire formats
		if test.kind.Overhead() != test.overhead || test.kind.MTU(1500) != test.at1500 {
			t.Errorf("%s adds %d and leaves %d of 1500, want %d and %d",
				test.kind, test.kind.Overhead(), test.kind.MTU(1500), test.overhead, test.at1500)
		}
	}
	if got := VNI(netip.MustParsePrefix("250.0.0.0/8")); got != 0xfa0000 {
		t.Errorf("VNI of 250.0.0.0/8 is %#x", got)
	}
	if got := VNI(netip.MustParsePrefix("10.254.7.0/24")); got != 0x0afe07 {
		t.Errorf("VNI of 10.254.7.0/24 is %#x", got)
	}
}

func TestParseUnderlay(t *testing.T) {
	for in, want := range map[string]string{
		"10.0.0.0/16": "10.0.0.0/16", "10.0.0.45/16": "10.0.0.45/16", "10.0.0.45": "10.0.0.45/16", "192.168.1.7/24": "192.168.1.7/24",
		"eth0": "eth0/16", "eth0/24": "eth0/24", "br-lan.5/12": "br-lan.5/12", "default": "default/16", "default/8": "default/8",
		"10.0.0.0/1": "10.0.0.0/1", "10.0.0.0/30": "10.0.0.0/30",
	} {
		spec, err := ParseUnderlay(in)
		if err != nil || spec.String() != want {
			t.Errorf("underlay %q is %s, %v; want %s", in, spec, err, want)
			continue
		}
		if again, err := ParseUnderlay(spec.String()); err != nil || again != spec {
			t.Errorf("underlay %s is read as %s, %v", spec, again, err)
		}
	}
	for _, in := range []string{"", "/16", "1.2.3", "10.0.0/16", "eth0/", "eth0/0", "eth0/31", "eth0/33", "eth0/016", "eth0/+6", "eth0/16/16", "10.0.0.300/16",
		"10.0.0.01/16", "a b/16", "fd00::1/16", "fd00::1", "eth0\n/16", "1234567890123456/16", "::ffff:10.0.0.1/16"} {
		_, err := ParseUnderlay(in)
		checkUsage(t, "underlay "+in, err, "underlay 10.0.0.0/16 eth0/16")
		checkNames(t, in, err)
	}
}

func TestResolve(t *testing.T) {
	host := []Local{
		{"lo", netip.MustParsePrefix("127.0.0.1/8"), true}, {"lo", netip.MustParsePrefix("10.0.9.9/32"), true},
		{"lo", netip.MustParsePrefix("198.51.9.9/24"), true}, {"eth0", netip.MustParsePrefix("10.0.0.45/24"), false}, {"eth0", netip.MustParsePrefix("10.0.0.46/24"), false},
		{"wg0", netip.MustParsePrefix("10.1.0.7/32"), false}, {"eth1", netip.MustParsePrefix("192.168.1.9/24"), false},
	}
	twice := []Local{{"lo", netip.MustParsePrefix("127.0.0.1/8"), true}, {"lo", netip.MustParsePrefix("10.0.9.9/32"), true}, {"eth2", netip.MustParsePrefix("10.0.9.9/24"), false}}
	for _, test := range []struct{ spec, underlay, host, device, words string }{
		{spec: "eth0/16", underlay: "10.0.0.0/16", host: "10.0.0.45", device: "eth0"},
		{spec: "default/16", underlay: "192.168.0.0/16", host: "192.168.1.9", device: "eth1"},
		{spec: "10.0.0.46/16", underlay: "10.0.0.0/16", host: "10.0.0.46", device: "eth0"},
		{spec: "192.168.0.0/16", underlay: "192.168.0.0/16", host: "192.168.1.9", device: "eth1"},
		{spec: "192.168.1.0/24", underlay: "192.168.1.0/24", host: "192.168.1.9", device: "eth1"},
		{spec: "wg0/16", underlay: "10.1.0.0/16", host: "10.1.0.7", device: "wg0"},
		{spec: "10.0.0.0/16", words: "10.0.0.0/16 several 10.0.0.45/24 10.0.0.46/24 10.0.0.45/16"},
		{spec: "10.1.0.0/16", words: "10.1.0.0/16 no 10.1.0.7/32 wg0 10.1.0.7/16"}, // a /32 is virtual
		{spec: "100.64.0.0/10", words: "100.64.0.0/10 no 192.168.1.9/24 eth1"},
		{spec: "10.0.0.47/16", words: "10.0.0.47 10.0.0.45/24 10.0.0.0/16"},
		{spec: "10.0.9.9/16", underlay: "10.0.0.0/16", host: "10.0.9.9", device: "lo"},
		{spec: "lo/16", underlay: "10.0.0.0/16", host: "10.0.9.9", device: "lo"},
		{spec: "10.0.9.0/24", words: "10.0.9.0/24 no 10.0.9.9/32 lo 10.0.9.9/24"},
		{spec: "198.51.0.0/16", words: "198.51.0.0/16 no 198.51.9.9/24 lo /32 198.51.9.9/16"},
		{spec: "127.0.0.1/16", words: "127.0.0.1 10.0.9.9/32 10.0.0.45/24"},
		{spec: "eth7/16", words: "eth7/16 eth7"},
	} {
		spec, err := ParseUnderlay(test.spec)
		if err != nil {
			t.Fatal(err)
		}
		underlay, a, device, err := spec.Resolve(host, "eth1")
		if test.words != "" {
			checkUsage(t, test.spec, err, test.words)
			continue
		}
		if err != nil || underlay.String() != test.underlay || a.String() != test.host || device != test.device {
			t.Errorf("%s is %s, %s on %s, %v; want %s, %s on %s", test.spec, underlay, a, device, err, test.underlay, test.host, test.device)
		}
	}
	// An address that is on a card, too, is the card's in whatever words.
	for _, word := range []string{"10.0.0.0/16", "10.0.9.9/16", "lo/16", "eth2/16"} {
		spec, err := ParseUnderlay(word)
		if err != nil {
			t.Fatal(err)
		}
		if underlay, a, device, err := spec.Resolve(twice, ""); err != nil || underlay.String() != "10.0.0.0/16" || a.String() != "10.0.9.9" || device != "eth2" {
			t.Errorf("%s is %s, %s on %s, %v; want 10.0.9.9 on eth2", word, underlay, a, device, err)
		}
	}
	_, _, _, err := UnderlaySpec{Default: true, Bits: 16}.Resolve(host, "")
	checkUsage(t, "default/16", err, "default/16 no default route")
	_, _, _, err = UnderlaySpec{Device: "eth0", Bits: 16}.Resolve(nil, "")
	checkUsage(t, "eth0/16", err, "eth0/16 none")
}
