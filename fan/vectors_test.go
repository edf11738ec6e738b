package fan

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/netip"
	"testing"
)

// The golden vectors: the lines "HOST SLICE" of the hosts of an underlay (of a larger
// one, every so many'th, 65536 in all), hashed. Other programs for the mapping can be
// held against them, and they are the same on every processor. They were computed with
// Python's integers, not by this package: slice = overlay + low * 2^(32-p), low being the
// host's bits below the underlay's prefix of length u, and p the overlay's length + 32 - u.
func TestVectors(t *testing.T) {
	for _, test := range []struct {
		underlay, overlay string
		hosts             uint32
		want              string // the first 8 bytes of the SHA-256
	}{
		{"10.0.0.0/16", "250.0.0.0/8", 1 << 16, "91b2270e9a049f01"},
		{"172.16.0.0/16", "240.0.0.0/8", 1 << 16, "a5437c2d70306e5c"},
		{"10.16.0.0/12", "240.0.0.0/8", 1 << 16, "c4bf25d3e7173cdb"},
		{"192.168.1.0/24", "240.9.0.0/16", 1 << 8, "09b3977628674ef4"},
	} {
		m, err := NewMapping(netip.MustParsePrefix(test.underlay), netip.MustParsePrefix(test.overlay))
		if err != nil {
			t.Fatal(err)
		}
		every := (1 << (32 - m.Underlay().Bits())) / test.hosts
		sum := sha256.New()
		for n := range test.hosts {
			host := address(number(m.Underlay().Addr()) + n*every)
			slice, ok := m.Slice(host)
			if back, inside := m.Host(slice.Addr()); !ok || !inside || back != host {
				t.Fatalf("%s over %s: %s has %s, which leads to %s", test.overlay, test.underlay, host, slice, back)
			}
			fmt.Fprintf(sum, "%s %s\n", host, slice)
		}
		if got := hex.EncodeToString(sum.Sum(nil)[:8]); got != test.want {
			t.Errorf("%s over %s: %s, want %s", test.overlay, test.underlay, got, test.want)
		}
	}
}
