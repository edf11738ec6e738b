package fan

import (
	"errors"
	"maps"
	"math/rand/v2"
	"net/netip"
	"strconv"
	"strings"
	"testing"
)

func parseBridge(s string) (string, error) { return ParseBridgeName(s) }

func parsePort(s string) (string, error) {
	port, err := ParsePort(s)
	return strconv.Itoa(int(port)), err
}

func parseMTU(s string) (string, error) {
	mtu, err := ParseMTU(s)
	return strconv.Itoa(int(mtu)), err
}

// sample is a fan that can be; change makes another of it.
func sample(t testing.TB, change func(*Fan)) Fan {
	t.Helper()
	f := Fan{Mapping: mapping(t, "10.0.0.0/16", "250.0.0.0/8"), Host: netip.MustParseAddr("10.0.3.4"), Device: "eth0",
		Type: IPIP, Bridge: "fan-250", MTU: 1480, NAT: true}
	if change != nil {
		change(&f)
	}
	return f
}

func TestFan(t *testing.T) {
	ipip, vxlan := sample(t, nil), sample(t, func(f *Fan) { f.Type, f.Port, f.MTU = VXLAN, DefaultPort, 1450 })
	for _, test := range []struct{ what, got, want string }{
		{"slice", ipip.Slice().String(), "250.3.4.0/24"},
		{"bridge address", ipip.BridgeAddr().String(), "250.3.4.1"},
		{"ipip bridge", ipip.BridgePrefix().String(), "250.3.4.1/24"},
		{"vxlan bridge", vxlan.BridgePrefix().String(), "250.3.4.1/8"},
		{"tunnel of ipip", ipip.Tunnel(), "ftun-250"},
		{"tunnel of vxlan", vxlan.Tunnel(), "ftun-250"},
		{"inlet", ipip.Inlet(), "ftin-250"},
		{"room", ipip.Room(), "ftrm-250"},
	} {
		if test.got != test.want {
			t.Errorf("%s is %s, want %s", test.what, test.got, test.want)
		}
	}
	if got, want := ipip.BridgeMAC(), [6]byte{0x02, 0xfa, 10, 0, 3, 4}; got != want {
		t.Errorf("the bridge's hardware address is %x, want %x", got, want)
	}
	if got, want := ipip.TunnelMAC(), [6]byte{0x06, 0xfa, 10, 0, 3, 4}; got != want {
		t.Errorf("the tunnel's hardware address is %x, want %x", got, want)
	}
}

func TestValidate(t *testing.T) {
	for name, test := range map[string]struct {
		change func(*Fan)
		words  string // of the error; none if the fan is valid
	}{
		"as it is":           {nil, ""},
		"vxlan":              {func(f *Fan) { f.Type, f.Port = VXLAN, 4789 }, ""},
		"no networks":        {func(f *Fan) { f.Mapping = Mapping{} }, "networks"},
		"foreign host":       {func(f *Fan) { f.Host = netip.MustParseAddr("10.1.0.1") }, "10.1.0.1 10.0.0.0/16"},
		"no device":          {func(f *Fan) { f.Device = "" }, "device"},
		"device with spaces": {func(f *Fan) { f.Device = "a b" }, `"a b"`},
		"no bridge":          {func(f *Fan) { f.Bridge = "" }, "empty"},
		"long bridge":        {func(f *Fan) { f.Bridge = "1234567890123456" }, "1234567890123456 16 15"},
		"least MTU":          {func(f *Fan) { f.MTU = 576 }, ""},
		"most MTU":           {func(f *Fan) { f.MTU = 65535 }, ""},
		"small MTU":          {func(f *Fan) { f.MTU = 575 }, "575 576"},
		"large MTU":          {func(f *Fan) { f.MTU = 65536 }, "65536 65535"},
		"port of ipip":       {func(f *Fan) { f.Port = 8472 }, "8472 vxlan"},
		"no port of vxlan":   {func(f *Fan) { f.Type = VXLAN }, "8472"},
		"eBPF for vxlan":     {func(f *Fan) { f.Type, f.Port, f.Datapath = VXLAN, 1, EBPF }, "ebpf vxlan"},
		"no type":            {func(f *Fan) { f.Type = 0 }, "ipip vxlan"},
	} {
		err := sample(t, test.change).Validate()
		if test.words == "" {
			if err != nil {
				t.Errorf("%s: %v", name, err)
			}
			continue
		}
		checkUsage(t, name, err, test.words)
	}
}

func TestAliasText(t *testing.T) {
	for want, change := range map[string]func(*Fan){
		"fan1 underlay=10.0.3.4/16 overlay=250.0.0.0/8 dev=eth0 type=ipip mtu=1480": nil,
		"fan1 underlay=10.0.3.4/16 overlay=250.0.0.0/8 dev=eth0 type=vxlan mtu=1300 port=8472 fixed-mtu=1 nat=0": func(f *Fan) {
			f.Type, f.Port, f.MTU, f.FixedMTU, f.NAT = VXLAN, DefaultPort, 1300, true, false
		},
		"fan1 underlay=10.0.3.4/16 overlay=250.0.0.0/8 dev=eth0 type=ipip mtu=1480 auto=1 dhcp=1 reserve=9": func(f *Fan) {
			f.Auto, f.DHCP, f.Reserve = true, true, 9
		},
		"fan1 underlay=10.0.3.4/16 overlay=250.0.0.0/8 dev=eth0 type=ipip mtu=1480 datapath=ebpf": func(f *Fan) { f.Datapath = EBPF },
		"fan1 underlay=10.0.3.4/16 overlay=250.0.0.0/8 dev=eth0 type=ipip mtu=1480 fast=on":       func(f *Fan) { f.Fast = FastIfSafe },
		"fan1 underlay=10.0.3.4/16 overlay=250.0.0.0/8 dev=eth0 type=ipip mtu=1480 fast=force":    func(f *Fan) { f.Fast = FastAnyway },
	} {
		if got := sample(t, change).Alias(); got != want {
			t.Errorf("alias is\n%s, want\n%s", got, want)
		}
	}
}

// Any fan is read back as it was written, whatever words others have added.
func TestAliasRoundTrip(t *testing.T) {
	eachFan(t, func(f Fan) {
		extra := map[string]string{"fwd": "0", "tables": "raw/nat"}
		got, words, err := ParseAlias(f.Bridge, WithExtra(f.Alias(), extra))
		if err != nil || got != f || !maps.Equal(words, extra) {
			t.Fatalf("%s\nis read as %+v, %v, %v\nwant %+v", f.Alias(), got, words, err, f)
		}
	})
}

// eachFan tries a great many fans that can be, on device eth0.7.
func eachFan(t *testing.T, try func(f Fan)) {
	t.Helper()
	random := rand.New(rand.NewPCG(3, 4))
	flip := func() bool { return random.IntN(2) == 0 }
	tried := 0
	for range 20000 {
		underlay := netip.PrefixFrom(address(random.Uint32()), 1+random.IntN(30)).Masked()
		overlay := netip.PrefixFrom(address(random.Uint32()), 1+random.IntN(30)).Masked()
		m, err := NewMapping(underlay, overlay)
		if err != nil {
			continue
		}
		f := Fan{Mapping: m, Host: address(number(underlay.Addr()) | random.Uint32()&^mask(underlay.Bits())), Device: "eth0.7",
			Type: IPIP, Bridge: BridgeName(overlay), MTU: MinMTU + MTU(random.IntN(9000)), FixedMTU: flip(), NAT: flip(), DHCP: flip(), Auto: flip(),
			Datapath: Datapath(random.IntN(3)), Fast: Fast(random.IntN(3))}
		if flip() {
			f.Type, f.Port, f.Datapath = VXLAN, uint16(1+random.IntN(65535)), Datapath(random.IntN(2))
		}
		if flip() {
			f.Reserve = uint8(2 + random.IntN(MaxReserve-1))
		}
		if f.Validate() != nil {
			continue
		}
		tried++
		try(f)
	}
	if tried < 1000 {
		t.Errorf("only %d fans tried", tried)
	}
}

func TestNotAlias(t *testing.T) {
	const good = "fan1 underlay=10.0.3.4/16 overlay=250.0.0.0/8 dev=eth0 type=ipip mtu=1480"
	if _, _, err := ParseAlias("fan-250", good); err != nil {
		t.Fatal(err)
	}
	bad := []string{"", " ", "my bridge", "fan2" + good[4:], "fan1", good + " word", good + " port=x", good + " port=1", good + " datapath=x", good + " fast=1", good + " fast="}
	vxlan := strings.Replace(good, "ipip", "vxlan", 1)
	bad = append(bad, vxlan, vxlan+" port=0", vxlan+" port=74008", vxlan+" port=8472 datapath=ebpf", strings.Replace(good, "10.0.3.4", "::1", 1))
	for word := range strings.FieldsSeq(good[5:]) {
		key, value, _ := strings.Cut(word, "=")
		bad = append(bad, strings.Replace(good, " "+word, "", 1), strings.Replace(good, word, key+"="+value+"x/", 1))
	}
	for _, s := range bad {
		if f, _, err := ParseAlias("fan-250", s); !errors.Is(err, ErrNotAlias) {
			t.Errorf("%q is taken for %+v, %v", s, f, err)
		}
	}
}
