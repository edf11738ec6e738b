// Package plan holds a change to the host as a list of steps that print
// themselves as the commands a person would type, run in order, and undo
// themselves in reverse when one of them fails.
package plan

import (
	"errors"
	"fmt"
	"strings"
)

// Step is one change to the host.
type Step struct {
	// Text is the step as a person would type it, e.g. "ip link set fan-250 up".
	Text string
	// Do makes the change.
	Do func() error
	// Undo takes the change back. It is called only after Do succeeded. nil
	// means that there is nothing to take back.
	Undo func() error
}

// String returns the step's text.
func (s Step) String() string { return s.Text }

// name is the step in an error: one line.
func (s Step) name() string {
	first, more, several := strings.Cut(s.Text, "\n")
	if !several {
		return first
	}
	return fmt.Sprintf("%s (and %d more)", first, strings.Count(more, "\n")+1)
}

// Plan is a change to the host: steps in the order in which they are to run.
// An empty plan is a host that already is as it should be.
type Plan []Step

// Observer is told of every step after it was done. An error that it returns
// counts as the step's own, so that tests can make any step fail; the plan then
// undoes what was done, that step included.
type Observer func(index int, s Step) error

// Apply runs the steps in order. When one fails, the steps that were done are
// undone in reverse order and the error says which step failed; what could not
// be undone is added to it.
func (p Plan) Apply(observe Observer) error {
	for i, s := range p {
		if err := s.Do(); err != nil {
			return errors.Join(fmt.Errorf("%s: %w", s.name(), err), p[:i].undo())
		}
		if observe == nil {
			continue
		}
		if err := observe(i, s); err != nil {
			return errors.Join(fmt.Errorf("%s: %w", s.name(), err), p[:i+1].undo())
		}
	}
	return nil
}

// ApplyAll runs every step, goes on past failures and returns them joined. It
// is for taking a fan down: what can be removed is removed, and a second run
// finds only what is left.
func (p Plan) ApplyAll(observe Observer) error {
	var failed []error
	for i, s := range p {
		if err := s.Do(); err != nil {
			failed = append(failed, fmt.Errorf("%s: %w", s.name(), err))
			continue
		}
		if observe == nil {
			continue
		}
		if err := observe(i, s); err != nil {
			return errors.Join(append(failed, fmt.Errorf("%s: %w", s.name(), err))...)
		}
	}
	return errors.Join(failed...)
}

func (p Plan) undo() error {
	var failed []error
	for i := len(p) - 1; i >= 0; i-- {
		if p[i].Undo == nil {
			continue
		}
		if err := p[i].Undo(); err != nil {
			failed = append(failed, fmt.Errorf("undo %s: %w", p[i].name(), err))
		}
	}
	return errors.Join(failed...)
}
