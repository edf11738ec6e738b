package tests

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/fanctl/fanctl/tests/bed"
	"github.com/fanctl/fanctl/tests/bed/wire"
)

// twin is one of two beds that are alike down to their hardware addresses, so that the
// same frames can be sent in both:
//
//	talker 0 ─┬ host 0 ── switch ── host 1 ┬─ talker 1
//	 idler 0 ─┘              │             └─ idler 1
//	                       router ── world
//
// Nothing in it goes by the clock: neighbours are known for good, no ICMP error is held
// back for there were too many, no fragment expires.
type twin struct {
	bed     *bed.Bed
	fans    []fan
	talkers [2]*bed.Container
	idlers  [2]*bed.Container
	senders [2]*bed.Sender
	taps    []place
	seen    *sightings
}

// place is where frames are looked at.
type place struct {
	name string
	tap  *bed.Tap
}

// talkerMTU leaves room for packets that are longer than a fan takes.
const talkerMTU = 1600

// newTwin makes a bed with fans that are up; more are words for "fanctl up".
func newTwin(t *testing.T, p path, more ...string) *twin {
	t.Helper()
	w := &twin{bed: bed.New(t, bed.Options{NoIPv6: true}), seen: newSightings(p)}
	w.quiet(t)
	w.fans = upAll(t, w.bed, p, overlay, more...)
	bits := 0 // the slice's
	if p.kind == "vxlan" {
		bits = netip.MustParsePrefix(overlay).Bits()
	}
	for i, f := range w.fans {
		f.host.Sysctl(t, "ipv4/conf/"+f.net.Bridge+"/send_redirects", "0")
		for j, c := range []**bed.Container{&w.talkers[i], &w.idlers[i]} {
			*c = f.container(t, bed.ContainerOptions{Bits: bits, MTU: talkerMTU})
			(*c).IP(t, "link set eth0 address "+card(3, i, j).String())
			calm(t, (*c).NS)
			// The other end's answers are among the packets.
			(*c).Must(t, "iptables", "-A", "INPUT", "-p", "tcp", "-j", "DROP")
		}
	}
	for _, f := range w.fans {
		f.up(t) // for the containers' ports
	}
	w.introduce(t)
	for i, c := range w.talkers {
		w.senders[i] = c.FrameSender(t, "eth0")
		reaches(t, c.NS, w.talkers[1-i].Addr, "talker to talker")
		reaches(t, c.NS, w.idlers[1-i].Addr, "talker to idler")
		reaches(t, w.idlers[i].NS, c.Addr, "idler to talker")
		reaches(t, c.NS, w.bed.WorldAddr, "talker to world")
	}
	w.tapAll(t)
	return w
}

// card is the hardware address of a card in both twins.
func card(group, i, j int) wire.MAC { return wire.MAC{0x02, 0, 0, byte(group), byte(i), byte(j + 1)} }

// calm keeps a kernel from what it does by the clock or by chance.
func calm(t *testing.T, ns *bed.NS) {
	t.Helper()
	for name, value := range map[string]string{
		"ipv4/icmp_ratemask": "0", "ipv4/ipfrag_time": "3600", "ipv4/ipfrag_max_dist": "0",
		"ipv4/conf/all/send_redirects": "0", "ipv4/conf/default/send_redirects": "0",
	} {
		ns.Sysctl(t, name, value)
	}
}

// quiet prepares what is around the fans.
func (w *twin) quiet(t *testing.T) {
	t.Helper()
	for i, h := range w.bed.Hosts {
		h.IP(t, "link set eth0 address "+card(1, i, 0).String())
		calm(t, h.NS)
	}
	w.bed.Router.IP(t, "link set sub0 address "+card(2, 0, 0).String(), "link set world address "+card(2, 1, 0).String())
	w.bed.World.IP(t, "link set eth0 address "+card(2, 2, 0).String())
	// "No route" is told once a second and not more often (net/ipv4/route.c: ip_error).
	w.bed.Router.IP(t, "route add blackhole default")
	calm(t, w.bed.Router)
	calm(t, w.bed.World)
}

// introduce tells everybody the hardware addresses of those that it talks to.
func (w *twin) introduce(t *testing.T) {
	t.Helper()
	gateway := bed.LastUsable(w.bed.Underlay)
	know := func(ns *bed.NS, device string, a netip.Addr, mac wire.MAC) {
		t.Helper()
		ns.IP(t, fmt.Sprintf("neigh replace %s lladdr %s nud permanent dev %s", a, mac, device))
	}
	for i, f := range w.fans {
		other := w.fans[1-i]
		know(f.host.NS, "eth0", other.host.Addr, card(1, 1-i, 0))
		know(f.host.NS, "eth0", gateway, card(2, 0, 0))
		know(w.bed.Router, "sub0", f.host.Addr, card(1, i, 0))
		for _, c := range []*bed.Container{w.talkers[i], w.idlers[i]} {
			know(f.host.NS, f.net.Bridge, c.Addr, c.MAC(t, "eth0"))
			know(c.NS, "eth0", f.net.Gateway(), f.host.MAC(t, f.net.Bridge))
			for _, of := range w.near(i, c) {
				know(c.NS, "eth0", of.Addr, of.MAC(t, "eth0"))
			}
			if f.path.kind == "vxlan" {
				know(other.host.NS, other.net.Bridge, c.Addr, c.MAC(t, "eth0"))
				know(c.NS, "eth0", other.net.Gateway(), other.host.MAC(t, other.net.Bridge))
			}
		}
		if f.path.kind == "vxlan" {
			know(f.host.NS, f.net.Bridge, other.net.Gateway(), other.host.MAC(t, other.net.Bridge))
		}
	}
	know(w.bed.Router, "world", w.bed.WorldAddr, card(2, 2, 0))
	know(w.bed.World, "eth0", netip.MustParseAddr("203.0.113.1"), card(2, 1, 0))
}

// near are the containers that one on host i is in the same network with.
func (w *twin) near(i int, c *bed.Container) []*bed.Container {
	all := []*bed.Container{w.talkers[i], w.idlers[i]}
	if w.fans[i].path.kind == "vxlan" {
		all = append(all, w.talkers[1-i], w.idlers[1-i])
	}
	var others []*bed.Container
	for _, o := range all {
		if o != c {
			others = append(others, o)
		}
	}
	return others
}

func (w *twin) tapAll(t *testing.T) {
	t.Helper()
	for i, h := range w.bed.Hosts {
		w.taps = append(w.taps,
			place{fmt.Sprintf("host %d's port of the switch", i), w.bed.SwitchTap(h)},
			place{fmt.Sprintf("talker %d", i), w.talkers[i].Tap(t, "eth0", false)},
			place{fmt.Sprintf("idler %d", i), w.idlers[i].Tap(t, "eth0", false)})
	}
	w.taps = append(w.taps, place{"world", w.bed.World.Tap(t, "eth0", false)})
}

// sentinelIdent is in the echoes after which all that was sent before has been through.
const sentinelIdent = 0x5e5e

// through sends echoes after what was sent so far and waits for the answers: each goes
// through the same queues. It does so twice, for packets that have made others on their
// way. No echo is sent again, so that all counters stay alike.
func (w *twin) through() error {
	for range 2 {
		for i, c := range w.talkers {
			for j, to := range []netip.Addr{w.talkers[1-i].Addr, w.bed.WorldAddr} {
				frame := w.echo(i, to)
				if err := w.senders[i].Send(frame); err != nil {
					return fmt.Errorf("send an echo: %w", err)
				}
				if err := w.answered(i); err != nil {
					return fmt.Errorf("echo %d of %s to %s: %w", j, c.Addr, to, err)
				}
			}
		}
	}
	return nil
}

func (w *twin) echo(i int, to netip.Addr) []byte {
	next := w.nextMAC(i)
	packet := wire.IPv4{Src: w.talkers[i].Addr, Dst: to, Proto: wire.ProtoICMP}.Build(
		wire.ICMP{Type: wire.ICMPEcho, Rest: sentinelIdent << 16}.Build(nil))
	if !overlayPrefix().Contains(to) {
		next = bridgeMAC(w.fans[i].host.Addr)
	}
	return wire.Eth{Dst: next, Src: card(3, i, 0), Type: wire.TypeIPv4}.Build(packet)
}

func overlayPrefix() netip.Prefix { return netip.MustParsePrefix(overlay) }

// bridgeMAC is what a host's bridge has (design.md 5).
func bridgeMAC(host netip.Addr) wire.MAC {
	a := host.As4()
	return wire.MAC{0x02, 0xfa, a[0], a[1], a[2], a[3]}
}

// nextMAC is where talker i sends what is for the other talker.
func (w *twin) nextMAC(i int) wire.MAC {
	if w.fans[i].path.kind == "vxlan" {
		return card(3, 1-i, 0)
	}
	return bridgeMAC(w.fans[i].host.Addr)
}

// answered waits for one more answer to an echo of talker i.
func (w *twin) answered(i int) error {
	want := w.seen.answers[i] + 1
	own := w.taps[3*i+1].tap
	for deadline := time.Now().Add(bed.Patience()); ; {
		w.collect()
		if w.seen.answers[i] >= want {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("no answer")
		}
		own.Await()
	}
}

// collect takes what the taps have.
func (w *twin) collect() {
	for n, p := range w.taps {
		for _, f := range p.tap.Take() {
			name := p.name
			if f.Outgoing {
				name += ", to the host"
			}
			if n == 1 || n == 4 {
				w.seen.countAnswer(n/3, f.Bytes)
			}
			w.seen.add(name, f.Bytes)
		}
	}
}

// send sends one round of parcels. What cannot be sent is as telling as what can.
func (w *twin) send(round []parcel) error {
	for _, p := range round {
		if err := w.senders[p.side].Send(p.frame); err != nil {
			w.seen.note(p.mark, "send", []byte(err.Error()))
		}
	}
	w.seen.nextRound()
	return w.through()
}

// resolved waits until no host asks for a neighbour any more: what waited has then gone
// or been answered.
func (w *twin) resolved(t *testing.T) {
	t.Helper()
	all := []*bed.NS{w.bed.Router, w.bed.World}
	for i := range w.fans {
		all = append(all, w.fans[i].host.NS, w.talkers[i].NS, w.idlers[i].NS)
	}
	for _, ns := range all {
		if !eventually(func() bool { return ns.Must(t, "ip", "neigh", "show", "nud", "incomplete") == "" }) {
			t.Errorf("%s still asks for neighbours", ns.Name)
		}
	}
}
