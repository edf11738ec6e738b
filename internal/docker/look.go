package docker

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/network"
	"github.com/moby/moby/client"
)

// Options of Docker's bridge driver.
const (
	optionBridge     = "com.docker.network.bridge.name"
	optionMasquerade = "com.docker.network.bridge.enable_ip_masquerade"
	optionMTU        = "com.docker.network.driver.mtu"
	optionDefault    = "com.docker.network.bridge.default_bridge"
)

// look is what the daemon has, read once for a plan.
type look struct {
	networks    []network.Summary
	containers  []container.Summary
	liveRestore bool
	process     process
}

// look reads what the daemon has.
func (d *Daemon) look(ctx context.Context) (l look, err error) {
	networks, err := d.client.NetworkList(ctx, client.NetworkListOptions{})
	if err != nil {
		return l, fmt.Errorf("list Docker's networks: %w", err)
	}
	containers, err := d.client.ContainerList(ctx, client.ContainerListOptions{All: true})
	if err != nil {
		return l, fmt.Errorf("list Docker's containers: %w", err)
	}
	info, err := d.client.Info(ctx, client.InfoOptions{})
	if err != nil {
		return l, fmt.Errorf("ask Docker for its settings: %w", err)
	}
	p, err := findProcess(d.socket)
	return look{networks.Items, containers.Items, info.Info.LiveRestoreEnabled, p}, err
}

// bridgeOf returns the name of a network's bridge, "" if it has none of its own.
func bridgeOf(n network.Summary) string {
	if n.Driver != "bridge" {
		return ""
	}
	return n.Options[optionBridge]
}

// isDefault says whether a network is the daemon's default bridge.
func isDefault(n network.Summary) bool { return n.Options[optionDefault] == "true" }

// on returns the networks that are on a bridge.
func (l look) on(bridge string) (list []network.Summary) {
	for _, n := range l.networks {
		if bridgeOf(n) == bridge {
			list = append(list, n)
		}
	}
	return list
}

// named returns the network of that name.
func (l look) named(name string) (network.Summary, bool) {
	i := slices.IndexFunc(l.networks, func(n network.Summary) bool { return n.Name == name })
	if i < 0 {
		return network.Summary{}, false
	}
	return l.networks[i], true
}

// defaultBridge returns the name of the daemon's default bridge, "" if it has none.
func (l look) defaultBridge() string {
	for _, n := range l.networks {
		if isDefault(n) {
			return bridgeOf(n)
		}
	}
	return ""
}

// ours says whether a network was made by us.
func ours(n network.Summary) bool { return n.Labels[label] != "" }

// user is a container's place on a network.
type user struct {
	name    string // the container's
	running bool
	addr    netip.Addr
	aliases []string
}

// users returns the containers of a network, by name.
func (l look) users(n network.Summary) (list []user) {
	for _, c := range l.containers {
		if c.NetworkSettings == nil {
			continue
		}
		for name, e := range c.NetworkSettings.Networks {
			if e != nil && (e.NetworkID == n.ID || e.NetworkID == "" && name == n.Name) {
				list = append(list, user{nameOf(c), isUp(c), e.IPAddress, e.Aliases})
			}
		}
	}
	slices.SortFunc(list, func(a, b user) int { return strings.Compare(a.name, b.name) })
	return list
}

func nameOf(c container.Summary) string {
	for _, name := range c.Names {
		// A name with two slashes is a link's to another container.
		if name = strings.TrimPrefix(name, "/"); !strings.Contains(name, "/") {
			return name
		}
	}
	return c.ID
}

// isUp says whether a container has processes, and so an address.
func isUp(c container.Summary) bool {
	return c.State == container.StateRunning || c.State == container.StatePaused || c.State == container.StateRestarting
}

// running returns the names of all running containers.
func (l look) running() (names []string) {
	for _, c := range l.containers {
		if isUp(c) {
			names = append(names, nameOf(c))
		}
	}
	slices.Sort(names)
	return names
}

// Status is what Docker has of a fan.
type Status struct {
	Mode Mode
	// Users are the names of the running containers with an address on the fan.
	Users []string
	// Stopped are the names of those that do not run, but are attached to our network.
	Stopped []string
}

// Status returns what Docker has of the fan with that bridge.
func (d *Daemon) Status(ctx context.Context, bridge string) (Status, error) {
	l, err := d.look(ctx)
	if err != nil {
		return Status{}, err
	}
	return l.status(bridge), nil
}

func (l look) status(bridge string) (s Status) {
	for _, n := range l.on(bridge) {
		switch {
		case isDefault(n):
			s.Mode = Default
		case ours(n) && s.Mode == Off:
			s.Mode = Network
		}
		for _, u := range l.users(n) {
			switch {
			case u.running:
				s.Users = append(s.Users, u.name)
			case ours(n):
				s.Stopped = append(s.Stopped, u.name)
			}
		}
	}
	slices.Sort(s.Users)
	s.Users = slices.Compact(s.Users)
	return s
}
