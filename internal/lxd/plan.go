package lxd

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/fanctl/fanctl/fan"
	"github.com/fanctl/fanctl/internal/plan"
)

const profiles = "/1.0/profiles"

// Status is what LXD or Incus has of a fan.
type Status struct {
	// Enabled says that the profile is there that puts instances on the fan.
	Enabled bool
	// InDefault says that the default profile does so, too, because we have made it.
	InDefault bool
	// Users are the instances with our profile, sorted, such as "web" or "web (running)".
	// Those that self-tests have made are not among them.
	Users []string
}

// InUseError says that instances have a fan's profile.
type InUseError struct {
	Kind   Kind
	Bridge string // and profile
	Users  []string
}

// Error names the instances.
func (e *InUseError) Error() string {
	return fmt.Sprintf("%s instances have the profile %s: %s; take it off them (%s profile remove INSTANCE %s), or use --force",
		e.Kind, e.Bridge, strings.Join(e.Users, ", "), e.Kind.command(), e.Bridge)
}

// profile reads a profile, who uses it, and the tag of its state. Without one it is nil.
func (s *Server) profile(ctx context.Context, name string) (p *profile, usedBy []string, tag string, err error) {
	var got struct {
		profile
		UsedBy []string `json:"used_by"`
	}
	tag, err = s.call(ctx, request{method: http.MethodGet, path: profiles + "/" + name}, &got)
	if absent(err) {
		return nil, nil, "", nil
	}
	if err != nil {
		return nil, nil, "", fmt.Errorf("%s: look at profile %s: %w", s, name, err)
	}
	return got.clone(), got.UsedBy, tag, nil
}

// look returns what the daemon has of a fan, and who uses which of its profiles.
func (s *Server) look(ctx context.Context, bridge string) (now state, ownUsers, baseUsers []string, err error) {
	now.own, ownUsers, _, err = s.profile(ctx, bridge)
	if err == nil {
		now.base, baseUsers, _, err = s.profile(ctx, defaultName)
	}
	if err == nil && now.base == nil {
		now.base = (&profile{}).clone()
	}
	return now, ownUsers, baseUsers, err
}

// Status returns what the daemon has of the fan with that bridge.
func (s *Server) Status(ctx context.Context, bridge string) (Status, error) {
	now, ownUsers, _, err := s.look(ctx, bridge)
	if err != nil || !now.own.ours() {
		return Status{}, err
	}
	status := Status{Enabled: true}
	if _, kept := now.own.savedText(); kept {
		status.InDefault = now.base.Devices[nic].on(bridge)
	}
	list, err := s.users(ctx, ownUsers)
	status.Users = strangers(list)
	return status, err
}

// strangers names the instances that no self-test has made.
func strangers(list []instance) []string {
	var names []string
	for _, i := range list {
		if !i.test() {
			names = append(names, i.String())
		}
	}
	return names
}

// Bridges returns the bridges for which the daemon has a profile of ours, whether or not
// there are such bridges, sorted.
func (s *Server) Bridges(ctx context.Context) ([]string, error) {
	ours, err := s.ours(ctx)
	return slices.Sorted(maps.Keys(ours)), err
}

// ours returns all profiles of ours by their names.
func (s *Server) ours(ctx context.Context) (map[string]*profile, error) {
	var all []struct {
		profile
		Name string `json:"name"`
	}
	if err := s.get(ctx, profiles, url.Values{"recursion": {"1"}}, &all); err != nil {
		return nil, fmt.Errorf("%s: list profiles: %w", s, err)
	}
	list := map[string]*profile{}
	for _, p := range all {
		if p.ours() {
			list[p.Name] = p.clone()
		}
	}
	return list, nil
}

// Plan returns the steps after which a profile named after the fan's bridge puts instances
// on the fan; with byDefault the default profile does, too, and without it is as it was
// before. No steps are needed where all is so. A profile of that name that is somebody
// else's is refused (fan.ErrUsage). The steps are done even if ctx ends meanwhile.
func (s *Server) Plan(ctx context.Context, f fan.Fan, byDefault bool) (plan.Plan, error) {
	now, _, baseUsers, err := s.look(ctx, f.Bridge)
	if err != nil {
		return nil, err
	}
	if byDefault {
		ours, err := s.ours(ctx)
		if err == nil {
			err = now.elsewhere(f, s.kind, ours)
		}
		if err != nil {
			return nil, err
		}
	}
	changes, err := now.join(f, s.kind, byDefault)
	if err != nil {
		return nil, err
	}
	return s.steps(ctx, changes, baseUsers)
}

// PlanAway returns the steps after which the daemon has nothing of a fan: our profile has
// gone, the default one is as it was before, and so is what a self-test has left that was
// killed. Instances that have our profile are an *InUseError, unless force says that it is
// to be taken off them. The steps are done even if ctx ends meanwhile.
func (s *Server) PlanAway(ctx context.Context, bridge string, force bool) (plan.Plan, error) {
	now, ownUsers, baseUsers, err := s.look(ctx, bridge)
	if err != nil {
		return nil, err
	}
	p, err := s.planTestsAway(ctx, bridge)
	if err != nil {
		return nil, err
	}
	if now.own.ours() {
		list, err := s.users(ctx, ownUsers)
		if err != nil {
			return nil, err
		}
		if names := strangers(list); len(names) > 0 && !force {
			return nil, &InUseError{s.kind, bridge, names}
		}
		p = append(p, s.planOff(ctx, list, bridge)...)
	}
	changes, err := now.leave(bridge)
	if err != nil {
		return nil, err
	}
	steps, err := s.steps(ctx, changes, baseUsers)
	return append(p, steps...), err
}

// planOff takes a profile off instances, those of self-tests aside, which are deleted.
func (s *Server) planOff(ctx context.Context, list []instance, name string) plan.Plan {
	ctx = context.WithoutCancel(ctx)
	var p plan.Plan
	for _, i := range list {
		if i.test() {
			continue
		}
		words := []string{s.kind.command(), "profile", "remove", i.Name, name}
		if i.Project != "" {
			words = append(words, "--project", i.Project)
		}
		p = append(p, plan.Step{
			Text: shell(words),
			Do:   func() error { return s.takeOff(ctx, i, name) },
			Undo: func() error { return s.putBack(ctx, i, name) },
		})
	}
	return p
}

// planTestsAway removes what self-tests on a bridge have left: they hold nothing that
// anybody would want back. Images stay while a test on another bridge may need them.
func (s *Server) planTestsAway(ctx context.Context, bridge string) (plan.Plan, error) {
	made, unused, err := s.tests(ctx)
	if err != nil {
		return nil, err
	}
	ctx = context.WithoutCancel(ctx)
	var p plan.Plan
	for _, i := range made {
		if slices.Contains(i.Profiles, bridge) {
			p = append(p, plan.Step{Text: shell([]string{s.kind.command(), "delete", "--force", i.Name}),
				Do: func() error { return s.Remove(ctx, i.Name) }})
		}
	}
	if len(made) > 0 {
		return p, nil // the last one takes the images with it
	}
	for _, fingerprint := range unused {
		p = append(p, plan.Step{Text: shell([]string{s.kind.command(), "image", "delete", fingerprint}),
			Do: func() error { return s.deleteImage(ctx, fingerprint) }})
	}
	return p, nil
}

// steps are changes as steps. Those of the default profile name whom they affect.
func (s *Server) steps(ctx context.Context, changes []change, baseUsers []string) (plan.Plan, error) {
	var p plan.Plan
	for _, c := range changes {
		if c.name == defaultName {
			names, err := s.affected(ctx, baseUsers, c.from)
			if err != nil {
				return nil, err
			}
			if len(names) > 0 {
				c.note = "at once in " + strings.Join(names, ", ")
			}
		}
		// Half of a change would be worse than a late Ctrl-C.
		ctx := context.WithoutCancel(ctx)
		p = append(p, plan.Step{
			Text: c.text(s.kind.command()),
			Do:   func() error { return s.apply(ctx, c.name, c.from, c.to) },
			Undo: func() error { return s.apply(ctx, c.name, c.to, c.from) },
		})
	}
	return p, nil
}

// apply brings a profile from one state to another; nil is no profile. What does not
// differ between the two is left as it is now.
func (s *Server) apply(ctx context.Context, name string, from, to *profile) error {
	for {
		have, _, tag, err := s.profile(ctx, name)
		if err != nil {
			return err
		}
		switch {
		case have == nil && to == nil:
			return nil
		case have == nil:
			return s.create(ctx, name, to)
		case (from == nil || to == nil) && !have.ours():
			return fmt.Errorf("%s: the profile %s is not fanatic's any more, so it stays", s, name)
		case to == nil:
			_, err := s.call(ctx, request{method: http.MethodDelete, path: profiles + "/" + name}, nil)
			if err != nil && !absent(err) {
				return fmt.Errorf("%s: delete profile %s: %w", s, name, err)
			}
			return nil
		}
		if from == nil {
			from = &profile{}
		}
		err = s.update(ctx, name, tag, have, merge(have, from, to))
		if !changed(err) {
			return err
		} // somebody else was faster: look again
	}
}

func (s *Server) create(ctx context.Context, name string, p *profile) error {
	body := struct {
		profile
		Name string `json:"name"`
	}{*p, name}
	if _, err := s.call(ctx, request{method: http.MethodPost, path: profiles, body: body}, nil); err != nil {
		return fmt.Errorf("%s: create profile %s: %w", s, name, err)
	}
	return nil
}

// update changes a profile that is as the tag says. A daemon keeps the change even if it
// says that it has failed for some instance; then it is taken back.
func (s *Server) update(ctx context.Context, name, tag string, have, want *profile) error {
	if equal(have, want) {
		return nil
	}
	put := func(p *profile, header http.Header) error {
		_, err := s.call(ctx, request{method: http.MethodPut, path: profiles + "/" + name, body: p, header: header}, nil)
		if err != nil {
			return fmt.Errorf("%s: change profile %s: %w", s, name, err)
		}
		return nil
	}
	err := put(want, http.Header{"If-Match": {tag}})
	if err == nil || changed(err) {
		return err
	}
	now, _, _, lookErr := s.profile(ctx, name)
	if lookErr == nil && equal(now, want) {
		return errors.Join(err, put(have, nil))
	}
	return err
}
