package tests

import (
	"testing"

	"github.com/fanctl/fanctl/tests/bed"
)

// The way to a host changes while containers talk. The routing table and the
// neighbour's entry count from then on, whatever a path keeps of them for a moment.
func TestWayChanges(t *testing.T) {
	eachPath(t, func(t *testing.T, p path) {
		b := bed.New(t, bed.Options{Hosts: []string{"10.0.0.11", "10.0.3.4", "10.0.7.9"}})
		// Before there is an entry: its timer runs as long as it was set to.
		for name, value := range map[string]string{"base_reachable_time_ms": "100", "delay_first_probe_time": "1", "retrans_time_ms": "100"} {
			b.Hosts[0].Sysctl(t, "ipv4/neigh/eth0/"+name, value)
		}
		fans := upAll(t, b, p, overlay)
		one, two := fans[0].container(t, bed.ContainerOptions{}), fans[1].container(t, bed.ContainerOptions{})
		t.Run("to a router and back", func(t *testing.T) { byRouter(t, b, one, two) })
		t.Run("to another card", func(t *testing.T) { otherCard(t, one, two) })
	})
}

// byRouter leads one host's packets over the third host, and back to the straight
// way: none is lost.
func byRouter(t *testing.T, b *bed.Bed, one, two *bed.Container) {
	router, from, to := b.Hosts[2], one.Host, two.Host
	for _, device := range []string{"all", "eth0"} {
		router.Sysctl(t, "ipv4/conf/"+device+"/send_redirects", "0")
	}
	passing := b.SwitchCapture(router)
	const count = 1000
	wait, _ := one.StartPing(t, two.Addr, count, "-i", "0.002")
	from.IP(t, "route add "+to.Addr.String()+"/32 via "+router.Addr.String())
	outer := func(f bed.Frame) bool {
		return f.Outgoing && f.IP != nil && f.IP.Src == from.Addr && f.IP.Dst == to.Addr
	}
	if _, came := passing.Wait(outer); !came {
		t.Error("no packet goes by the new route")
	}
	from.IP(t, "route del "+to.Addr.String()+"/32")
	if sent, answered := wait(); sent != count || answered != count {
		t.Errorf("%d of %d pings answered", answered, sent)
	}
}

// otherCard gives a host another hardware address, of which it tells nobody: the
// sender's kernel finds out, because it goes on to confirm a neighbour that it
// sends to.
func otherCard(t *testing.T, one, two *bed.Container) {
	one.StartPing(t, two.Addr, 5000, "-i", "0.002")
	two.Host.IP(t, "link set eth0 address 02:00:00:00:99:99")
	if !eventually(func() bool { return one.Ping(two.Addr, 1, "-W", "1") == 1 }) {
		t.Error("packets still go to the hardware address that the host had")
	}
}
