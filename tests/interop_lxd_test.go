package tests

import (
	"fmt"
	"testing"

	"github.com/fanctl/fanctl/tests/bed"
)

// A host has the addresses, masks and MTU that LXD gives a fan bridge for the same
// subnets, by lxd/network/driver_bridge.go. fan/lxd_test.go has the rule itself.
func TestInteroperatesByAddressesOfLXD(t *testing.T) {
	for _, test := range []struct {
		underlay, overlay, host, bridge string
		ipipBits                        int // LXD's are always 24; here they are the slice's
	}{
		{"10.0.0.0/16", "240.0.0.0/8", "10.0.3.4", "240.3.4.1", 24},
		{"192.168.1.0/24", "240.0.0.0/8", "192.168.1.77", "240.77.0.1", 16},
		{"192.168.1.0/24", "240.9.0.0/16", "192.168.1.77", "240.9.77.1", 24},
	} {
		for _, p := range []path{ipipEBPF(), vxlan()} {
			t.Run(fmt.Sprintf("%s over %s by %s", test.overlay, test.underlay, p.kind), func(t *testing.T) {
				b := bed.New(t, bed.Options{NoIPv6: true, Underlay: test.underlay, Hosts: []string{test.host}})
				f := upOn(t, b, b.Hosts[0], p, test.overlay)
				bits := test.ipipBits
				if p.kind == "vxlan" {
					bits = f.net.Overlay.Bits()
				}
				want := fmt.Sprintf("%s/%d", test.bridge, bits)
				if got := f.host.ShowOf(t, f.net.Bridge); got.Address != want || got.MTU != 1500-p.overhead {
					t.Errorf("the bridge has %s and MTU %d, want %s and %d", got.Address, got.MTU, want, 1500-p.overhead)
				}
			})
		}
	}
}
