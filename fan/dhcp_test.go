package fan

import (
	"net/netip"
	"testing"
)

func TestParseReserve(t *testing.T) {
	for s, want := range map[string]uint8{"1": 1, "17": 17, "250": 250} {
		if got, err := ParseReserve(s); err != nil || got != want {
			t.Errorf("%q is %d, %v", s, got, err)
		}
	}
	for _, s := range []string{"", "0", "251", "999", "-1", "+1", "01", "x", "1.0"} {
		_, err := ParseReserve(s)
		checkUsage(t, s, err, "1 250")
	}
}

func TestLeases(t *testing.T) {
	for _, test := range []struct {
		underlay, overlay, host string
		reserve                 uint8
		first, last             string
	}{
		{"10.0.0.0/16", "250.0.0.0/8", "10.0.3.4", 0, "250.3.4.2", "250.3.4.127"},
		{"10.0.0.0/16", "250.0.0.0/8", "10.0.3.4", 1, "250.3.4.2", "250.3.4.127"},
		{"10.0.0.0/16", "250.0.0.0/8", "10.0.3.4", 9, "250.3.4.10", "250.3.4.127"},
		{"10.0.0.0/16", "250.0.0.0/8", "10.0.3.4", 126, "250.3.4.127", "250.3.4.127"},
		{"192.168.7.0/24", "250.0.0.0/8", "192.168.7.9", 0, "250.9.0.2", "250.9.127.255"},
		{"10.0.0.0/12", "250.0.0.0/8", "10.0.3.4", 2, "250.0.48.67", "250.0.48.71"},
		{"10.0.0.0/16", "250.0.0.0/13", "10.0.3.4", 2, "250.0.24.35", "250.0.24.35"},
		{"10.0.0.0/16", "250.0.0.0/14", "10.0.3.4", 0, "250.0.12.18", "250.0.12.18"},
	} {
		m, err := NewMapping(netip.MustParsePrefix(test.underlay), netip.MustParsePrefix(test.overlay))
		if err != nil {
			t.Fatal(err)
		}
		f := sample(t, func(f *Fan) {
			f.Mapping, f.Host, f.DHCP, f.Reserve = m, netip.MustParseAddr(test.host), true, test.reserve
		})
		if err := f.Validate(); err != nil {
			t.Errorf("%+v: %v", test, err)
		}
		if first, last := f.Leases(); first.String() != test.first || last.String() != test.last {
			t.Errorf("slice %s, reserve %d: leases %s to %s, want %s to %s", f.Slice(), test.reserve, first, last, test.first, test.last)
		}
	}
}

// Whatever the masks and the reserve: each address of a slice is DHCP's, Docker's,
// the bridge's or nobody's, and no valid fan has a range that is empty.
func TestLeasesStayInPlace(t *testing.T) {
	tried := 0
	for overlayBits := 1; overlayBits <= 29; overlayBits++ {
		m, err := NewMapping(netip.MustParsePrefix("10.0.0.0/16"), netip.PrefixFrom(netip.MustParseAddr("128.0.0.0"), overlayBits).Masked())
		if err != nil || m.SliceBits() < 20 {
			continue
		}
		for reserve := range MaxReserve + 1 {
			f := sample(t, func(f *Fan) {
				f.Mapping, f.Host, f.DHCP, f.Reserve = m, netip.MustParseAddr("10.0.3.4"), true, uint8(reserve)
			})
			if f.Validate() != nil {
				continue
			}
			tried++
			firstLease, lastLease := f.Leases()
			if lastLease.Less(firstLease) || !f.Slice().Contains(firstLease) || !f.Slice().Contains(lastLease) || lastLease == last(f.Slice()) {
				t.Errorf("slice %s, reserve %d: leases %s to %s", f.Slice(), reserve, firstLease, lastLease)
			}
			for _, a := range append(f.Kept(), f.BridgeAddr()) {
				if !a.Less(firstLease) || !f.Slice().Contains(a) {
					t.Errorf("slice %s, reserve %d: the bridge's %s is leased", f.Slice(), reserve, a)
				}
			}
		}
	}
	if tried < 300 {
		t.Errorf("only %d fans tried", tried)
	}
}

func TestReserveTooMuch(t *testing.T) {
	small, err := NewMapping(netip.MustParsePrefix("10.0.0.0/16"), netip.MustParsePrefix("250.0.0.0/14"))
	if err != nil {
		t.Fatal(err)
	}
	for _, change := range []struct {
		change func(*Fan)
		words  string
	}{
		{func(f *Fan) { f.DHCP, f.Reserve = true, 127 }, "127 250.3.4.0/24 DHCP 126"},
		{func(f *Fan) { f.Mapping, f.Reserve = small, 2 }, "2 250.0.12.16/30 1"},
		{func(f *Fan) { f.Mapping, f.DHCP, f.Reserve = small, true, 2 }, "2 DHCP 1"},
	} {
		checkUsage(t, change.words, sample(t, change.change).Validate(), change.words)
	}
	if err := sample(t, func(f *Fan) { f.Reserve = 250 }).Validate(); err != nil {
		t.Errorf("250 addresses of 254: %v", err)
	}
}
