package tests

import (
	"net/netip"
	"testing"

	"github.com/fanctl/fanctl/tests/bed"
)

// A container engine that starts before the fan is up makes the bridge of its network
// itself, with the fan's address, and has a container on it. The fan takes it over; one
// with another address is somebody's own, and stays as it is.
func TestBridgeOfAnEngine(t *testing.T) {
	eachPath(t, func(t *testing.T, p path) {
		b := bed.New(t, bed.Options{})
		early, late := b.Hosts[0], b.Hosts[1]
		network := bed.Network{Bridge: bridgeName(netip.MustParsePrefix(overlay)), Overlay: netip.MustParsePrefix(overlay), Slice: bed.Slice(b.Underlay, netip.MustParsePrefix(overlay), early.Addr)}
		bits := "/24"
		if p.kind == "vxlan" {
			bits = "/8"
		}
		early.IP(t, "link add fan-250 type bridge", "link set fan-250 up", "addr add "+network.Gateway().String()+bits+" dev fan-250")
		c := early.Container(t, network, bed.ContainerOptions{MTU: b.MTU - p.overhead})
		upOn(t, b, early, p, overlay)
		far := upOn(t, b, late, p, overlay).container(t, bed.ContainerOptions{})
		if got := c.Ping(far.Addr, 3); got != 3 {
			t.Errorf("%d of 3 pings answered from the container that was there before", got)
		}
		early.MustFanctl(t, "down", "-u", b.Underlay.String(), "-o", overlay, "--force")

		early.IP(t, "link add fan-250 type bridge", "addr add 250.99.0.1/24 dev fan-250")
		before := early.Settled(t)
		if r := early.Fanctl(append([]string{"up"}, fanArgs(b, overlay)...)...); r.Code != 2 {
			t.Errorf("a bridge of somebody's own: %s, want exit code 2", r)
		}
		if diff := early.Becomes(t, before); diff != "" {
			t.Errorf("it was changed:\n%s", diff)
		}
	})
}
