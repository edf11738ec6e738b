package tests

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/fanctl/fanctl/tests/bed"
	"github.com/fanctl/fanctl/tests/bed/wire"
)

// lane is the way from a container on one host to one on another, on which no
// packet may vanish.
type lane struct {
	fans  []fan
	from  *bed.Container
	to    *bed.Container
	boxes *bed.Mailbox
	// back is what the sender's device sees.
	back *bed.Capture
	sent uint32
}

// newLane makes both containers; the receiver has the sender's MTU.
func newLane(t *testing.T, fans []fan, o bed.ContainerOptions) *lane {
	t.Helper()
	return laneBetween(t, fans, fans[0].container(t, o), fans[1].container(t, bed.ContainerOptions{MTU: o.MTU}))
}

func laneBetween(t *testing.T, fans []fan, from, to *bed.Container) *lane {
	t.Helper()
	l := &lane{fans: fans, from: from, to: to}
	l.boxes = l.to.Mailbox(t, netip.AddrPortFrom(l.to.Addr, 9000))
	l.back = l.from.Capture(t, "eth0")
	reaches(t, l.from.NS, l.to.Addr, "before the matrix")
	return l
}

// fate is what became of a datagram.
type fate struct {
	arrived int            // datagrams that came out whole
	refused error          // the sender's stack would not take it
	icmp    *wire.Packet   // the error that the sender got
	counted map[string]int // counters that grew, on either host
}

// String tells the fate in a few words.
func (f fate) String() string {
	icmp := "none"
	if f.icmp != nil {
		icmp = f.icmp.String()
	}
	return fmt.Sprintf("%d arrived, refused: %v, ICMP: %s, counted: %v", f.arrived, f.refused, icmp, f.counted)
}

// vanished says whether nobody knows what became of some of the want datagrams.
func (f fate) vanished(want int) bool {
	return f.arrived < want && f.refused == nil && f.icmp == nil && len(f.counted) == 0
}

// send sends a datagram and follows it until its fate is known: all of its want
// parts arrived, or the sender was told, or time is up and counters are looked at.
func (l *lane) send(t *testing.T, d bed.Datagram, want int) fate {
	t.Helper()
	l.sent++
	d.To = l.boxes.At
	l.boxes.Take()
	before := l.lost(t)
	var f fate
	port, err := l.from.Datagram(t, d)
	if errors.Is(err, unix.EMSGSIZE) || errors.Is(err, unix.EINVAL) {
		f.refused = err
		return f
	}
	if err != nil {
		t.Fatalf("send %d bytes: %v", len(d.Payload), err)
	}
	l.follow(&f, d, port, want)
	if f.arrived == want {
		return f
	}
	f.counted = map[string]int{}
	for name, n := range l.lost(t) {
		if grown := n - before[name]; grown > 0 {
			f.counted[name] = grown
		}
	}
	return f
}

func (l *lane) follow(f *fate, d bed.Datagram, port uint16, want int) {
	parts := [][]byte{d.Payload}
	if d.Segment > 0 {
		parts = slices.Collect(slices.Chunk(d.Payload, d.Segment))
	}
	about := func(frame bed.Frame) bool {
		return !frame.Outgoing && frame.ICMP != nil && frame.Inner != nil && frame.Inner.UDP != nil && frame.Inner.UDP.Src == port
	}
	for range 100 { // up to a second
		for _, letter := range l.boxes.Take() {
			if slices.ContainsFunc(parts, func(p []byte) bool { return string(p) == string(letter) }) {
				f.arrived++
			}
		}
		if told := l.back.Frames(about); len(told) > 0 {
			f.icmp = &told[0].Packet
		}
		if f.arrived == want || f.icmp != nil {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// lost returns all counters of packets that went nowhere, by host and name.
func (l *lane) lost(t *testing.T) map[string]int {
	t.Helper()
	all := map[string]int{}
	for i, f := range l.fans {
		for name, n := range f.counters(t) {
			if lost(map[string]uint64{name: n}) > 0 {
				all[fmt.Sprintf("%s of host %d", name, i+1)] = int(n)
			}
		}
		all[fmt.Sprintf("FragFails of host %d", i+1)] = f.host.Counter(t, "Ip", "FragFails")
	}
	return all
}

// firewallCounted says whether the bridge's firewall has dropped a packet: it puts
// the fragments of bridged packets together, and counts them away if they were
// longer than the bridge's MTU (net/bridge/br_netfilter_hooks.c: br_nf_ip_fragment).
func (l *lane) firewallCounted(f fate) bool {
	return l.fans[0].path.kind == "vxlan" && f.counted["FragFails of host 1"] > 0
}

// sizes are of whole IPv4 packets, around every edge: the MTU, and what it is with
// the headers of either tunnel.
func sizes(mtu int) []int {
	var all []int
	for _, over := range []int{-1, 0, 1, 2, 8, 19, 20, 21, 28, 42, 49, 50, 51, 60} {
		all = append(all, mtu+over)
	}
	return all
}

// No packet vanishes: it arrives, or the sender is told, or it is in a counter.
func TestMatrix(t *testing.T) {
	for _, containers := range []struct {
		name string
		o    bed.ContainerOptions
	}{
		{"containers with the fan's MTU", bed.ContainerOptions{}},
		{"containers with an MTU of 1500", bed.ContainerOptions{MTU: 1500}},
		{"containers with the overlay's mask and an MTU of 1500", bed.ContainerOptions{Bits: 8, MTU: 1500}},
	} {
		t.Run(containers.name, func(t *testing.T) {
			eachPath(t, func(t *testing.T, p path) {
				b := bed.New(t, bed.Options{NoIPv6: true})
				fans := upAll(t, b, p, overlay)
				l := newLane(t, fans, containers.o)
				mtu := fans[0].mtu(b)
				l.sizes(t, mtu)
				l.segments(t, mtu)
				l.fragments(t)
				l.timesToLive(t)
				l.marks(t)
			})
		})
	}
}

// A container that was given a larger MTU than the one that it talks to: by vxlan
// a bridge may drop, without a word, what its port does not take. The sender's host
// has counted it.
func TestMatrixOfUnequalContainers(t *testing.T) {
	eachPath(t, func(t *testing.T, p path) {
		b := bed.New(t, bed.Options{NoIPv6: true})
		fans := upAll(t, b, p, overlay)
		l := laneBetween(t, fans, fans[0].container(t, bed.ContainerOptions{MTU: 1500}), fans[1].container(t, bed.ContainerOptions{}))
		mtu := fans[0].mtu(b)
		for _, size := range sizes(mtu) {
			f := l.expect(t, fmt.Sprintf("%d bytes (MTU%+d)", size, size-mtu), bed.Datagram{Payload: bed.Marked(l.sent, size-28)}, 1)
			if f.arrived != 1 && (size <= mtu || p.kind == "ipip") {
				t.Errorf("%d bytes (MTU%+d): %s", size, size-mtu, f)
			}
		}
	})
}

// expect fails the test if some of the want datagrams vanished.
func (l *lane) expect(t *testing.T, what string, d bed.Datagram, want int) fate {
	t.Helper()
	f := l.send(t, d, want)
	if f.vanished(want) {
		t.Errorf("VANISHED: %s: %d of %d arrived, the sender was told nothing, no counter grew", what, f.arrived, want)
	}
	return f
}

func (l *lane) sizes(t *testing.T, mtu int) {
	t.Helper()
	for _, df := range []bool{false, true} {
		for _, size := range sizes(mtu) {
			what := fmt.Sprintf("%d bytes (MTU%+d), DF %t", size, size-mtu, df)
			f := l.expect(t, what, bed.Datagram{Payload: bed.Marked(l.sent, size-28), DF: df}, 1)
			switch {
			case size <= mtu && f.arrived != 1:
				t.Errorf("%s fits, but: %s", what, f)
			case size > mtu && df && f.arrived > 0:
				t.Errorf("%s has arrived: longer than the MTU and not to be fragmented", what)
			case size > mtu && df && f.refused == nil && !tooBig(f, mtu):
				t.Errorf("%s: the sender should get \"fragmentation needed\" with MTU %d, but: %s", what, mtu, f)
			case size > mtu && !df && f.arrived != 1 && !l.firewallCounted(f):
				t.Errorf("%s may be fragmented, but: %s", what, f)
			}
		}
	}
}

// tooBig says whether the sender was told the MTU (RFC 1191).
func tooBig(f fate, mtu int) bool {
	return f.icmp != nil && f.icmp.ICMP.Type == wire.ICMPUnreachable &&
		f.icmp.ICMP.Code == wire.CodeFragmentationNeeded && f.icmp.ICMP.NextHopMTU() == mtu
}

// segments: one write that the kernel cuts up as late as it can (QUIC).
func (l *lane) segments(t *testing.T, mtu int) {
	t.Helper()
	for _, size := range []int{100, mtu - 29, mtu - 28, mtu - 27, mtu + 22} {
		const count = 10
		what := fmt.Sprintf("UDP GSO, %d segments of %d bytes (MTU%+d as packets)", count, size, size+28-mtu)
		f := l.expect(t, what, bed.Datagram{Payload: bed.Marked(l.sent, count*size), Segment: size}, count)
		if size+28 <= mtu && f.arrived != count {
			t.Errorf("%s fit, but: %s", what, f)
		}
	}
}

func (l *lane) fragments(t *testing.T) {
	t.Helper()
	for _, size := range []int{3000, 4000, 20000, 60000} {
		what := fmt.Sprintf("a datagram of %d bytes in IP fragments", size)
		if f := l.expect(t, what, bed.Datagram{Payload: bed.Marked(l.sent, size)}, 1); f.arrived != 1 {
			t.Errorf("%s: %s", what, f)
		}
	}
	for _, order := range [][]int{{0, 1, 2}, {2, 1, 0}, {1, 2, 0}} {
		if !l.byHand(t, order) {
			t.Errorf("VANISHED: three fragments in the order %v", order)
		}
	}
}

// byHand sends three fragments in an order of its own.
func (l *lane) byHand(t *testing.T, order []int) bool {
	t.Helper()
	l.sent++
	const part = 1000
	payload := bed.Marked(l.sent, 3*part-8)
	whole := wire.UDP{Src: 7, Dst: l.boxes.At.Port()}.Build(payload)
	l.boxes.Take()
	sender := l.from.IPSender(t, l.to.Addr)
	for _, i := range order {
		sender.Must(t, wire.IPv4{Src: l.from.Addr, Dst: l.to.Addr, Proto: wire.ProtoUDP, ID: uint16(l.sent), MF: i < 2,
			Offset: uint16(i * part)}.Build(whole[i*part:(i+1)*part]))
	}
	return eventually(func() bool {
		return slices.ContainsFunc(l.boxes.Take(), func(letter []byte) bool { return string(letter) == string(payload) })
	})
}

// timesToLive: who routes takes one away and says so when none is left; the
// packet arrives otherwise.
func (l *lane) timesToLive(t *testing.T) {
	t.Helper()
	for _, ttl := range []int{1, 2, 3, 64} {
		what := fmt.Sprintf("TTL %d", ttl)
		f := l.expect(t, what, bed.Datagram{Payload: bed.Marked(l.sent, 100), TTL: ttl}, 1)
		if f.arrived == 0 && (f.icmp == nil || f.icmp.ICMP.Type != wire.ICMPTimeExceeded) {
			t.Errorf("%s: %s; the sender should get \"time exceeded\"", what, f)
		}
		if ttl >= 3 && f.arrived != 1 { // two hosts route at most
			t.Errorf("%s: %s", what, f)
		}
	}
}

func (l *lane) marks(t *testing.T) {
	t.Helper()
	for _, tos := range []int{wire.NotECT, wire.ECT0, wire.ECT1, wire.CE, 0xb8, 0xb8 | wire.CE} {
		for _, size := range []int{100, 3000} {
			what := fmt.Sprintf("TOS %#02x, %d bytes", tos, size)
			if f := l.expect(t, what, bed.Datagram{Payload: bed.Marked(l.sent, size), TOS: tos}, 1); f.arrived != 1 {
				t.Errorf("%s: %s", what, f)
			}
		}
	}
}
