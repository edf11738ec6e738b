package tests

import (
	"fmt"
	"testing"

	"github.com/fanctl/fanctl/tests/bed"
)

// Kinds of devices that an underlay may be on, as ip-link(8) calls them.
const (
	vlanDevice      = "vlan id 7"
	bondDevice      = "bond"
	wireguardDevice = "wireguard"
)

// The underlay is on a device that is on top of the card, or of another network: a fan
// is there as it is on a card, and nothing of it stays.
func TestReachBesideCards(t *testing.T) {
	for _, test := range []struct {
		name   string
		needs  string
		put    func(b *bed.Bed, t testing.TB)
		device string
	}{
		{"bridge", "bridge", (*bed.Bed).OnBridge, "br0"},
		{"bond", bondDevice, (*bed.Bed).OnBond, "bond0"},
		{"VLAN", vlanDevice, (*bed.Bed).OnVLAN, "eth0.7"},
		{"WireGuard", wireguardDevice, (*bed.Bed).OnWireGuard, "wg0"},
	} {
		if !hasDevice(t, test.needs) {
			continue
		}
		t.Run(test.name, func(t *testing.T) {
			eachPath(t, func(t *testing.T, p path) {
				b := bed.New(t, bed.Options{NoIPv6: true})
				test.put(b, t)
				h := b.Hosts[0]
				reaches(t, h.NS, b.Hosts[1].Addr, "the underlay alone")
				before := h.Settled(t)
				fans := upAll(t, b, p, overlay)
				if got := h.ShowOf(t, fans[0].net.Bridge); got.Device != test.device || got.MTU != fans[0].mtu(b) {
					t.Errorf("show has device %s and MTU %d, want %s and %d", got.Device, got.MTU, test.device, fans[0].mtu(b))
				}
				carries := newLane(t, fans, bed.ContainerOptions{})
				carries.works(t, b)
				if steps := fans[0].dryRun(t, "up"); len(steps) > 0 {
					t.Errorf("another up would do: %q", steps)
				}
				carries.from.Remove(t)
				fans[0].down(t)
				if difference := h.Becomes(t, before); difference != "" {
					t.Errorf("after down: %s", difference)
				}
			})
		})
	}
}

// works fails the test unless all kinds of traffic pass, both ways, and to the world.
func (l *lane) works(t *testing.T, b *bed.Bed) {
	t.Helper()
	mtu := l.fans[0].mtu(b)
	for from, to := range map[*bed.Container]*bed.Container{l.from: l.to, l.to: l.from} {
		if got := from.Ping(to.Addr, 2, "-M", "do", "-s", fmt.Sprint(mtu-28)); got != 2 {
			t.Errorf("%d of 2 pings of the whole MTU from %s answered", got, from.Addr)
		}
		transfer(t, from, to, 4<<20)
		server := to.Serve(t, to.Addr)
		for _, size := range []int{1, mtu - 28, 4000} {
			if got, err := from.EchoUDP(server, 3, size); err != nil || got != 3 {
				t.Errorf("%d of 3 datagrams of %d bytes from %s came back (%v)", got, size, from.Addr, err)
			}
		}
		reaches(t, from.Host.NS, to.Addr, "from "+from.Host.String())
	}
	l.segments(t, mtu)
	for _, size := range []int{mtu, mtu + 1} {
		f := l.send(t, bed.Datagram{Payload: bed.Marked(l.sent, size-28), DF: true}, 1)
		if size <= mtu && f.arrived != 1 || size > mtu && f.refused == nil && !tooBig(f, mtu) {
			t.Errorf("a packet of %d bytes with an MTU of %d: %s", size, mtu, f)
		}
	}
	server := b.World.Serve(t, b.WorldAddr)
	if _, err := l.from.SeenBy("tcp4", server); err != nil {
		t.Errorf("a container does not reach the world: %v", err)
	}
	for _, f := range l.fans {
		counters := f.counters(t)
		for _, name := range []string{"spoofed", "malformed", "not_ours", "no_route"} {
			if counters[name] > 0 {
				t.Errorf("%s: counter %s is %d", f.host, name, counters[name])
			}
		}
	}
}
