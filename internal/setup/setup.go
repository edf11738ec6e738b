// Package setup gives a host fan networking as a whole, and takes all of it away
// again: the line in the list of fans, the fan, Docker, and LXD or Incus. Each change
// is a plan, which undoes itself where a step fails, and each way back is found from
// what is there, not from notes of what was done.
package setup

import (
	"context"

	"github.com/fanctl/fanctl/fan"
	"github.com/fanctl/fanctl/internal/docker"
	"github.com/fanctl/fanctl/internal/host"
	"github.com/fanctl/fanctl/internal/lxd"
	"github.com/fanctl/fanctl/internal/plan"
)

// Setup is a host whose fan networking is looked at and changed.
type Setup struct {
	Host *host.Host
	// List is the path of the list of fans.
	List   string
	Docker docker.Options
	LXD    lxd.Options
	// Observe is told of each step, nil for nobody. Its index counts the steps of the
	// whole run, those inside of bringing a fan up or down included.
	Observe plan.Observer
	// Announce is told of a step before it is done, nil for nobody.
	Announce func(plan.Step)

	steps int
	open  []interface{ Close() }
}

// Close lets go of the engines. Plans are not good any more after it.
func (s *Setup) Close() {
	for _, engine := range s.open {
		engine.Close()
	}
	s.open = nil
}

// Change is a change to the host, and what somebody should know of it before.
type Change struct {
	Fan  fan.Fan
	Plan plan.Plan
	// Effects say what else happens: which files change, what restarts, which
	// containers stop.
	Effects []string
	Notes   []string
	// Stays says that a fan that is taken away was there before, and is not gone but as
	// it was.
	Stays bool
}

// With adds what comes after.
func (c Change) With(next Change) Change {
	c.Plan = append(c.Plan, next.Plan...)
	c.Effects = append(c.Effects, next.Effects...)
	c.Notes = append(c.Notes, next.Notes...)
	c.Stays = c.Stays || next.Stays
	return c
}

// Apply makes the change; where a step fails, or ctx ends between two of them, what
// was done is undone.
func (s *Setup) Apply(ctx context.Context, c Change) error {
	s.Host.Observe = s.count
	return s.announced(c.Plan).Apply(func(index int, step plan.Step) error {
		if err := s.count(index, step); err != nil {
			return err
		}
		return context.Cause(ctx)
	})
}

// announced returns a plan that says what it is about to do.
func (s *Setup) announced(p plan.Plan) plan.Plan {
	if s.Announce == nil {
		return p
	}
	var told plan.Plan
	for _, step := range p {
		do := step.Do
		step.Do = func() error {
			s.Announce(step)
			return do()
		}
		told = append(told, step)
	}
	return told
}

func (s *Setup) count(_ int, step plan.Step) error {
	s.steps++
	if s.Observe == nil {
		return nil
	}
	return s.Observe(s.steps-1, step)
}

// Alone runs a change with no other one of this program beside it.
func (s *Setup) Alone(change func() error) error { return s.Host.Alone("fanatic", change) }
