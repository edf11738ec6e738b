package selftest

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/fanctl/fanctl/internal/probe"
	"github.com/fanctl/fanctl/tunnel"
)

// end is one of the two hosts of a test: this one, or the one behind the control
// connection.
type end interface {
	about() Hello
	// do does what is asked, between the end's container and the other's. An error
	// says that nothing could be tested; a finding is a probe.Failure.
	do(ctx context.Context, a ask) (answer, error)
}

// near is the end of this process.
type near struct {
	test   Test
	effort Effort
	hello  Hello
	peer   Hello // whose container is tested against

	responder *probe.Responder
	marked    *mark
}

// mark is what there was when something began.
type mark struct {
	counters *tunnel.Counters
	drops    []Drop
	watch    *probe.Watcher
}

// newNear makes this host's end.
func newNear(t Test) *near {
	return &near{test: t, effort: t.Effort.filled(), hello: t.hello()}
}

// answerTo begins to answer at the container to those of a host's slice.
func (n *near) answerTo(ctx context.Context, slice netip.Prefix) error {
	r, err := probe.Respond(ctx, n.test.Container, n.test.Addr, slice, n.effort.limits())
	if err != nil {
		return fmt.Errorf("answer at %s of the test container: %w", n.test.Addr, err)
	}
	n.responder, n.hello.Data = r, r.Port()
	return nil
}

func (n *near) close() {
	n.unmark()
	if n.responder != nil {
		n.responder.Close()
	}
}

func (n *near) about() Hello { return n.hello }

func (n *near) path() probe.Path {
	return probe.Path{Namespace: n.test.Container, From: n.test.Addr, To: n.peer.Container}
}

func (n *near) do(ctx context.Context, a ask) (answer, error) {
	transfer := probe.Transfer{Path: n.path(), Port: n.peer.Data, Stall: n.effort.Stall}
	switch a.Do {
	case doPing:
		wait := max(n.effort.Wait, time.Duration(min(a.Millis, maxWait))*time.Millisecond)
		pings, err := probe.Ping{Path: n.path(), Count: clamp(a.Count, maxPings), Size: smallPing, Interval: 10 * time.Millisecond, Wait: wait}.Run(ctx)
		return answer{Pings: &pings}, err
	case doShort:
		return finding(transfer.Echo(ctx, clamp(a.Bytes, maxBytes/10)))
	case doLong:
		return finding(transfer.Send(ctx, clamp(a.Bytes, maxBytes)))
	case doThroughput:
		d := time.Duration(clamp(a.Millis, int(maxThroughput.Milliseconds()))) * time.Millisecond
		rate, err := transfer.Throughput(ctx, d)
		found, err := finding(err)
		found.Rate = &rate
		return found, err
	case doSize:
		passed, err := probe.Size{Path: n.path(), Want: int(n.test.Fan.MTU), Wait: n.effort.Wait}.Run(ctx)
		return answer{Passed: &passed}, err
	case doMark:
		return answer{}, n.mark(ctx)
	case doRead:
		facts, err := n.read()
		return answer{Facts: &facts}, err
	}
	return answer{}, fmt.Errorf("%w: nobody here can do %q", errMessage, a.Do)
}

// maxWait is how long a peer can have answers to pings waited for, in milliseconds.
const maxWait = 10_000

// smallPing is the length of a packet that passes on every way, in bytes.
const smallPing = 84

func clamp(n, most int) int { return max(1, min(n, most)) }

// finding makes of a failed transfer what was found.
func finding(err error) (answer, error) {
	var f *probe.Failure
	if errors.As(err, &f) {
		return answer{Failure: f}, nil
	}
	return answer{}, err
}

// mark remembers what the counters say, and begins to watch for echo requests.
func (n *near) mark(ctx context.Context) error {
	n.unmark()
	m := &mark{counters: n.counters()}
	var err error
	if m.drops, err = lookDrops(n.test.Host); err != nil {
		m.drops = nil // the rules are evidence that a cause can be named without
	}
	if m.watch, err = probe.Watch(ctx, n.path()); err != nil {
		return fmt.Errorf("watch %s: %w", n.test.Addr, err)
	}
	n.marked = m
	return nil
}

func (n *near) unmark() {
	if n.marked != nil {
		n.marked.watch.Close()
		n.marked = nil
	}
}

// counters returns the fan's, or nil if they can't be read.
func (n *near) counters() *tunnel.Counters {
	if n.test.Counters == nil {
		return nil
	}
	c, err := n.test.Counters()
	if err != nil {
		return nil
	}
	return &c
}

// read returns what has changed since mark.
func (n *near) read() (Facts, error) {
	if n.marked == nil {
		return Facts{}, fmt.Errorf("%w: nothing was marked", errMessage)
	}
	m := n.marked
	facts := Facts{Seen: m.watch.Seen()}
	if now := n.counters(); now != nil && m.counters != nil {
		facts.Counters = since(*m.counters, *now)
	}
	if drops, err := lookDrops(n.test.Host); err == nil {
		facts.Drops = risen(m.drops, drops)
	}
	n.unmark()
	return facts, nil
}

// since returns by how much counters have risen; those of a fan that was brought up
// anew in between began again.
func since(before, after tunnel.Counters) *tunnel.Counters {
	rise := func(before, after uint64) uint64 {
		if after < before {
			return after
		}
		return after - before
	}
	return &tunnel.Counters{
		TxPackets: rise(before.TxPackets, after.TxPackets), TxBytes: rise(before.TxBytes, after.TxBytes),
		RxPackets: rise(before.RxPackets, after.RxPackets), RxBytes: rise(before.RxBytes, after.RxBytes),
		Spoofed: rise(before.Spoofed, after.Spoofed), NotOurs: rise(before.NotOurs, after.NotOurs),
		Malformed: rise(before.Malformed, after.Malformed), TooBig: rise(before.TooBig, after.TooBig),
		TTL: rise(before.TTL, after.TTL), ECN: rise(before.ECN, after.ECN),
		Fragments: rise(before.Fragments, after.Fragments), NoRoute: rise(before.NoRoute, after.NoRoute),
		Kept: rise(before.Kept, after.Kept),
	}
}
