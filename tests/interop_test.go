package tests

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"testing"

	"github.com/fanctl/fanctl/tests/bed"
	"github.com/fanctl/fanctl/tests/bed/wire"
)

// joiner is a way in which a host that has none of our programs joins a fan.
type joiner struct {
	name string
	kind string // wire type
	// needs is a kind of device that the kernel must have, or "".
	needs string
	join  func(t *testing.T, p *bed.Peer, far bed.Far)
}

func joiners() []joiner {
	return []joiner{
		{"a route with the outer header", "ipip", ipipDevice,
			func(t *testing.T, p *bed.Peer, far bed.Far) { p.IPIPByRoute(t, far) }},
		{"a device from host to host", "ipip", ipipDevice,
			func(t *testing.T, p *bed.Peer, far bed.Far) { p.IPIPPointToPoint(t, far) }},
		{"packets built by hand", "ipip", "",
			func(t *testing.T, p *bed.Peer, far bed.Far) { p.IPIPByHand(t, far) }},
		{"neighbours written down", "vxlan", "",
			func(t *testing.T, p *bed.Peer, far bed.Far) { p.VXLANStatic(t, far, overlayVNI, 8472) }},
		{"the devices of LXD", "vxlan", "",
			func(t *testing.T, p *bed.Peer, far bed.Far) { p.VXLANLikeLXD(t, far, overlayVNI) }},
	}
}

// couple is a fan of ours with a container, and a peer that is not ours with one.
type couple struct {
	fan    fan
	bed    *bed.Bed
	peer   *bed.Peer
	mine   *bed.Container // of the fan
	theirs *bed.Container
	// came is what the hosts get from the underlay, ours first.
	came    [2]*bed.Capture
	servers map[*bed.Container]netip.AddrPort
	sent    uint32
}

// newCouple joins a peer to a fan.
func newCouple(t *testing.T, p path, j joiner) *couple {
	t.Helper()
	return newUnequal(t, p, j, "10.0.0.0/16")
}

// newUnequal is newCouple with a fan that has an underlay, and perhaps more, which the
// peer does not know of.
func newUnequal(t *testing.T, p path, j joiner, underlay string, more ...string) *couple {
	t.Helper()
	b := bed.New(t, bed.Options{NoIPv6: true})
	mine := *b
	mine.Underlay = netip.MustParsePrefix(underlay)
	c := &couple{bed: b, fan: upOn(t, &mine, b.Hosts[0], p, overlay, more...)}
	c.mine = c.fan.container(t, bed.ContainerOptions{Bits: c.bits()})
	c.join(t, j)
	return c
}

// bits is the length of the masks of containers: the overlay's where that is one
// network of layer 2.
func (c *couple) bits() int {
	if c.fan.path.kind == "vxlan" {
		return c.fan.net.Overlay.Bits()
	}
	return c.fan.net.Slice.Bits()
}

func (c *couple) join(t *testing.T, j joiner) {
	t.Helper()
	ours, host := c.fan.host, c.bed.Hosts[1]
	theirs := bed.Network{Bridge: "lxdfan0", Overlay: c.fan.net.Overlay, Slice: bed.Slice(c.bed.Underlay, c.fan.net.Overlay, host.Addr)}
	c.peer = host.Peer(t, theirs, c.bits(), c.fan.mtu(c.bed))
	c.theirs = c.peer.Container
	j.join(t, c.peer, bed.Far{Host: ours.Addr, Slice: bed.Slice(c.bed.Underlay, c.fan.net.Overlay, ours.Addr), Neighbour: []bed.Neighbour{
		{Addr: c.mine.Addr, MAC: c.mine.MAC(t, "eth0")}, {Addr: c.fan.net.Gateway(), MAC: ours.MAC(t, c.fan.net.Bridge)}}})
	c.came = [2]*bed.Capture{ours.Capture(t, "eth0"), host.Capture(t, "eth0")}
	c.servers = map[*bed.Container]netip.AddrPort{c.mine: c.mine.Serve(t, c.mine.Addr), c.theirs: c.theirs.Serve(t, c.theirs.Addr)}
}

// check says what does not work between the two, or nil.
func (c *couple) check(t *testing.T) error {
	t.Helper()
	for _, part := range []struct {
		name string
		err  func() error
	}{
		{"reach", c.reach}, {"capture", func() error { return errors.Join(c.wire(t, true), c.wire(t, false)) }},
		{"whole MTU", c.whole}, {"TCP", c.transfer}, {"UDP", c.datagrams},
	} {
		if err := part.err(); err != nil {
			return fmt.Errorf("%s: %w", part.name, err)
		}
	}
	return nil
}

// reach: containers and hosts get answers from each other.
func (c *couple) reach() error {
	for _, way := range []struct {
		from *bed.NS
		to   netip.Addr
	}{
		{c.mine.NS, c.theirs.Addr}, {c.theirs.NS, c.mine.Addr},
		{c.mine.NS, c.peer.Network.Gateway()}, {c.theirs.NS, c.fan.net.Gateway()},
		{c.fan.host.NS, c.theirs.Addr}, {c.peer.NS, c.mine.Addr},
	} {
		if got := way.from.Ping(way.to, 2); got != 2 {
			return fmt.Errorf("%d of 2 pings from %s to %s answered", got, way.from.Name, way.to)
		}
	}
	return nil
}

// wire compares one packet from container to container, ours or theirs, with the RFC.
func (c *couple) wire(t *testing.T, ours bool) error {
	t.Helper()
	from, to, source, sink, came := c.mine, c.theirs, c.fan.host.Addr, c.peer.Addr, c.came[1]
	if !ours {
		from, to, source, sink, came = to, from, sink, source, c.came[0]
	}
	c.sent++
	mark := bed.Marked(c.sent, 100)
	if _, err := from.Datagram(t, bed.Datagram{To: netip.AddrPortFrom(to.Addr, 9), Payload: mark, DF: true}); err != nil {
		return err
	}
	f, ok := came.Wait(func(f bed.Frame) bool { return !f.Outgoing && carries(f.Packet, mark) })
	if !ok {
		return fmt.Errorf("the packet from %s did not come", from.Addr)
	}
	return compareOuter(f, source, sink, c.fan.path, ours)
}

// whole: packets of the whole MTU, which must not be fragmented.
func (c *couple) whole() error {
	size := fmt.Sprint(c.fan.mtu(c.bed) - 28)
	for from, to := range map[*bed.Container]*bed.Container{c.mine: c.theirs, c.theirs: c.mine} {
		if got := from.Ping(to.Addr, 2, "-M", "do", "-s", size); got != 2 {
			return fmt.Errorf("%d of 2 pings from %s with %s bytes answered", got, from.Addr, size)
		}
	}
	return nil
}

func (c *couple) transfer() error {
	return errors.Join(
		bed.Transfer(c.mine.NS, c.theirs.NS, c.theirs.Addr, 2<<20),
		bed.Transfer(c.theirs.NS, c.mine.NS, c.mine.Addr, 2<<20))
}

func (c *couple) datagrams() error {
	for from, to := range map[*bed.Container]*bed.Container{c.mine: c.theirs, c.theirs: c.mine} {
		for _, size := range []int{1, 1000, c.fan.mtu(c.bed) - 28, 4000} {
			got, err := from.EchoUDP(c.servers[to], 3, size)
			if err == nil && got != 3 {
				err = fmt.Errorf("%d of 3 came back", got)
			}
			if err != nil {
				return fmt.Errorf("datagrams of %d bytes from %s: %w", size, from.Addr, err)
			}
		}
	}
	return nil
}

// eachJoiner runs a story for every path and every joiner of its type that the
// kernel has.
func eachJoiner(t *testing.T, story func(t *testing.T, p path, j joiner)) {
	t.Helper()
	eachPath(t, func(t *testing.T, p path) {
		for _, j := range joiners() {
			if j.kind != p.kind || j.needs != "" && !hasDevice(t, j.needs) {
				continue
			}
			t.Run(j.name, func(t *testing.T) { story(t, p, j) })
		}
	})
}

// A host that has none of our programs is a host of the fan like any other.
func TestInteroperates(t *testing.T) {
	eachJoiner(t, func(t *testing.T, p path, j joiner) {
		c := newCouple(t, p, j)
		if err := c.check(t); err != nil {
			t.Error(err)
		}
		for name, n := range c.fan.counters(t) {
			if slices.Contains([]string{"spoofed", "malformed", "not_ours"}, name) && n > 0 {
				t.Errorf("counter %s is %d", name, n)
			}
		}
	})
}

// carries says whether the innermost payload that was understood has the bytes.
func carries(p wire.Packet, mark []byte) bool {
	for p.Inner != nil {
		p = *p.Inner
	}
	return bytes.Contains(p.Payload, mark)
}
