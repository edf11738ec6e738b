package setup

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/fanctl/fanctl/fan"
	"github.com/fanctl/fanctl/internal/docker"
	"github.com/fanctl/fanctl/internal/lxd"
	"github.com/fanctl/fanctl/internal/plan"
)

// errAbsent says that there is no Docker to wire.
var errAbsent = errors.New("there is no Docker here; install it first, or leave it out")

// HasDocker says whether Docker is on this host, and what keeps it from being used; where
// it is not, the error is another Docker that was found, if any.
func (s *Setup) HasDocker(ctx context.Context) (bool, error) {
	d, err := docker.Find(ctx, s.Docker)
	if errors.Is(err, docker.ErrAbsent) {
		if err == docker.ErrAbsent { //nolint:errorlint // nothing is said beside it
			err = nil
		}
		return false, err
	}
	if err != nil {
		return true, err
	}
	d.Close()
	return true, nil
}

// HasLXD returns the names of those of LXD and Incus that are on this host. The error
// is what keeps all of them from being used.
func (s *Setup) HasLXD(ctx context.Context) ([]string, error) {
	var names []string
	unusable, err := s.eachLXD(ctx, func(server *lxd.Server) error {
		names = append(names, server.Kind().String())
		return nil
	})
	if len(names) == 0 && err == nil {
		err = unusable
	}
	return names, err
}

// eachLXD runs do for LXD and Incus, as far as they are here and can be used; unusable
// says what can't.
func (s *Setup) eachLXD(ctx context.Context, do func(*lxd.Server) error) (unusable, err error) {
	servers, unusable := lxd.Find(ctx, s.LXD)
	for _, server := range servers {
		s.open = append(s.open, server)
		err = errors.Join(err, do(server))
	}
	return unusable, err
}

// openDocker finds Docker, whose steps are good until Close.
func (s *Setup) openDocker(ctx context.Context) (*docker.Daemon, error) {
	d, err := docker.Find(ctx, s.Docker)
	if err == nil {
		s.open = append(s.open, d)
	}
	return d, err
}

// PlanDocker plans that Docker's containers are on a fan.
func (s *Setup) PlanDocker(ctx context.Context, f fan.Fan, mode docker.Mode) (Change, error) {
	d, err := s.openDocker(ctx)
	if errors.Is(err, docker.ErrAbsent) {
		return Change{}, errAbsent
	}
	if err != nil {
		return Change{}, err
	}
	c, err := d.Plan(ctx, f, mode)
	if err != nil {
		return Change{}, err
	}
	return Change{Fan: f, Plan: c.Plan, Effects: effectsOf(c, f.Bridge, mode), Notes: c.Notes}, nil
}

// PlanDockerAway plans that Docker's containers are not on a fan any more.
func (s *Setup) PlanDockerAway(ctx context.Context, bridge string, force bool) (Change, error) {
	d, err := s.openDocker(ctx)
	var c docker.Change
	switch {
	case errors.Is(err, docker.ErrAbsent):
		return Change{}, nil
	case err != nil:
		// What keeps it from being asked must not keep the fan from going.
		why := err
		if c, err = docker.PlanWhileDown(s.Docker, bridge); err == nil {
			c.Notes = append(c.Notes, fmt.Sprintf("%v; if Docker has the network %s, it keeps that: run this again when it runs", why, bridge))
		}
	default:
		c, err = d.PlanAway(ctx, bridge, force)
	}
	if err != nil {
		return Change{}, err
	}
	return Change{Plan: c.Plan, Effects: effectsOf(c, bridge, docker.Off), Notes: c.Notes}, nil
}

// planDockerLater is PlanDockerAway without a restart: whoever uses the fan goes on.
func (s *Setup) planDockerLater(ctx context.Context, bridge string, force bool) (Change, error) {
	d, err := s.openDocker(ctx)
	if err != nil {
		return s.PlanDockerAway(ctx, bridge, force)
	}
	c, err := d.PlanLater(ctx, bridge)
	return Change{Plan: c.Plan, Effects: effectsOf(c, bridge, docker.Off), Notes: c.Notes}, err
}

func effectsOf(c docker.Change, bridge string, mode docker.Mode) []string {
	var effects []string
	if len(c.Plan) == 0 {
		return nil
	}
	for _, step := range c.Plan {
		if strings.HasPrefix(step.Text, "docker network ") && !strings.HasPrefix(step.Text, "docker network create ") {
			effects = append(effects, "with Docker: "+step.Text)
		}
	}
	if mode == docker.Network {
		effects = append(effects, fmt.Sprintf("Docker gets the network %s, for containers that ask for it: docker run --network %s", bridge, bridge))
	}
	for _, file := range c.Files {
		if strings.HasSuffix(file, "before-fan") {
			continue // what is kept of a file that is named
		}
		effects = append(effects, file+" changes, in nothing but what is the fan's")
	}
	if c.Restart {
		stops := "no container runs"
		if len(c.Stops) > 0 {
			stops = "which stops and starts again " + strings.Join(c.Stops, ", ")
		}
		effects = append(effects, "Docker restarts: "+stops)
	}
	return effects
}

// PlanLXD plans that LXD and Incus, as far as they are here, have a profile for a fan.
// A default profile that is on the fan already stays so.
func (s *Setup) PlanLXD(ctx context.Context, f fan.Fan, defaultProfile bool) (Change, error) {
	change := Change{Fan: f}
	found := false
	unusable, err := s.eachLXD(ctx, func(server *lxd.Server) error {
		found = true
		status, err := server.Status(ctx, f.Bridge)
		if err != nil {
			return err
		}
		p, err := server.Plan(ctx, f, defaultProfile || status.InDefault)
		if len(p) > 0 {
			change.Effects = append(change.Effects, fmt.Sprintf("%s gets the profile %s", server.Kind(), f.Bridge))
		}
		change.Effects = append(change.Effects, remarks(p)...)
		change.Plan = append(change.Plan, p...)
		return err
	})
	switch {
	case err == nil && found && unusable != nil:
		change.Notes = append(change.Notes, unusable.Error())
	case err == nil && !found && unusable != nil:
		err = unusable
	case err == nil && !found:
		err = errors.New("neither LXD nor Incus is installed here; install one first, or leave LXD out")
	}
	if err == nil && !f.DHCP {
		err = fmt.Errorf("%s hands out no addresses, which LXD's containers need; use fanatic enable-fan -u %s -o %s --dhcp", f.Bridge, f.Mapping.Underlay(), f.Mapping.Overlay())
	}
	return change, err
}

// remarks are what the steps of LXD's plans say beside what would be typed: which
// containers lose or change their network card at once.
func remarks(p plan.Plan) (list []string) {
	for _, step := range p {
		if command, remark, found := strings.Cut(step.Text, " # "); found {
			list = append(list, command+": "+remark)
		}
	}
	return list
}

// PlanLXDAway plans that neither LXD nor Incus has a profile for a fan.
func (s *Setup) PlanLXDAway(ctx context.Context, bridge string, force bool) (Change, error) {
	var change Change
	unusable, err := s.eachLXD(ctx, func(server *lxd.Server) error {
		p, err := server.PlanAway(ctx, bridge, force)
		if len(p) > 0 {
			change.Effects = append(change.Effects, fmt.Sprintf("%s loses the profile %s", server.Kind(), bridge))
		}
		change.Effects = append(change.Effects, remarks(p)...)
		change.Plan = append(change.Plan, p...)
		return err
	})
	if unusable != nil {
		change.Notes = append(change.Notes, fmt.Sprintf("%v; if it has the profile %s, it keeps that: run this again when it runs", unusable, bridge))
	}
	return change, err
}

// Status is a fan of this host with what is wired to it.
type Status struct {
	Row
	Docker docker.Status
	// LXD has the names of those of LXD and Incus that have a profile for the fan.
	LXD []string
	// LXDUsers are their instances with it.
	LXDUsers []string
}

// Look returns the fans of this host and what is wired to them. An engine that can't
// be asked is an error beside them.
func (s *Setup) Look(ctx context.Context) ([]Status, error) {
	rows, err := s.fans()
	if err != nil {
		return nil, err
	}
	list := []Status{}
	for _, r := range rows {
		list = append(list, Status{Row: r})
	}
	return list, errors.Join(s.lookDocker(ctx, list), s.lookLXD(ctx, list))
}

func (s *Setup) lookDocker(ctx context.Context, list []Status) error {
	d, err := s.openDocker(ctx)
	if errors.Is(err, docker.ErrAbsent) {
		return nil
	}
	if err != nil {
		return err
	}
	for i := range list {
		if list[i].Docker, err = d.Status(ctx, list[i].Bridge()); err != nil {
			return err
		}
	}
	return nil
}

func (s *Setup) lookLXD(ctx context.Context, list []Status) error {
	return errors.Join(s.eachLXD(ctx, func(server *lxd.Server) error {
		for i := range list {
			status, err := server.Status(ctx, list[i].Bridge())
			if err != nil {
				return err
			}
			if status.Enabled {
				list[i].LXD = append(list[i].LXD, server.Kind().String())
				list[i].LXDUsers = append(list[i].LXDUsers, status.Users...)
			}
		}
		return nil
	}))
}

// InUse says whether something of this host is wired to the fan.
func (s Status) InUse() string {
	var who []string
	if s.Docker.Mode != docker.Off {
		who = append(who, "Docker")
	}
	who = append(who, s.LXD...)
	slices.Sort(who)
	return strings.Join(slices.Compact(who), " and ")
}

// wired returns the bridges that an engine is wired to by us, whether or not there is a
// fan of that bridge. Engines that can't be asked are left out.
func (s *Setup) wired(ctx context.Context) ([]string, error) {
	var bridges []string
	d, err := s.openDocker(ctx)
	switch {
	case errors.Is(err, docker.ErrAbsent):
		err = nil
	case err != nil:
		bridges, err = docker.BridgesWhileDown(s.Docker), nil
	default:
		bridges, err = d.Bridges(ctx)
	}
	_, failed := s.eachLXD(ctx, func(server *lxd.Server) error {
		more, err := server.Bridges(ctx)
		bridges = append(bridges, more...)
		return err
	})
	slices.Sort(bridges)
	return slices.Compact(bridges), errors.Join(err, failed)
}
