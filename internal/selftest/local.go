package selftest

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/fanctl/fanctl/internal/probe"
)

// local is a container against its host.
type local struct {
	test   Test
	effort Effort
	host   netip.Addr // the bridge's address
	port   uint16     // at which the container answers transfers
	// known is the first cause that was found: of what fails later without evidence
	// of its own, it is the likely one, too.
	known *Cause
}

// Local tests between the host, which is the master, and the container, in both
// directions. The outcome has what was found; an error says that the test could not
// be made or was ended.
func (t Test) Local(ctx context.Context) (Outcome, error) {
	t = t.ready()
	o := Outcome{Name: "local " + t.Label}
	l := &local{test: t, effort: t.Effort.filled(), host: t.Fan.BridgeAddr()}
	responder, err := probe.Respond(ctx, t.Container, t.Addr, netip.PrefixFrom(l.host, 32), l.effort.limits())
	if err != nil {
		return o, fmt.Errorf("answer at %s of the test container: %w", t.Addr, err)
	}
	defer responder.Close()
	l.port = responder.Port()
	for _, test := range []string{TestPing, TestShort, TestLong} {
		for _, side := range []string{Master, Slave} {
			r := Result{Test: test, Side: side, From: l.host, To: t.Addr}
			if side == Slave {
				r.From, r.To = r.To, r.From
			}
			t.Report.Start(r)
			if err := l.run(ctx, &r); err != nil {
				return o, err
			}
			t.Report.Done(r)
			o.add(r)
		}
	}
	return o, nil
}

// path is the way on which a side sends.
func (l *local) path(side string) probe.Path {
	if side == Slave {
		return probe.Path{Namespace: l.test.Container, From: l.test.Addr, To: l.host}
	}
	return probe.Path{Namespace: l.test.Host, From: l.host, To: l.test.Addr}
}

func (l *local) ping(ctx context.Context, side string) (probe.Answers, error) {
	return probe.Ping{Path: l.path(side), Count: l.effort.Pings, Size: smallPing, Interval: 10 * time.Millisecond, Wait: l.effort.Wait}.Run(ctx)
}

// run does one test and, if it fails, once more with an eye on the firewall.
func (l *local) run(ctx context.Context, r *Result) error {
	before, _ := lookDrops(l.test.Host) // without the rules a cause is less certain, but there is one
	var pings probe.Answers
	var failure error
	var err error
	switch r.Test {
	case TestPing:
		pings, err = l.ping(ctx, r.Side)
		r.Sent, r.Answered = pings.Sent, pings.Answered
		r.Pass = pings.Answered == pings.Sent
	case TestShort:
		r.Bytes = l.effort.Short
		failure = l.data(ctx, *r)
		r.Pass = failure == nil
	case TestLong:
		r.Bytes = l.effort.Long
		failure = l.data(ctx, *r)
		r.Pass = failure == nil
	}
	var finding *probe.Failure
	switch {
	case err != nil:
		return err
	case r.Pass:
		return nil
	case failure != nil && !errors.As(failure, &finding):
		return failure
	}
	if r.Test != TestPing {
		if pings, err = l.ping(ctx, r.Side); err != nil {
			return err
		}
	}
	after, _ := lookDrops(l.test.Host)
	seen := localEvidence{host: l.host, container: l.test.Addr, bridge: l.test.Fan.Bridge, side: r.Side,
		pings: pings, failure: finding, drops: risen(before, after), mtu: int(l.test.Fan.MTU)}
	if r.Test == TestLong && pings.Answered > 0 {
		passed, err := probe.Size{Path: l.path(r.Side), Want: seen.mtu, Wait: l.effort.Wait}.Run(ctx)
		if err != nil {
			return err
		}
		seen.passed = &passed
	}
	r.Cause = seen.cause()
	if r.Cause.Kind == Unknown && l.known != nil {
		r.Cause = l.known
	}
	if l.known == nil {
		l.known = r.Cause
	}
	return nil
}

// data sends from one side. It is always the host that opens the connection: what
// the host offers to containers is for its own firewall to say, and a fan is no
// worse for a host that offers nothing.
func (l *local) data(ctx context.Context, r Result) error {
	transfer := probe.Transfer{Path: l.path(Master), Port: l.port, Stall: l.effort.Stall}
	switch {
	case r.Side == Slave:
		return transfer.Fetch(ctx, r.Bytes)
	case r.Test == TestShort:
		return transfer.Echo(ctx, r.Bytes)
	}
	return transfer.Send(ctx, r.Bytes)
}

// localEvidence is what is known of a test between host and container that failed.
type localEvidence struct {
	host, container netip.Addr
	bridge, side    string
	pings           probe.Answers
	failure         *probe.Failure // of data
	drops           []Drop
	passed          *probe.Passed // the longest packet, of a long data test
	mtu             int
}

// cause says why.
func (e localEvidence) cause() *Cause {
	what := "no answer"
	if e.failure != nil {
		what = e.failure.Error()
	}
	switch {
	case len(e.drops) > 0:
		d := e.drops[0]
		return &Cause{Firewall, fmt.Sprintf("%s: rule %q of table %s of this host's firewall took %d packets; delete it, or let %s pass before it",
			what, d.Rule, d.Table, d.Packets, e.bridge)}
	case e.pings.Unresolved == e.container:
		return &Cause{Container, fmt.Sprintf("%s: the container does not answer ARP: is its interface up, with the address %s, and on the bridge %s?", what, e.container, e.bridge)}
	case e.pings.Unresolved.IsValid():
		return &Cause{Container, fmt.Sprintf("%s: %s does not answer the container's ARP: is the container's interface on the bridge %s, and the bridge up? See \"fanctl show\"",
			what, e.pings.Unresolved, e.bridge)}
	case e.passed != nil && e.passed.Largest < e.mtu:
		return &Cause{TooBig, fmt.Sprintf("%s: packets of %d bytes, the fan's MTU, do not pass; the largest that do have %d%s; give the container's interface the MTU %d",
			what, e.mtu, e.passed.Largest, said(e.passed.Refusals), e.mtu)}
	case len(e.pings.Refusals) > 0:
		return &Cause{Container, what + said(e.pings.Refusals) + "; see the routes and the firewall inside the container's network"}
	case e.pings.Answered > 0 && e.pings.Answered < e.pings.Sent:
		return &Cause{Loss, fmt.Sprintf("%d of %d packets between host and container are lost; is the host overloaded?", e.pings.Sent-e.pings.Answered, e.pings.Sent)}
	}
	return &Cause{Unknown, what + "; see the host's firewall (\"nft list ruleset\"), and whether something else has the address " + e.container.String()}
}
