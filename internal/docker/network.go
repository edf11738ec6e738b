package docker

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	cerrdefs "github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/network"
	"github.com/moby/moby/client"

	"github.com/fanctl/fanctl/fan"
	"github.com/fanctl/fanctl/internal/plan"
)

// shape is a network of ours, all that tells one from another.
type shape struct {
	Name    string // the bridge's, too
	Subnet  netip.Prefix
	Gateway netip.Addr
	Range   netip.Prefix // what Docker hands out
	MTU     int
	Label   string
}

// shapeOf returns the network that a fan gets. The fan translates addresses itself,
// so Docker must not.
func shapeOf(f fan.Fan) (shape, error) {
	half, err := Pool(f)
	return shape{
		Name:    f.Bridge,
		Subnet:  f.BridgePrefix().Masked(),
		Gateway: f.BridgeAddr(),
		Range:   half,
		MTU:     int(f.MTU),
		Label:   f.Mapping.Underlay().String() + " " + f.Mapping.Overlay().String(),
	}, err
}

// shapeFrom reads a network of ours as Docker has it.
func shapeFrom(n network.Summary) shape {
	s := shape{Name: n.Name, Label: n.Labels[label]}
	if mtu, err := strconv.Atoi(n.Options[optionMTU]); err == nil && n.Options[optionMasquerade] == "false" && bridgeOf(n) == n.Name {
		s.MTU = mtu
	}
	if len(n.IPAM.Config) == 1 {
		c := n.IPAM.Config[0]
		s.Subnet, s.Gateway, s.Range = c.Subnet, c.Gateway, c.IPRange
	}
	return s
}

func (s shape) options() client.NetworkCreateOptions {
	return client.NetworkCreateOptions{
		Driver:  "bridge",
		IPAM:    &network.IPAM{Driver: "default", Config: []network.IPAMConfig{{Subnet: s.Subnet, IPRange: s.Range, Gateway: s.Gateway}}},
		Options: map[string]string{optionBridge: s.Name, optionMTU: strconv.Itoa(s.MTU), optionMasquerade: "false"},
		Labels:  map[string]string{label: s.Label},
	}
}

// command returns what makes the network, as a person would type it.
func (s shape) command() string {
	return fmt.Sprintf("docker network create --driver bridge --subnet %s --ip-range %s --gateway %s -o %s=%s -o %s=%d -o %s=false --label '%s=%s' %s",
		s.Subnet, s.Range, s.Gateway, optionBridge, s.Name, optionMTU, s.MTU, optionMasquerade, label, s.Label, s.Name)
}

// planNetwork returns the steps that make the fan's network, or make it anew.
func (d *Daemon) planNetwork(l look, f fan.Fan) (Change, error) {
	want, err := shapeOf(f)
	if err != nil {
		return Change{}, err
	}
	var c Change
	have, exists := l.named(f.Bridge)
	switch {
	case exists && !ours(have):
		return c, fan.Usagef("Docker network %s is not ours (it has no label %s); rename it, or give the fan another bridge name", f.Bridge, label)
	case exists && shapeFrom(have) == want:
		return c, nil
	case exists:
		if users := l.users(have); len(users) > 0 {
			return c, fan.Usagef("Docker network %s has other settings than the fan now (%s), and containers use it: %s; remove these, and it is made anew",
				f.Bridge, difference(shapeFrom(have), want), strings.Join(names(users), ", "))
		}
		c.Plan = append(c.Plan, d.stepRemove(have))
		c.Notes = append(c.Notes, fmt.Sprintf("Docker network %s is made anew: %s", f.Bridge, difference(shapeFrom(have), want)))
	}
	for _, n := range l.on(f.Bridge) {
		if n.Name != f.Bridge && !isDefault(n) {
			return Change{}, fan.Usagef("Docker network %s has the bridge %s already; remove it, or use it instead", n.Name, f.Bridge)
		}
	}
	c.Plan = append(c.Plan, d.stepCreate(want))
	return c, nil
}

func names(users []user) (list []string) {
	for _, u := range users {
		list = append(list, u.name)
	}
	return list
}

// difference says in what two networks differ.
func difference(have, want shape) string {
	var list []string
	for _, d := range []struct{ what, have, want string }{
		{"subnet", have.Subnet.String(), want.Subnet.String()},
		{"gateway", have.Gateway.String(), want.Gateway.String()},
		{"address range", have.Range.String(), want.Range.String()},
		{"MTU", strconv.Itoa(have.MTU), strconv.Itoa(want.MTU)},
		{"fan", have.Label, want.Label},
	} {
		if d.have != d.want {
			list = append(list, fmt.Sprintf("%s %s instead of %s", d.what, d.have, d.want))
		}
	}
	return strings.Join(list, ", ")
}

func (d *Daemon) stepCreate(s shape) plan.Step {
	return plan.Step{Text: s.command(), Do: func() error { return d.createNetwork(s) }, Undo: func() error { return d.removeNetwork(s.Name) }}
}

func (d *Daemon) stepRemove(n network.Summary) plan.Step {
	was := shapeFrom(n)
	return plan.Step{Text: "docker network rm " + n.Name, Do: func() error { return d.removeNetwork(n.Name) },
		Undo: func() error { return d.createNetwork(was) }}
}

func (d *Daemon) createNetwork(s shape) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	_, err := d.client.NetworkCreate(ctx, s.Name, s.options())
	return err
}

// removeNetwork removes a network of ours; one that is gone is no error.
func (d *Daemon) removeNetwork(name string) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	have, err := d.client.NetworkInspect(ctx, name, client.NetworkInspectOptions{})
	if cerrdefs.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return err
	}
	if have.Network.Labels[label] == "" {
		return fmt.Errorf("somebody else has made a network %s meanwhile", name)
	}
	if _, err := d.client.NetworkRemove(ctx, have.Network.ID, client.NetworkRemoveOptions{}); err != nil && !cerrdefs.IsNotFound(err) {
		return err
	}
	return nil
}

// planNetworkAway returns the steps that remove the fan's network. Containers lose
// their addresses with force only.
func (d *Daemon) planNetworkAway(l look, bridge string, force bool) (Change, error) {
	n, exists := l.named(bridge)
	if !exists || !ours(n) {
		return Change{}, nil
	}
	var up, down []user
	for _, u := range l.users(n) {
		if u.running {
			up = append(up, u)
		} else {
			down = append(down, u)
		}
	}
	if len(up) > 0 && !force {
		return Change{}, &InUseError{bridge, names(up)}
	}
	var c Change
	for _, u := range up {
		c.Plan = append(c.Plan, d.stepDisconnect(bridge, u))
	}
	if len(down) > 0 {
		c.Notes = append(c.Notes, fmt.Sprintf("stopped containers belong to the Docker network %s and can't start without it: %s", bridge, strings.Join(names(down), ", ")))
	}
	c.Plan = append(c.Plan, d.stepRemove(n))
	return c, nil
}

func (d *Daemon) stepDisconnect(bridge string, u user) plan.Step {
	return plan.Step{
		Text: fmt.Sprintf("docker network disconnect --force %s %s", bridge, u.name),
		Do: func() error {
			ctx, cancel := context.WithTimeout(context.Background(), patience)
			defer cancel()
			_, err := d.client.NetworkDisconnect(ctx, bridge, client.NetworkDisconnectOptions{Container: u.name, Force: true})
			if cerrdefs.IsNotFound(err) {
				return nil // it has ended
			}
			return err
		},
		Undo: func() error {
			ctx, cancel := context.WithTimeout(context.Background(), patience)
			defer cancel()
			e := network.EndpointSettings{Aliases: slices.Clone(u.aliases)}
			if u.addr.IsValid() {
				e.IPAMConfig = &network.EndpointIPAMConfig{IPv4Address: u.addr}
			}
			_, err := d.client.NetworkConnect(ctx, bridge, client.NetworkConnectOptions{Container: u.name, EndpointConfig: &e})
			return err
		},
	}
}
