package tests

import (
	"fmt"
	"net/netip"
	"testing"

	"github.com/fanctl/fanctl/tests/bed"
	"github.com/fanctl/fanctl/tests/bed/wire"
)

// TCP between containers that both believe in an MTU of 1500 works out the way's:
// it depends on the fan's answers alone.
func TestTCPFindsTheMTU(t *testing.T) {
	eachPath(t, func(t *testing.T, p path) {
		b := bed.New(t, bed.Options{})
		fans := upAll(t, b, p, overlay)
		for _, bits := range []int{0, 8} {
			o := bed.ContainerOptions{MTU: 1500, Bits: bits}
			one, two := fans[0].container(t, o), fans[1].container(t, o)
			transfer(t, one, two, 4<<20)
			transfer(t, two, one, 4<<20)
		}
	})
}

// A smaller MTU of the underlay, or one that was asked for, is the fan's too.
func TestOtherMTUs(t *testing.T) {
	eachPath(t, func(t *testing.T, p path) {
		for name, test := range map[string]struct {
			underlay int
			args     []string
			want     int
		}{
			"small underlay": {1400, nil, 1400 - p.overhead},
			"large underlay": {9000, nil, 9000 - p.overhead},
			"asked for":      {1500, []string{"--mtu", "1300"}, 1300},
		} {
			t.Run(name, func(t *testing.T) {
				b := bed.New(t, bed.Options{MTU: test.underlay, NoIPv6: true})
				fans := upAll(t, b, p, overlay, test.args...)
				if got := fans[0].host.ShowOf(t, fans[0].net.Bridge).MTU; got != test.want {
					t.Fatalf("fanctl show has MTU %d, want %d", got, test.want)
				}
				l := newLane(t, fans, bed.ContainerOptions{MTU: 9000})
				l.sizes(t, test.want)
			})
		}
	})
}

// A way between the hosts that takes less than their devices, and the senders who
// are told so: by a router on the way, or by the host's own route.
func TestNarrowWay(t *testing.T) {
	const narrow = 1400
	for name, narrows := range map[string]func(t *testing.T, b *bed.Bed){
		"router": func(t *testing.T, b *bed.Bed) {
			t.Helper()
			// By its routes: a link whose ends differ drops without a word what is too
			// long for one of them.
			b.Router.IP(t, fmt.Sprintf("route change 10.0.3.0/24 dev sub1 mtu lock %d", narrow), fmt.Sprintf("route change 10.0.0.0/24 dev sub0 mtu lock %d", narrow))
		},
		"route": func(t *testing.T, b *bed.Bed) {
			t.Helper()
			b.Hosts[0].IP(t, fmt.Sprintf("route add %s via %s mtu lock %d", b.Hosts[1].Addr, bed.LastUsable(netip.MustParsePrefix("10.0.0.0/24")), narrow))
		},
	} {
		t.Run(name, func(t *testing.T) {
			eachPath(t, func(t *testing.T, p path) {
				b := bed.New(t, bed.Options{Routed: true, NoIPv6: true})
				narrows(t, b)
				fans := upAll(t, b, p, overlay)
				l := newLane(t, fans, bed.ContainerOptions{})
				l.learns(t, narrow-p.overhead, fans[0].mtu(b))
				transfer(t, l.from, l.to, 4<<20)
				transfer(t, l.to, l.from, 4<<20)
			})
		})
	}
}

// learns fails the test unless the sender of a packet of a size is told the MTU;
// the host's kernel may first have to be told itself.
func (l *lane) learns(t *testing.T, mtu, size int) {
	t.Helper()
	for range 3 {
		f := l.send(t, bed.Datagram{Payload: bed.Marked(l.sent, size-28), DF: true}, 1)
		if f.arrived > 0 {
			t.Fatalf("%d bytes have passed where only %d can", size, mtu)
		}
		if tooBig(f, mtu) {
			if !f.icmp.ICMP.ChecksumOK {
				t.Errorf("the checksum of %s is wrong", f.icmp)
			}
			return
		}
	}
	t.Errorf("the sender of %d bytes should be told that %d fit", size, mtu)
}

// Whoever sends to a host that has no such fan is told so: by eBPF alone the host
// that answers is the peer, and its answer is passed on (RFC 2003 section 4).
func TestPeerWithoutFan(t *testing.T) {
	b := bed.New(t, bed.Options{NoIPv6: true})
	f := upOn(t, b, b.Hosts[0], ipipEBPF(), overlay)
	c := f.container(t, bed.ContainerOptions{})
	seen := c.Capture(t, "eth0")
	to := bed.Nth(bed.Slice(b.Underlay, f.net.Overlay, b.Hosts[1].Addr), 2)
	if c.Ping(to, 1) > 0 {
		t.Fatalf("%s answers: who is that?", to)
	}
	told := func(f bed.Frame) bool {
		return f.ICMP != nil && f.ICMP.Type == wire.ICMPUnreachable && f.Inner != nil && f.Inner.IP.Dst == to
	}
	frame, ok := seen.Wait(told)
	if !ok || frame.ICMP.Code != 1 || !frame.ICMP.ChecksumOK {
		t.Errorf("the container should be told that the host of %s is unreachable, but got %s", to, frame)
	}
}
