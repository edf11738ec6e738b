package tests

import (
	"fmt"
	"net/netip"
	"testing"

	"github.com/safchain/ethtool"

	"github.com/fanctl/fanctl/tests/bed"
)

// Containers have tunnels of their own, as container hosts in containers do: TCP
// inside of those is in a tunnel in a tunnel, in super-packets and in small ones.
func TestTunnelInsideOfAFan(t *testing.T) {
	for _, underlay := range []struct {
		name     string
		features map[string]bool
	}{
		{"that cuts and sums up", nil},
		{"that sums up nothing", map[string]bool{"tx-checksum-ip-generic": false}},
	} {
		t.Run("over an underlay device "+underlay.name, func(t *testing.T) {
			eachPath(t, func(t *testing.T, p path) {
				b := bed.New(t, bed.Options{})
				for _, h := range b.Hosts {
					setFeatures(t, h.NS, "eth0", underlay.features)
				}
				tunnelInside(t, b, upAll(t, b, p, overlay))
			})
		})
	}
}

func tunnelInside(t *testing.T, b *bed.Bed, fans []fan) {
	t.Helper()
	ends := []*bed.Container{fans[0].container(t, bed.ContainerOptions{}), fans[1].container(t, bed.ContainerOptions{})}
	inner := []netip.Addr{netip.MustParseAddr("192.168.7.1"), netip.MustParseAddr("192.168.7.2")}
	for i, c := range ends {
		c.IP(t, fmt.Sprintf("link add inner type vxlan id 7 dstport 4789 dev eth0 local %s remote %s", c.Addr, ends[1-i].Addr),
			fmt.Sprintf("addr add %s/24 dev inner", inner[i]), fmt.Sprintf("link set inner mtu %d up", fans[0].mtu(b)-50))
	}
	reaches(t, ends[0].NS, inner[1], "inside of the inner tunnel")
	for i := range ends {
		if err := bed.Transfer(ends[i].NS, ends[1-i].NS, inner[1-i], 20<<20); err != nil {
			t.Errorf("20 MB inside of the inner tunnel: %v", err)
		}
	}
	transfer(t, ends[0], ends[1], 4<<20)
	for _, f := range fans {
		if n := f.counters(t)["malformed"]; n > 0 {
			t.Errorf("%s: %d packets were malformed", f.host, n)
		}
	}
}

// setFeatures turns features of a device on or off, by the names of ethtool(8).
func setFeatures(t *testing.T, ns *bed.NS, device string, features map[string]bool) {
	t.Helper()
	err := ns.Do(func() error {
		e, err := ethtool.NewEthtool()
		if err != nil {
			return err
		}
		defer e.Close()
		return e.Change(device, features)
	})
	if err != nil {
		t.Fatalf("in %s: set features of %s: %v", ns.Name, device, err)
	}
}
