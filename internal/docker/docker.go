// Package docker is the Docker daemon of this host, as far as fans are concerned.
// Containers get to a fan in one of two ways: by a network named after the fan
// bridge, for those that ask for it; or because the fan bridge is the daemon's
// default bridge, for all.
package docker

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"github.com/moby/moby/client"

	"github.com/fanctl/fanctl/fan"
	"github.com/fanctl/fanctl/internal/plan"
)

// Mode is how a fan is Docker's.
type Mode uint8

const (
	// Off is a fan that Docker knows nothing of.
	Off Mode = iota
	// Network is a Docker network with the name of the fan bridge. It needs no
	// restart of the daemon.
	Network
	// Default makes the fan bridge the default bridge of the daemon, so that a plain
	// "docker run" gets a fan address. The daemon is restarted for it.
	Default
)

func modeWords() []string { return []string{"-", "network", "default"} }

// String returns the mode's word; "-" for Off.
func (m Mode) String() string {
	if words := modeWords(); int(m) < len(words) {
		return words[m]
	}
	return fmt.Sprintf("mode %d", uint8(m))
}

// ParseMode reads what String writes. Errors are fan.ErrUsage.
func ParseMode(s string) (Mode, error) {
	for i, word := range modeWords() {
		if s == word {
			return Mode(i), nil
		}
	}
	return Off, fan.Usagef("Docker mode %q: it should be network, default or - for none", s)
}

// label marks our networks; its value is the fan's underlay and overlay.
const label = "fanctl.fan"

// Options say which daemon is meant.
type Options struct {
	// Host is the value of DOCKER_HOST; empty: the usual socket.
	Host string
	// Restart is the program that restarts Docker, and its words; nil: systemctl, or
	// service where there is no systemd.
	Restart []string
	// ConfigFiles are where Docker's configuration may be when the daemon can't be
	// asked; nil: the usual file, and that of the snap.
	ConfigFiles []string
}

// Daemon is the running Docker daemon of this host's network namespace.
type Daemon struct {
	client  *client.Client
	socket  string
	restart []string
	version string
}

// Close ends the connection to the daemon.
func (d *Daemon) Close() { _ = d.client.Close() }

// Version returns the daemon's version, such as "28.5.2".
func (d *Daemon) Version() string { return d.version }

// Change is what is to be done to bring Docker where it should be.
type Change struct {
	Plan plan.Plan
	// Files are those that change.
	Files []string
	// Restart says that the daemon is restarted.
	Restart bool
	// Stops names the running containers that the restart stops. They are started
	// again, but for those that were started with --rm.
	Stops []string
	// Notes are sentences for the user.
	Notes []string
}

// add puts another change behind this one.
func (c *Change) add(more Change) {
	c.Plan = append(c.Plan, more.Plan...)
	c.Files = append(c.Files, more.Files...)
	c.Notes = append(c.Notes, more.Notes...)
	c.Restart = c.Restart || more.Restart
	if len(c.Stops) == 0 {
		c.Stops = more.Stops
	}
}

// InUseError says that running containers have addresses on a fan.
type InUseError struct {
	Bridge string
	Users  []string
}

// Error names the containers.
func (e *InUseError) Error() string {
	return fmt.Sprintf("Docker containers have addresses on %s: %s; stop them, or take the fan from them with --force", e.Bridge, strings.Join(e.Users, ", "))
}

// Pool returns the addresses of a fan that are Docker's: the upper half of the slice;
// DHCP has the lower. It refuses (fan.ErrUsage) slices that have none to give.
func Pool(f fan.Fan) (netip.Prefix, error) {
	slice := f.Slice()
	if slice.Bits() > 29 {
		return netip.Prefix{}, fan.Usagef("slice %s of %s: too small for Docker, its one address is DHCP's; take an underlay or overlay with a shorter mask", slice, f.Bridge)
	}
	a := slice.Addr().As4()
	bit := slice.Bits() // the first that tells the halves apart
	a[bit/8] |= 0x80 >> (bit % 8)
	half := netip.PrefixFrom(netip.AddrFrom4(a), bit+1)
	for _, kept := range f.Kept() {
		if half.Contains(kept) {
			return netip.Prefix{}, fan.Usagef("%s keeps %s, which is in %s, Docker's half of the slice; reserve fewer addresses", f.Bridge, kept, half)
		}
	}
	return half, nil
}

// Plan returns the steps that bring a fan to a mode: none if it is there. Errors are
// fan.ErrUsage where something of somebody else's is in the way, and *InUseError.
func (d *Daemon) Plan(ctx context.Context, f fan.Fan, m Mode) (Change, error) {
	if m == Off {
		return d.PlanAway(ctx, f.Bridge, false)
	}
	if _, err := Pool(f); err != nil {
		return Change{}, err
	}
	l, err := d.look(ctx)
	if err != nil {
		return Change{}, err
	}
	if m == Network {
		away, err := d.planDefaultAway(ctx, l, f.Bridge, false)
		if err != nil {
			return Change{}, err
		}
		if len(away.Plan) == 0 && l.defaultBridge() == f.Bridge {
			return Change{}, fan.Usagef("%s is Docker's default bridge, which was not made so by us, and a bridge can have one network; take it out of Docker's configuration and restart Docker, or leave it so", f.Bridge)
		}
		here, err := d.planNetwork(l, f)
		away.add(here)
		return away, err
	}
	// Docker refuses a default bridge that is a network's already.
	away, err := d.planNetworkAway(l, f.Bridge, false)
	if err != nil {
		return Change{}, err
	}
	here, err := d.planDefault(ctx, l, f)
	away.add(here)
	return away, err
}

// PlanAway returns the steps after which Docker knows nothing of a fan, whichever mode
// is on and wherever an earlier run was ended; none if there is nothing. Running
// containers that have addresses on the fan are an *InUseError, unless force says that
// they are to lose them.
func (d *Daemon) PlanAway(ctx context.Context, bridge string, force bool) (Change, error) {
	l, err := d.look(ctx)
	if err != nil {
		return Change{}, err
	}
	away, err := d.planNetworkAway(l, bridge, force)
	if err != nil {
		return Change{}, err
	}
	more, err := d.planDefaultAway(ctx, l, bridge, force)
	if err != nil {
		return Change{}, err
	}
	away.add(more)
	return away, nil
}

// usageIn says which file a bad input is in.
func usageIn(path string, err error) error {
	if errors.Is(err, fan.ErrUsage) {
		return fan.Usagef("%s is not touched: %v", path, err)
	}
	return err
}
