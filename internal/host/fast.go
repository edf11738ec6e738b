package host

import (
	"fmt"
	"strings"

	"github.com/fanctl/fanctl/bridge"
	"github.com/fanctl/fanctl/fan"
	"github.com/fanctl/fanctl/internal/firewall"
	"github.com/fanctl/fanctl/internal/kernel"
	"github.com/fanctl/fanctl/tunnel"
)

// slowReasons says what keeps a fan's packets from going past the host's network stack:
// there they would do something else.
func slowReasons(b bridge.Want, s kernel.State, tables firewall.Tables) ([]string, error) {
	f := b.Fan
	reasons, err := bridge.Obstacles(b, tunnel.FastPorts(f, s), s, tables)
	if l, there := s.Link(devicesOf(f, s)[0]); there && !l.Ethernet {
		reasons = append(reasons, l.Name+", which has no Ethernet headers")
	}
	if bridge, there := s.Link(f.Bridge); there && bridge.Filtering {
		reasons = append(reasons, fmt.Sprintf("the VLAN filter of %s (ip link set %s type bridge vlan_filtering 0)", f.Bridge, f.Bridge))
	}
	return append(reasons, routesInside(f, s)...), err
}

// routesInside names routes of others to a part of the overlay, which the fast path does
// not look at.
func routesInside(f fan.Fan, s kernel.State) []string {
	own := map[int]bool{}
	for _, name := range []string{f.Bridge, f.Tunnel()} {
		if l, there := s.Link(name); there {
			own[l.Index] = true
		}
	}
	var list []string
	for _, r := range s.Routes {
		if own[r.Link] || !f.Mapping.Overlay().Overlaps(r.Destination) || r.Destination.Bits() <= f.Mapping.Overlay().Bits() {
			continue
		}
		way := r.Dead
		if l, there := s.LinkAt(r.Link); there {
			way = "dev " + l.Name
		}
		list = append(list, fmt.Sprintf("ip route %s %s", r.Destination, way))
	}
	return list
}

// refuseFast is the error of somebody who asks for a fast fan where it can't be.
func refuseFast(reasons []string) error {
	return fmt.Errorf("--fast: packets of containers would go past %s; take that away, or say --fast=force if they may", strings.Join(reasons, ", and past "))
}

// NotFast says of a fan that it is not fast, although it should be.
func NotFast(reasons []string) string {
	return "is not fast now because of " + strings.Join(reasons, ", and of ")
}

// decideFast says whether a fan is to have the fast path. Who asks for it gets an error
// where something stands in its way; later on the fan goes without while that is so.
func decideFast(r *Result, asked bool, reasons func() ([]string, error)) (bool, error) {
	if r.Fan.Fast == fan.Normal {
		return false, nil
	}
	if r.Fan.Fast == fan.FastAnyway {
		return true, nil
	}
	found, err := reasons()
	switch {
	case err != nil:
		return false, err
	case len(found) == 0:
		return true, nil
	case asked:
		return false, refuseFast(found)
	}
	r.SlowBecause = found
	return false, nil
}
