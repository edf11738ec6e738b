package fan

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"testing"
)

// LXD's fan (bridge.mode=fan, with fan.underlay_subnet and fan.overlay_subnet), as its
// source has it in lxd/network/driver_bridge.go: setup and fanAddress. It writes the
// bridge's address octet by octet, and takes three pairs of masks only:
//
//	underlay /16, overlay /8    O . host's 3rd . host's 4th . 1
//	underlay /24, overlay /8    O . host's 4th . 0          . 1
//	underlay /24, overlay /16   O . O          . host's 4th . 1
//
// The mask is the overlay's with vxlan, and always 24 bits with ipip.
func lxdAddress(underlayBits int, overlay netip.Prefix, host netip.Addr) (bridge netip.Addr, ok bool) {
	o, h := overlay.Addr().As4(), host.As4()
	switch fmt.Sprintf("/%d over /%d", overlay.Bits(), underlayBits) {
	case "/8 over /16":
		return netip.AddrFrom4([4]byte{o[0], h[2], h[3], 1}), true
	case "/8 over /24":
		return netip.AddrFrom4([4]byte{o[0], h[3], 0, 1}), true
	case "/16 over /24":
		return netip.AddrFrom4([4]byte{o[0], o[1], h[3], 1}), true
	}
	return netip.Addr{}, false
}

// What LXD and Ubuntu's tools have: of the first, by its source; the last two rows are
// the addresses of one host of Ubuntu's that somebody has published (16.04, 2016).
func TestAddressesOfLXD(t *testing.T) {
	for _, test := range []struct{ underlay, overlay, host, bridge string }{
		{"10.0.0.0/16", "240.0.0.0/8", "10.0.0.45", "240.0.45.1"},
		{"10.0.0.0/16", "240.0.0.0/8", "10.0.255.254", "240.255.254.1"},
		{"172.16.0.0/16", "250.0.0.0/8", "172.16.3.4", "250.3.4.1"},
		{"192.168.1.0/24", "240.0.0.0/8", "192.168.1.77", "240.77.0.1"},
		{"192.168.1.0/24", "240.9.0.0/16", "192.168.1.77", "240.9.77.1"},
		{"10.3.0.0/24", "10.128.0.0/16", "10.3.0.200", "10.128.200.1"},
		{"192.168.0.0/16", "250.0.0.0/8", "192.168.1.178", "250.1.178.1"},
		{"192.168.1.0/24", "250.0.0.0/8", "192.168.1.178", "250.178.0.1"},
	} {
		m, host := mapping(t, test.underlay, test.overlay), netip.MustParseAddr(test.host)
		ours, _ := m.BridgeAddr(host)
		theirs, _ := lxdAddress(m.Underlay().Bits(), m.Overlay(), host)
		if ours.String() != test.bridge || theirs.String() != test.bridge {
			t.Errorf("%s in %s over %s: the bridge has %s here and %s with LXD, want %s", host, test.overlay, test.underlay, ours, theirs, test.bridge)
		}
	}
}

// Every host of every underlay that LXD takes has the same address here, and its slice
// is what LXD's DHCP gives addresses of, or more.
func TestPlanOfLXD(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for _, bits := range []struct{ underlay, overlay int }{{16, 8}, {24, 8}, {24, 16}} {
		for range 5000 {
			underlay := netip.PrefixFrom(address(random.Uint32()), bits.underlay).Masked()
			overlay := netip.PrefixFrom(address(random.Uint32()), bits.overlay).Masked()
			m, err := NewMapping(underlay, overlay)
			if err != nil {
				continue // overlaps, or is no network of hosts
			}
			host := address(number(underlay.Addr()) | random.Uint32()&^mask(bits.underlay))
			if m.CheckHost(host) != nil {
				continue // network or broadcast address
			}
			ours, _ := m.BridgeAddr(host)
			slice, _ := m.Slice(host)
			theirs, ok := lxdAddress(bits.underlay, overlay, host)
			if !ok || ours != theirs {
				t.Fatalf("%s in %s over %s: the bridge has %s here and %s with LXD", host, overlay, underlay, ours, theirs)
			}
			if leases := netip.PrefixFrom(theirs, 24).Masked(); slice.Bits() > 24 || !slice.Overlaps(leases) {
				t.Fatalf("%s in %s over %s: the slice is %s, and LXD has %s", host, overlay, underlay, slice, leases)
			}
		}
	}
}

// The network identifier is the overlay's address without its last octet, as the number
// that ip(8) shows. The second is of a capture of such a host (fancni, 2025).
func TestVNIOfLXD(t *testing.T) {
	for overlay, want := range map[string]uint32{"240.0.0.0/8": 15728640, "10.0.0.0/8": 655360, "250.0.0.0/8": 16384000, "240.9.0.0/16": 15730944} {
		if got := VNI(netip.MustParsePrefix(overlay)); got != want {
			t.Errorf("network identifier of %s is %d, want %d", overlay, got, want)
		}
	}
}
