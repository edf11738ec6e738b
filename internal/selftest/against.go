package selftest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	"github.com/fanctl/fanctl/fan"
	"github.com/fanctl/fanctl/internal/probe"
)

// Against tests with a peer, by its underlay address, that serves. The outcome has
// what was found, also if the peer can't be reached; an error says that the test
// could not be made or was ended.
func (t Test) Against(ctx context.Context, peer netip.Addr) (Outcome, error) {
	t = t.ready()
	if err := t.checkPeer(peer); err != nil {
		return Outcome{}, err
	}
	c, cause, err := t.call(ctx, peer)
	if err != nil {
		return Outcome{}, err
	}
	if cause != nil {
		return t.unreached(peer, cause), nil
	}
	return t.master(ctx, c, peer)
}

// Meet tests with a peer on which somebody starts the same at about this time: the
// host with the lower address calls once, for the peer may serve, and then waits for
// a call; the other calls until it is answered or the time is up.
func (t Test) Meet(ctx context.Context, peer netip.Addr) (Outcome, error) {
	t = t.ready()
	if err := t.checkPeer(peer); err != nil {
		return Outcome{}, err
	}
	if t.Fan.Host.Less(peer) {
		return t.meetLower(ctx, peer)
	}
	e := t.Effort.filled()
	for end, told := time.Now().Add(e.Meeting), false; ; {
		c, cause, err := t.call(ctx, peer)
		if err != nil {
			return Outcome{}, err
		}
		if cause == nil {
			return t.master(ctx, c, peer)
		}
		if time.Now().After(end) {
			return t.unreached(peer, cause), nil
		}
		if !told {
			told = true
			t.Report.Note(t.waiting(peer, e.Meeting))
		}
		select {
		case <-ctx.Done():
			return Outcome{}, context.Cause(ctx)
		case <-time.After(e.Again):
		}
	}
}

func (t Test) waiting(peer netip.Addr, limit time.Duration) string {
	return fmt.Sprintf("waiting for %s, up to %s: start the test there, too, with %s as the remote host", peer, limit, t.Fan.Host)
}

func (t Test) meetLower(ctx context.Context, peer netip.Addr) (Outcome, error) {
	// It listens before it calls: nobody is to miss the other in between.
	s, err := t.listen(ctx, peer)
	if err != nil {
		return Outcome{}, err
	}
	defer s.close()
	c, _, err := t.call(ctx, peer)
	if err != nil {
		return Outcome{}, err
	}
	if c != nil {
		return t.master(ctx, c, peer)
	}
	e := t.Effort.filled()
	t.Report.Note(t.waiting(peer, e.Meeting))
	select {
	case <-ctx.Done():
		return Outcome{}, context.Cause(ctx)
	case done := <-s.ended:
		return done.outcome, done.err
	case <-time.After(e.Meeting):
	}
	// Somebody may have begun in the last moment.
	select {
	case s.turn <- struct{}{}:
	default:
		done := <-s.ended
		return done.outcome, done.err
	}
	return t.unreached(peer, &Cause{Absent, fmt.Sprintf("%s has not called within %s: start the test there, too, or let TCP port %d to %s through the firewall of this host",
		peer, e.Meeting, t.port(), t.Fan.Host)}), nil
}

// checkPeer refuses (fan.ErrUsage) addresses that can't be a peer's.
func (t Test) checkPeer(peer netip.Addr) error {
	m := t.Fan.Mapping
	if owner, ok := m.Host(peer); ok {
		return fan.Usagef("%s is an address of the overlay; give the host's own, %s", peer, owner)
	}
	if err := m.CheckHost(peer); err != nil {
		return err
	}
	if peer == t.Fan.Host {
		return fan.Usagef("%s is this host; give the address of another one in %s", peer, m.Underlay())
	}
	return nil
}

// call opens a control connection. If the peer can't be reached, the cause says why.
func (t Test) call(ctx context.Context, peer netip.Addr) (net.Conn, *Cause, error) {
	e := t.Effort.filled()
	short, cancel := context.WithTimeout(ctx, e.Stall)
	defer cancel()
	c, err := t.Host.Dial(short, t.Fan.Host, netip.AddrPortFrom(peer, t.port()))
	if err == nil {
		return c, nil, nil
	}
	if ctx.Err() != nil {
		return nil, nil, context.Cause(ctx)
	}
	// A ping tells a host that is not there from one that does not let us in.
	pings, pingErr := probe.Ping{Path: probe.Path{Namespace: t.Host, From: t.Fan.Host, To: peer},
		Count: 2, Size: smallPing, Interval: 100 * time.Millisecond, Wait: e.Wait}.Run(ctx)
	if ctx.Err() != nil {
		return nil, nil, context.Cause(ctx)
	}
	if pingErr != nil {
		pings = probe.Answers{}
	}
	return nil, controlCause(peer, t.port(), probe.Reason(err), pings), nil
}

// controlCause says why no control connection can be had.
func controlCause(peer netip.Addr, port uint16, reason string, pings probe.Answers) *Cause {
	serve := fmt.Sprintf("on %s: fanatic test --serve", peer)
	switch {
	case reason == "refused":
		return &Cause{Refused, fmt.Sprintf("nobody listens at %s port %d (connection refused); run %s", peer, port, serve)}
	case reason == "sending not permitted":
		return &Cause{Filtered, fmt.Sprintf("this host's own firewall does not let it call %s port %d; see \"iptables -S OUTPUT\"", peer, port)}
	case pings.Answered > 0:
		return &Cause{Filtered, fmt.Sprintf("%s answers pings, but not at TCP port %d (%s): let that port through its firewall, and run %s", peer, port, reason, serve)}
	case reason == "network unreachable":
		return &Cause{Absent, fmt.Sprintf("there is no route to %s; see \"ip route get %s\"", peer, peer)}
	case pings.Unresolved == peer:
		return &Cause{Absent, fmt.Sprintf("there is no host %s on this network: it does not answer ARP; is the address right, and the host up?", peer)}
	}
	return &Cause{Absent, fmt.Sprintf("%s does not answer, neither at TCP port %d (%s) nor pings%s: is the address right, the host up, and a firewall between?",
		peer, port, reason, said(pings.Refusals))}
}

// unreached reports a peer that there was no test with.
func (t Test) unreached(peer netip.Addr, cause *Cause) Outcome {
	o := Outcome{Name: "host " + t.Label}
	t.endEarly(&o, t.Fan.Host, peer, cause)
	return o
}

// master is the session of the host that has called.
func (t Test) master(ctx context.Context, c net.Conn, peer netip.Addr) (Outcome, error) {
	l := newLine(ctx, c)
	defer l.close()
	n := newNear(t)
	defer n.close()
	slice, _ := t.Fan.Mapping.Slice(peer)
	if err := n.answerTo(ctx, slice); err != nil {
		return Outcome{}, err
	}
	slave, err := t.greet(ctx, l, n.hello, peer)
	var cause *Cause
	if errors.As(err, &cause) {
		return t.unreached(peer, cause), nil
	}
	if err != nil {
		return Outcome{}, err
	}
	// The time that the peer was busy with others does not count.
	ctx, cancel := context.WithTimeoutCause(ctx, maxSession, tooLong(peer))
	defer cancel()
	l.until(ctx)
	n.peer = slave
	o := Outcome{Name: nameOf(n.hello, slave), Peer: slave.peer()}
	control := Result{Test: TestControl, Side: Master, From: t.Fan.Host, To: peer}
	control.Cause = differences(n.hello, slave, slave.Seen)
	control.Pass = control.Cause == nil
	t.Report.Done(control)
	o.add(control)
	if control.Pass {
		err = t.both(ctx, l, n, slave, &o)
	}
	if errors.As(err, &cause) {
		t.endEarly(&o, t.Fan.Host, peer, cause)
		return o, nil
	}
	if err != nil {
		return o, fmt.Errorf("test with %s: %w", peer, err)
	}
	t.Report.Note(Complete(o.Name, o.Score))
	return o, nil
}

// greet says hello and returns the peer's. A *Cause says why there is none.
func (t Test) greet(ctx context.Context, l *line, ours Hello, peer netip.Addr) (Hello, error) {
	e := t.Effort.filled()
	unknown := Hello{Fan: About{Host: peer}}
	if err := l.send(message{Hello: &ours}, e.Stall); err != nil {
		return Hello{}, vanished(ctx, unknown, err)
	}
	// A peer that is busy with others gives up first, and says so.
	end := time.Now().Add(maxSession + 2*greetingTime)
	for within := greetingTime; ; within = time.Until(end) {
		m, err := l.next(within)
		var other otherVersion
		switch {
		case errors.As(err, &other):
			return Hello{}, &Cause{Differs, other.Error()}
		case err != nil:
			return Hello{}, vanished(ctx, unknown, err)
		case m.Wait != "":
			t.Report.Note(m.Wait + "; waiting")
		case m.Refused != "":
			return Hello{}, &Cause{Refused, fmt.Sprintf("%s refuses the test: %s", peer, m.Refused)}
		case m.Hello == nil:
			return Hello{}, fmt.Errorf("%s: %w: a hello was expected", peer, errMessage)
		case m.Hello.Fan.Host != peer:
			return Hello{}, &Cause{Differs, fmt.Sprintf("the fan of the host at %s has the host address %s: run \"fanatic test %s\"", peer, m.Hello.Fan.Host, m.Hello.Fan.Host)}
		default:
			return *m.Hello, nil
		}
	}
}

// both runs the tests, and tells the peer what comes of them.
func (t Test) both(ctx context.Context, l *line, n *near, slave Hello, o *Outcome) error {
	e := t.Effort.filled()
	other := &far{line: l, hello: slave, effort: e}
	p := pair{effort: e, directions: []*direction{{side: Master, from: n, to: other}, {side: Slave, from: other, to: n}}}
	p.report = func(r Result, done bool) error {
		m := message{Start: &r}
		if done {
			m = message{Done: &r}
			t.Report.Done(r)
			o.add(r)
		} else {
			t.Report.Start(r)
		}
		if err := l.send(m, e.Stall); err != nil {
			return vanished(ctx, slave, err)
		}
		return nil
	}
	p.hosts = func(ctx context.Context, side string) (probe.Rate, error) {
		short, cancel := context.WithTimeout(ctx, e.Stall)
		defer cancel()
		c, err := t.Host.Dial(short, t.Fan.Host, netip.AddrPortFrom(slave.Fan.Host, t.port()))
		if err != nil {
			return probe.Rate{}, err
		}
		defer c.Close()
		if err := write(c, message{Ticket: slave.Ticket}); err != nil {
			return probe.Rate{}, err
		}
		if side == Slave {
			return probe.Pull(ctx, c, e.Throughput, e.Stall)
		}
		return probe.Push(ctx, c, e.Throughput, e.Stall)
	}
	if err := p.run(ctx); err != nil {
		return err
	}
	if err := l.send(message{Bye: &o.Score}, e.Stall); err != nil {
		return vanished(ctx, slave, err)
	}
	return nil
}
