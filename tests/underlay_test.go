package tests

import (
	"fmt"
	"testing"

	"github.com/fanctl/fanctl/tests/bed"
)

// What happens to an underlay device while a fan is on it is mended by up again, and
// containers that were attached reach the other host without a new address.
func TestUnderlayDeviceChanges(t *testing.T) {
	eachPath(t, func(t *testing.T, p path) {
		b := bed.New(t, bed.Options{NoIPv6: true})
		h := b.Hosts[0]
		before := h.Settled(t)
		fans := upAll(t, b, p, overlay)
		one, two := fans[0].container(t, bed.ContainerOptions{}), fans[1].container(t, bed.ContainerOptions{})
		again := func(what string) {
			t.Helper()
			h.MustFanctl(t, append([]string{"up"}, fans[0].args...)...)
			reaches(t, one.NS, two.Addr, what)
			reaches(t, two.NS, one.Addr, what)
			if r := h.Fanctl(append([]string{"up", "--dry-run"}, fans[0].args...)...); r.Code != 0 || r.Stdout != "" {
				t.Errorf("%s: one up is not enough: %s", what, r)
			}
		}
		route := "route replace default via " + bed.LastUsable(b.Underlay).String()
		h.IP(t, "link set eth0 down", "link set eth0 up", route)
		again("down and up")
		h.IP(t, "link set eth0 down", "link set eth0 name wan0", "link set wan0 up", route)
		again("renamed")
		if got := h.ShowOf(t, "fan-250").Device; got != "wan0" {
			t.Errorf("show names the device %s, want wan0", got)
		}
		h.IP(t, "link set wan0 mtu 1400")
		again("with a smaller MTU")
		if got := h.ShowOf(t, "fan-250").MTU; got != 1400-p.overhead {
			t.Errorf("MTU %d over 1400", got)
		}
		h.IP(t, "link set wan0 mtu 1500")
		again("with the MTU as before")
		h.IP(t, fmt.Sprintf("addr del %s/16 dev wan0", h.Addr), fmt.Sprintf("addr add %s/16 brd + dev wan0", h.Addr), route)
		again("with its address anew")
		one.Remove(t)
		h.MustFanctl(t, "down", "-u", b.Underlay.String(), "-o", overlay)
		h.IP(t, "link set wan0 down", "link set wan0 name eth0", "link set eth0 up", route)
		if difference := h.Becomes(t, before); difference != "" {
			t.Errorf("after down: %s", difference)
		}
	})
}
