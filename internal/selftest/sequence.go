package selftest

import (
	"context"
	"fmt"

	"github.com/fanctl/fanctl/fan"
	"github.com/fanctl/fanctl/internal/probe"
)

// direction is the tests from one end's container to the other's.
type direction struct {
	side     string
	from, to end
	// found is the cause of a failed ping test, which is that of what follows, too.
	found *Cause
	size  *probe.Passed // the result of the MTU test, once it is known
	tcp   bool          // data has passed
}

// pair is the tests of two hosts, from the master's point of view.
type pair struct {
	effort     Effort
	directions []*direction
	// report is told of every test that begins, with no verdict, and that is done.
	report func(r Result, done bool) error
	// hosts measures the throughput between the hosts, without the fan.
	hosts func(ctx context.Context, side string) (probe.Rate, error)
}

// run does all tests, each in both directions. An error says that they could not go
// on.
func (p pair) run(ctx context.Context) error {
	tests := []struct {
		name string
		do   func(context.Context, *direction, *Result) error
	}{
		{TestPing, p.ping}, {TestShort, p.short}, {TestMTU, p.mtu}, {TestLong, p.long}, {TestThroughput, p.throughput},
	}
	for _, test := range tests {
		for _, d := range p.directions {
			if (test.name == TestLong || test.name == TestThroughput || test.name == TestMTU) && !p.connected() {
				continue // nothing new would come of it, but a long wait
			}
			r := Result{Test: test.name, Side: d.side, From: d.from.about().Container, To: d.to.about().Container}
			if err := p.report(r, false); err != nil {
				return err
			}
			if err := test.do(ctx, d, &r); err != nil {
				return err
			}
			if err := p.report(r, true); err != nil {
				return err
			}
		}
	}
	return nil
}

// connected says whether data has passed in both directions.
func (p pair) connected() bool {
	for _, d := range p.directions {
		if !d.tcp {
			return false
		}
	}
	return true
}

func (p pair) ping(ctx context.Context, d *direction, r *Result) error {
	a, err := d.from.do(ctx, ask{Do: doPing, Count: p.effort.Pings})
	if err != nil {
		return err
	}
	r.Sent, r.Answered = a.Pings.Sent, a.Pings.Answered
	if r.Answered == r.Sent {
		r.Pass = true
		return nil
	}
	f, err := trace(ctx, d)
	if err != nil {
		return err
	}
	if f.pings.Answered == f.pings.Sent {
		// It has passed by now: what was lost was lost on the way.
		f.pings = *a.Pings
		if f.pings.Answered == 0 {
			r.Cause = &Cause{Loss, fmt.Sprintf("none of %d packets was answered at first, but %d of %d a moment later", r.Sent, burst, burst)}
			return nil
		}
	}
	r.Cause = f.cause()
	d.found = r.Cause
	return nil
}

// resolving is how long a kernel takes, in milliseconds, to find out that ARP gets no
// answer (three requests, a second apart) and to say so.
const resolving = 3500

// trace sends a burst of pings and has both hosts say what they saw of it.
func trace(ctx context.Context, d *direction) (flow, error) {
	a := ask{Do: doPing, Count: burst}
	if d.from.about().Fan.Type == fan.VXLAN.String() {
		a.Millis = resolving
	}
	var pings answer
	from, to, err := witnessed(ctx, d, func() (err error) {
		pings, err = d.from.do(ctx, a)
		return err
	})
	if err != nil {
		return flow{}, err
	}
	return flow{from: from, to: to, pings: *pings.Pings}, nil
}

// witnessed does something and returns what has changed on both hosts meanwhile.
func witnessed(ctx context.Context, d *direction, do func() error) (from, to place, err error) {
	for _, e := range []end{d.from, d.to} {
		if _, err := e.do(ctx, ask{Do: doMark}); err != nil {
			return place{}, place{}, err
		}
	}
	if err := do(); err != nil {
		return place{}, place{}, err
	}
	from.About, to.About = d.from.about().Fan, d.to.about().Fan
	a, err := d.from.do(ctx, ask{Do: doRead})
	if err != nil {
		return place{}, place{}, err
	}
	from.Facts = *a.Facts
	if a, err = d.to.do(ctx, ask{Do: doRead}); err != nil {
		return place{}, place{}, err
	}
	to.Facts = *a.Facts
	return from, to, nil
}

func (p pair) short(ctx context.Context, d *direction, r *Result) error {
	r.Bytes = p.effort.Short
	a, err := p.transfer(ctx, d, r, ask{Do: doShort, Bytes: r.Bytes})
	d.tcp = err == nil && a.Failure == nil
	return err
}

func (p pair) long(ctx context.Context, d *direction, r *Result) error {
	r.Bytes = p.effort.Long
	_, err := p.transfer(ctx, d, r, ask{Do: doLong, Bytes: r.Bytes})
	return err
}

// transfer tests data; what fails gets its cause.
func (p pair) transfer(ctx context.Context, d *direction, r *Result, what ask) (answer, error) {
	a, err := d.from.do(ctx, what)
	if err != nil {
		return a, err
	}
	if a.Failure == nil {
		r.Pass = true
		return a, nil
	}
	r.Cause, err = p.whyNot(ctx, d, what, a.Failure)
	return a, err
}

// whyNot finds the cause of data that does not pass: that of the pings if those
// don't either, that packets are too long, or a firewall.
func (p pair) whyNot(ctx context.Context, d *direction, what ask, f *probe.Failure) (*Cause, error) {
	if d.found != nil {
		return d.found, nil
	}
	other := p.opposite(d)
	if other.found != nil {
		return other.found, nil // TCP needs both
	}
	if what.Do != doShort {
		for _, way := range []*direction{d, other} {
			if c, err := way.narrow(ctx); c != nil || err != nil {
				return c, err
			}
		}
	}
	from, to, err := witnessed(ctx, d, func() error {
		_, err := d.from.do(ctx, ask{Do: doShort, Bytes: p.effort.Short})
		return err
	})
	if err != nil {
		return nil, err
	}
	return transferCause(f, from, to), nil
}

func (p pair) opposite(d *direction) *direction {
	for _, o := range p.directions {
		if o != d {
			return o
		}
	}
	return d
}

// narrow returns the cause if packets of the fan's MTU don't pass.
func (d *direction) narrow(ctx context.Context) (*Cause, error) {
	from, to := d.from.about().Fan, d.to.about().Fan
	if d.size == nil {
		a, err := d.from.do(ctx, ask{Do: doSize})
		if err != nil {
			return nil, err
		}
		d.size = a.Passed
	}
	if d.size.Largest >= from.MTU {
		return nil, nil
	}
	return tooBig(from, to, *d.size), nil
}

func (p pair) mtu(ctx context.Context, d *direction, r *Result) error {
	cause, err := d.narrow(ctx)
	if err != nil {
		return err
	}
	r.Bytes, r.Largest = d.from.about().Fan.MTU, d.size.Largest
	r.Pass, r.Cause = cause == nil, cause
	return nil
}

func (p pair) throughput(ctx context.Context, d *direction, r *Result) error {
	a, err := p.transfer(ctx, d, r, ask{Do: doThroughput, Millis: int(p.effort.Throughput.Milliseconds())})
	if err != nil || a.Failure != nil {
		return err
	}
	r.Gbit = a.Rate.Gbit()
	hosts, err := p.hosts(ctx, d.side)
	if err == nil {
		r.HostGbit = hosts.Gbit()
	}
	return ctx.Err() // without the hosts' figure the containers' stands alone
}
