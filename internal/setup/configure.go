package setup

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/fanctl/fanctl/fan"
	"github.com/fanctl/fanctl/internal/docker"
	"github.com/fanctl/fanctl/internal/host"
	"github.com/fanctl/fanctl/internal/lxd"
)

// Wish is what a host is to have.
type Wish struct {
	Spec   fan.Spec
	Docker docker.Mode // Off leaves Docker as it is
	LXD    bool        // false leaves LXD and Incus as they are
	// DefaultProfile says that LXD's default profile is to use the fan, too.
	DefaultProfile bool
}

// Plan plans all that a wish takes.
func (s *Setup) Plan(ctx context.Context, w Wish) (Change, error) {
	change, err := s.PlanFan(w.Spec)
	if err != nil {
		return Change{}, err
	}
	if w.LXD {
		profiles, err := s.PlanLXD(ctx, change.Fan, w.DefaultProfile)
		if err != nil {
			return Change{}, err
		}
		change = change.With(profiles)
	}
	if w.Docker != docker.Off {
		engine, err := s.PlanDocker(ctx, change.Fan, w.Docker)
		if err != nil {
			return Change{}, err
		}
		change = change.With(engine)
	}
	return change, nil
}

// planAway plans that a fan goes with all that is wired to it: containers first, then
// what they use.
func (s *Setup) planAway(ctx context.Context, r Row, how Away) (Change, error) {
	change, err := s.planEnginesAway(ctx, r.Bridge(), how)
	if err != nil {
		return Change{}, err
	}
	last, err := s.PlanFanAway(r, how.Force)
	var used *host.InUseError
	if how.NoRestart && errors.As(err, &used) {
		change.Notes = append(change.Notes, err.Error())
		change.Stays = true
		return change, nil
	}
	if err != nil {
		return Change{}, err
	}
	last = change.With(last)
	if r.Fan != nil {
		last.Fan = *r.Fan
	}
	return last, nil
}

func (s *Setup) planEnginesAway(ctx context.Context, bridge string, how Away) (Change, error) {
	plan := s.PlanDockerAway
	if how.NoRestart {
		plan = s.planDockerLater
	}
	change, err := plan(ctx, bridge, how.Force)
	if err != nil {
		return Change{}, err
	}
	profiles, err := s.PlanLXDAway(ctx, bridge, how.Force)
	var used *lxd.InUseError
	if how.NoRestart && errors.As(err, &used) {
		change.Notes = append(change.Notes, err.Error())
		return change, nil
	}
	return change.With(profiles), err
}

// Away is how things are taken away.
type Away struct {
	Force bool // also from containers that use them
	// NoRestart leaves Docker running as it is: it has its settings of before when it
	// starts anew. What is in use is noted and no error.
	NoRestart bool
	DryRun    bool
}

// Deconfigure takes away, one after the other, all that this program has brought: what
// is wired to any bridge of a fan, and the fans that it has listed. What is in use, or
// fails, is left as it is, and the rest goes all the same. report is told of each.
func (s *Setup) Deconfigure(ctx context.Context, how Away, report func(bridge string, c Change, err error)) (found bool, err error) {
	rows, err := s.fans()
	if err != nil {
		return false, err
	}
	wired, err := s.wired(ctx)
	if err != nil {
		return false, err
	}
	if !how.DryRun {
		if err := s.removeLeft(ctx); err != nil {
			return false, err
		}
	}
	var failed []error
	one := func(bridge string, planned func() (Change, error)) {
		c, err := planned()
		if err == nil && len(c.Plan) == 0 {
			return
		}
		if err == nil && !how.DryRun {
			err = s.Apply(ctx, c)
		}
		found = true
		failed = append(failed, err)
		report(bridge, c, err)
	}
	for _, r := range rows {
		wired = slices.DeleteFunc(wired, func(bridge string) bool { return bridge == r.Bridge() })
		one(r.Bridge(), func() (Change, error) {
			if r.Ours {
				return s.planAway(ctx, r, how)
			}
			c, err := s.planEnginesAway(ctx, r.Bridge(), how)
			c.Stays = true // the fan is somebody else's
			return c, err
		})
	}
	for _, bridge := range wired { // of fans that have gone otherwise
		one(bridge, func() (Change, error) { return s.planEnginesAway(ctx, bridge, how) })
	}
	return found, errors.Join(failed...)
}

// notEnabled says that a fan is not up that something is to be wired to.
func notEnabled(spec fan.Spec) error {
	return fmt.Errorf("the fan of %s over %s is not up; use fanatic enable-fan -u %s -o %s first", spec.Overlay, spec.Underlay, spec.Underlay, spec.Overlay)
}

// Up returns the fan that a spec means, which has to be up.
func (s *Setup) Up(spec fan.Spec) (fan.Fan, error) {
	row, there, err := s.Find(spec)
	if err != nil {
		return fan.Fan{}, err
	}
	if !there || row.Fan == nil {
		return fan.Fan{}, notEnabled(spec)
	}
	return *row.Fan, nil
}

// NotWired returns an error if an engine is wired to a fan, which then must not go. An
// engine that can't be asked counts by what it has in its files.
func (s *Setup) NotWired(ctx context.Context, r Row) error {
	list := []Status{{Row: r}}
	err := errors.Join(s.lookDocker(ctx, list), s.lookLXD(ctx, list))
	who := list[0].InUse()
	if err != nil && who == "" && slices.Contains(docker.BridgesWhileDown(s.Docker), r.Bridge()) {
		who = "Docker"
	}
	if who != "" {
		return fmt.Errorf("%s is on %s; use fanatic deconfigure, or disable-docker and disable-lxd first", who, r.Bridge())
	}
	return nil
}

// Mode is the mode in which Docker is on a fan already, Off if it is not.
func (s *Setup) Mode(ctx context.Context, spec fan.Spec) docker.Mode {
	row, there, err := s.Find(spec)
	if err != nil || !there {
		return docker.Off
	}
	list := []Status{{Row: row}}
	if err := s.lookDocker(ctx, list); err != nil {
		return docker.Off
	}
	return list[0].Docker.Mode
}
