package fan

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strings"
	"testing"
)

func mapping(t testing.TB, underlay, overlay string) Mapping {
	t.Helper()
	m, err := NewMapping(netip.MustParsePrefix(underlay), netip.MustParsePrefix(overlay))
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// The first six are the table of the design.
func TestSlice(t *testing.T) {
	for _, test := range []struct{ underlay, overlay, host, slice, bridge string }{
		{"10.0.0.0/16", "250.0.0.0/8", "10.0.0.45", "250.0.45.0/24", "250.0.45.1"},
		{"10.0.0.0/16", "250.0.0.0/8", "10.0.0.8", "250.0.8.0/24", "250.0.8.1"},
		{"172.16.0.0/16", "250.0.0.0/8", "172.16.3.4", "250.3.4.0/24", "250.3.4.1"},
		{"192.168.1.0/24", "250.0.0.0/8", "192.168.1.77", "250.77.0.0/16", "250.77.0.1"},
		{"192.168.1.0/24", "240.9.0.0/16", "192.168.1.77", "240.9.77.0/24", "240.9.77.1"},
		{"10.16.0.0/12", "240.0.0.0/8", "10.17.2.3", "240.16.32.48/28", "240.16.32.49"},
		{"10.0.0.0/16", "240.0.0.0/14", "10.0.255.254", "240.3.255.248/30", "240.3.255.249"}, // the smallest slice
		{"192.168.1.4/30", "128.0.0.0/2", "192.168.1.6", "160.0.0.0/4", "160.0.0.1"},         // the largest
	} {
		m, host := mapping(t, test.underlay, test.overlay), netip.MustParseAddr(test.host)
		slice, ok := m.Slice(host)
		if !ok || slice.String() != test.slice {
			t.Errorf("slice of %s in %s over %s is %s, want %s", host, test.overlay, test.underlay, slice, test.slice)
		}
		if bridge, ok := m.BridgeAddr(host); !ok || bridge.String() != test.bridge {
			t.Errorf("bridge address of %s in %s over %s is %s, want %s", host, test.overlay, test.underlay, bridge, test.bridge)
		}
		for _, a := range []netip.Addr{slice.Addr(), slice.Addr().Next(), last(slice)} {
			if owner, ok := m.Host(a); !ok || owner != host {
				t.Errorf("owner of %s in %s over %s is %s, want %s", a, test.overlay, test.underlay, owner, host)
			}
		}
	}
}

func last(p netip.Prefix) netip.Addr { return address(number(p.Addr()) | ^mask(p.Bits())) }

func TestOutside(t *testing.T) {
	m := mapping(t, "10.0.0.0/16", "250.0.0.0/8")
	for _, a := range []string{"10.1.0.0", "9.255.255.255", "250.0.0.1", "::ffff:10.0.0.1", "fe80::1"} {
		if slice, ok := m.Slice(netip.MustParseAddr(a)); ok {
			t.Errorf("%s is not in the underlay, but has slice %s", a, slice)
		}
		if bridge, ok := m.BridgeAddr(netip.MustParseAddr(a)); ok {
			t.Errorf("%s is not in the underlay, but has bridge address %s", a, bridge)
		}
	}
	for _, a := range []string{"249.255.255.255", "251.0.0.0", "10.0.0.1", "::ffff:250.0.0.1"} {
		if host, ok := m.Host(netip.MustParseAddr(a)); ok {
			t.Errorf("%s is not in the overlay, but belongs to %s", a, host)
		}
	}
	if _, ok := m.Slice(netip.Addr{}); ok {
		t.Error("no address at all has a slice")
	}
}

func TestNewMappingRefuses(t *testing.T) {
	for _, test := range []struct{ underlay, overlay, words string }{
		{"10.0.0.45/16", "250.0.0.0/8", "10.0.0.45/16 10.0.0.0/16"},
		{"10.0.0.0/16", "250.0.0.1/8", "250.0.0.1/8 250.0.0.0/8"},
		{"10.0.0.0/8", "250.0.0.0/8", "10.0.0.0/8 250.0.0.0/8 longer"},
		{"10.0.0.0/8", "250.0.0.0/16", "10.0.0.0/8 250.0.0.0/16 longer"},
		{"10.0.0.0/16", "250.0.0.0/15", "/31 10.0.0.0/16 250.0.0.0/15 /14"},
		{"10.16.0.0/12", "240.0.0.0/11", "/31 10.16.0.0/12 240.0.0.0/11 /10"},
		{"10.0.0.0/31", "250.0.0.0/8", "10.0.0.0/31 /30"},
		{"10.0.0.1/32", "250.0.0.0/8", "10.0.0.1/32 /30"},
		{"10.0.0.0/16", "10.0.0.0/8", "10.0.0.0/16 10.0.0.0/8 overlaps"},
		{"10.0.0.0/16", "0.0.0.0/0", "0.0.0.0/0 everything"},
		{"10.0.0.0/16", "128.0.0.0/1", "128.0.0.0/1 224.0.0.0/4"},
		{"10.0.0.0/16", "0.0.0.0/8", "0.0.0.0/8 address 250.0.0.0/8"},
		{"10.0.0.0/16", "127.0.0.0/8", "127.0.0.0/8 loopback 250.0.0.0/8"},
		{"10.0.0.0/16", "126.0.0.0/7", "126.0.0.0/7 127.0.0.0/8 loopback"},
		{"10.0.0.0/16", "224.0.0.0/8", "224.0.0.0/8 multicast"},
		{"10.0.0.0/16", "192.0.0.0/2", "192.0.0.0/2 224.0.0.0/4"},
		{"127.0.0.0/16", "250.0.0.0/8", "127.0.0.0/16 loopback 10.0.0.0/16"},
		{"fd00::/16", "250.0.0.0/8", "fd00::/16 IPv4"},
		{"10.0.0.0/16", "fd00::/8", "fd00::/8 IPv4"},
	} {
		_, err := NewMapping(netip.MustParsePrefix(test.underlay), netip.MustParsePrefix(test.overlay))
		checkUsage(t, fmt.Sprintf("%s over %s", test.overlay, test.underlay), err, test.words)
	}
	_, err := NewMapping(netip.MustParsePrefix("10.0.0.0/16"), netip.MustParsePrefix("127.0.0.0/8"))
	if err == nil || strings.Contains(err.Error(), "overlaps") {
		t.Errorf("a network that overlaps itself: %v", err)
	}
	if _, err := NewMapping(netip.Prefix{}, netip.Prefix{}); !errors.Is(err, ErrUsage) {
		t.Errorf("no networks at all: %v", err)
	}
}

// checkUsage fails the test unless the error is of bad input, one line, and has
// all of the words.
func checkUsage(t testing.TB, what string, err error, words string) {
	t.Helper()
	if !errors.Is(err, ErrUsage) || strings.Contains(err.Error(), "\n") {
		t.Errorf("%s: error %v, want one line of bad input", what, err)
		return
	}
	for word := range strings.FieldsSeq(words) {
		if !strings.Contains(err.Error(), word) {
			t.Errorf("%s: error %q does not name %s", what, err, word)
		}
	}
}

func TestCheckHost(t *testing.T) {
	for _, test := range []struct{ underlay, host, words string }{
		{"10.0.0.0/16", "10.0.0.1", ""},
		{"10.0.0.0/16", "10.0.1.0", ""}, // the network address of a smaller network is an address like others
		{"10.0.0.0/16", "10.0.0.255", ""},
		{"10.0.0.0/16", "10.0.0.0", "10.0.0.0 network 10.0.0.0/16"},
		{"10.0.0.0/16", "10.0.255.255", "10.0.255.255 broadcast 10.0.0.0/16"},
		{"10.0.0.0/16", "10.1.0.1", "10.1.0.1 10.0.0.0/16"},
		{"10.0.0.4/30", "10.0.0.5", ""},
		{"10.0.0.4/30", "10.0.0.7", "10.0.0.7 broadcast"},
	} {
		err := mapping(t, test.underlay, "250.0.0.0/8").CheckHost(netip.MustParseAddr(test.host))
		if test.words == "" {
			if err != nil {
				t.Errorf("%s in %s: %v", test.host, test.underlay, err)
			}
			continue
		}
		checkUsage(t, test.host+" in "+test.underlay, err, test.words)
	}
}

// Every address of a /16 has a slice of its own, they fill the overlay in order
// and lead back.
func TestEveryHost(t *testing.T) {
	for _, overlay := range []string{"250.0.0.0/8", "240.0.0.0/14", "160.0.0.0/3"} {
		m := mapping(t, "10.7.0.0/16", overlay)
		next := m.Overlay().Addr()
		for n := range uint32(1 << 16) {
			host := address(number(m.Underlay().Addr()) | n)
			slice, ok := m.Slice(host)
			if !ok || slice.Addr() != next || slice.Bits() != m.SliceBits() || slice != slice.Masked() {
				t.Fatalf("slice of %s in %s is %s, want one at %s", host, overlay, slice, next)
			}
			for _, a := range []netip.Addr{slice.Addr(), last(slice)} {
				if owner, ok := m.Host(a); !ok || owner != host {
					t.Fatalf("owner of %s in %s is %s, want %s", a, overlay, owner, host)
				}
			}
			next = last(slice).Next()
		}
		if want := last(m.Overlay()).Next(); next != want {
			t.Errorf("the slices of %s end before %s, want %s", overlay, next, want)
		}
	}
}

// Networks of any masks, compared with a mapping that is written in words of
// zeros and ones.
func TestMappingAgainstBits(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	tried := 0
	for range 200000 {
		underlay := netip.PrefixFrom(address(random.Uint32()), 1+random.IntN(30)).Masked()
		overlay := netip.PrefixFrom(address(random.Uint32()), 1+random.IntN(30)).Masked()
		m, err := NewMapping(underlay, overlay)
		if err != nil {
			continue
		}
		tried++
		host := address(number(underlay.Addr()) | random.Uint32()&^mask(underlay.Bits()))
		slice, ok := m.Slice(host)
		if want := sliceInBits(underlay, overlay, host); !ok || slice != want {
			t.Fatalf("slice of %s in %s over %s is %s, want %s", host, overlay, underlay, slice, want)
		}
		if !overlay.Contains(slice.Addr()) || !overlay.Contains(last(slice)) {
			t.Fatalf("slice %s of %s is not inside %s", slice, host, overlay)
		}
		inside := address(number(slice.Addr()) | random.Uint32()&^mask(slice.Bits()))
		if owner, ok := m.Host(inside); !ok || owner != host {
			t.Fatalf("owner of %s in %s over %s is %s, want %s", inside, overlay, underlay, owner, host)
		}
	}
	if tried < 10000 {
		t.Errorf("only %d mappings tried", tried)
	}
}

func sliceInBits(underlay, overlay netip.Prefix, host netip.Addr) netip.Prefix {
	bits := func(a netip.Addr) string { return fmt.Sprintf("%032b", number(a)) }
	network := bits(overlay.Addr())[:overlay.Bits()] + bits(host)[underlay.Bits():]
	var n uint32
	if _, err := fmt.Sscanf(network+strings.Repeat("0", 32-len(network)), "%b", &n); err != nil {
		return netip.Prefix{}
	}
	return netip.PrefixFrom(address(n), len(network))
}

func TestMappingDoesNotAllocate(t *testing.T) {
	m, host := mapping(t, "10.0.0.0/16", "250.0.0.0/8"), netip.MustParseAddr("10.0.3.4")
	var slice netip.Prefix
	var owner, bridge netip.Addr
	n := testing.AllocsPerRun(100, func() {
		slice, _ = m.Slice(host)
		owner, _ = m.Host(slice.Addr())
		bridge, _ = m.BridgeAddr(owner)
	})
	if n != 0 || bridge != netip.MustParseAddr("250.3.4.1") {
		t.Errorf("%v allocations, bridge address %s", n, bridge)
	}
}

func BenchmarkSlice(b *testing.B) {
	m, host := mapping(b, "10.0.0.0/16", "250.0.0.0/8"), netip.MustParseAddr("10.0.3.4")
	b.ReportAllocs()
	for b.Loop() {
		if _, ok := m.Slice(host); !ok {
			b.Fatal("no slice")
		}
	}
}

func BenchmarkHost(b *testing.B) {
	m, a := mapping(b, "10.0.0.0/16", "250.0.0.0/8"), netip.MustParseAddr("250.3.4.77")
	b.ReportAllocs()
	for b.Loop() {
		if _, ok := m.Host(a); !ok {
			b.Fatal("no host")
		}
	}
}

func TestCheckFree(t *testing.T) {
	m := mapping(t, "10.0.0.0/16", "250.0.0.0/8")
	for _, test := range []struct {
		taken string
		free  bool
	}{
		{"0.0.0.0/0", true}, {"10.0.0.0/8", true}, {"251.0.0.0/8", true}, {"249.255.255.255/32", true},
		{"250.0.0.0/8", false}, {"250.200.0.0/16", false}, {"250.1.2.3/32", false}, {"240.0.0.0/4", false}, {"128.0.0.0/1", false},
	} {
		err := m.CheckFree([]Taken{{netip.MustParsePrefix("192.0.2.0/24"), "nothing"}, {netip.MustParsePrefix(test.taken), "route " + test.taken + " dev x"}})
		if test.free {
			if err != nil {
				t.Errorf("%s: %v", test.taken, err)
			}
			continue
		}
		checkUsage(t, test.taken, err, "250.0.0.0/8 route "+test.taken)
	}
}

func TestOwner(t *testing.T) {
	m, err := NewMapping(netip.MustParsePrefix("10.0.0.0/16"), netip.MustParsePrefix("250.0.0.0/8"))
	if err != nil {
		t.Fatal(err)
	}
	for in, host := range map[string]string{"250.0.45.7": "10.0.0.45", "250.0.45.0": "10.0.0.45", "250.0.45.255": "10.0.0.45",
		"250.0.45.1": "10.0.0.45", "10.0.0.45": "10.0.0.45", "250.255.254.9": "10.0.255.254"} {
		o, err := m.Owner(netip.MustParseAddr(in))
		slice, _ := m.Slice(netip.MustParseAddr(host))
		bridge, _ := m.BridgeAddr(netip.MustParseAddr(host))
		if want := (Owner{netip.MustParseAddr(host), slice, bridge}); err != nil || o != want {
			t.Errorf("owner of %s is %v, %v; want %v", in, o, err, want)
		}
	}
	for in, words := range map[string]string{"10.1.0.1": "10.1.0.1 250.0.0.0/8 10.0.0.0/16", "251.0.0.1": "251.0.0.1", "::1": "::1",
		"::ffff:250.0.45.7": "::ffff:250.0.45.7", "250.0.0.7": "250.0.0.7 nobody 10.0.0.0", "10.0.255.255": "10.0.255.255 broadcast"} {
		_, err := m.Owner(netip.MustParseAddr(in))
		checkUsage(t, in, err, words)
	}
}
