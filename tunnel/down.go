package tunnel

import (
	"errors"
	"slices"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/fanctl/fanctl/fan"
	"github.com/fanctl/fanctl/internal/kernel"
	"github.com/fanctl/fanctl/internal/plan"
)

// Before is what is known of the underlay device as it was before the fan.
type Before struct {
	// Known says that the fan's record was found, so that what it does not name
	// was not there.
	Known bool
	// Clsact names the devices that had a clsact qdisc.
	Clsact []string
	// Ways are the devices by which the tunnel's packets come; empty: the fan's.
	Ways []string
}

// PlanDown returns the steps that take away what the fan's tunnel has, whole or
// in part, whichever way it was built; none if nothing is left.
func PlanDown(h *netlink.Handle, f fan.Fan, s kernel.State, before Before) plan.Plan {
	var p plan.Plan
	overlay := f.Mapping.Overlay()
	own := fan.TunnelName(overlay)
	tunnel, there := s.Link(own)
	removeOwn := there && ((tunnel.Kind == "vxlan" && tunnel.External) || tunnel.Kind == "veth") && tunnel.MAC[1] == f.TunnelMAC()[1]

	gone := map[int]bool{}
	if removeOwn {
		gone[tunnel.Index] = true
		if inlet, ok := s.Link(f.Inlet()); ok && tunnel.Kind == "veth" {
			gone[inlet.Index] = true
		}
	}
	if room, ok := s.Link(f.Room()); ok && isRoom(f, room) {
		gone[room.Index] = true
	}
	shared, haveShared := s.Link(fan.SharedTunnel)
	removeShared := haveShared && isShared(shared) && !othersOn(shared.Index, f.Bridge, s)
	if removeShared {
		gone[shared.Index] = true
	}
	p = append(p, planDetach(h, f, s, gone, before)...)
	if haveShared && !removeShared {
		p = append(p, planRouteAway(h, f, shared, s)...)
	}
	p = append(p, planRoomAway(h, f, s)...)
	if removeOwn {
		p = append(p, deleteLinkStep(h, own))
	}
	if removeShared {
		p = append(p, deleteLinkStep(h, fan.SharedTunnel))
	}
	return p
}

// othersOn says whether a fan other than the one with that bridge has programs
// on the device.
func othersOn(link int, bridge string, s kernel.State) bool {
	for _, f := range s.Filters {
		_, own := ownedBy(bridge, f)
		_, guard := ownedBy(guardOwner, f)
		if f.Link == link && !own && !guard && f.Name != "" {
			return true
		}
	}
	return false
}

// planDetach takes the fan's filters off the devices that stay, and the clsact
// qdisc off those of them that are not ours when nothing else uses it.
func planDetach(h *netlink.Handle, f fan.Fan, s kernel.State, gone map[int]bool, before Before) plan.Plan {
	var p plan.Plan
	left := map[int]int{}
	touched := []kernel.Link{}
	for _, filter := range s.Filters {
		if !filter.TCX {
			left[filter.Link]++
		}
		program, ours := ownedBy(f.Bridge, filter)
		link, ok := s.LinkAt(filter.Link)
		if !ours || !ok || gone[filter.Link] || link.Name == f.Bridge {
			continue
		}
		if !filter.TCX {
			left[filter.Link]--
			touched = append(touched, link)
		}
		p = append(p, detachStep(h, attachment{device: link.Name, egress: filter.Egress, program: program}, filter))
	}
	// An up that was killed may have made the qdisc and no filter yet.
	for _, device := range waysOr(before.Ways, f) {
		if l, ok := s.Link(device); ok && before.Known && !s.TCX && f.Type == fan.IPIP && s.HasClsact(l.Index) {
			touched = append(touched, l)
		}
	}
	if f.Fast != fan.Normal {
		for _, port := range FastPorts(f, s) {
			if l, _ := s.Link(port); s.HasClsact(l.Index) {
				touched = append(touched, l)
			}
		}
	}
	for _, link := range touched {
		if left[link.Index] == 0 && link.Name != fan.SharedTunnel && !slices.Contains(before.Clsact, link.Name) {
			p = append(p, clsactAwayStep(h, link.Name))
			left[link.Index] = -1 // once
		}
	}
	return p
}

// clsactAwayStep is the inverse of clsactStep.
func clsactAwayStep(h *netlink.Handle, device string) plan.Step {
	add := clsactStep(h, device)
	return plan.Step{Text: "tc qdisc del dev " + device + " clsact", Do: func() error {
		if err := add.Undo(); err != nil && !kernel.IsGone(err) {
			return err
		}
		return nil
	}}
}

// planRouteAway takes away the route that an earlier version had by the ipip device.
func planRouteAway(h *netlink.Handle, f fan.Fan, shared kernel.Link, s kernel.State) plan.Plan {
	for _, r := range s.Routes {
		if r.Destination != f.Mapping.Overlay() || r.Link != shared.Index || r.Table != mainTable {
			continue
		}
		return plan.Plan{{
			Text: "ip route del " + r.Destination.String() + " dev " + shared.Name,
			Do: func() error {
				err := h.RouteDel(&netlink.Route{LinkIndex: shared.Index, Dst: ipNet(r.Destination)})
				if err != nil && !errors.Is(err, unix.ESRCH) {
					return err
				}
				return nil
			},
		}}
	}
	return nil
}
