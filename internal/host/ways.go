package host

import (
	"net/netip"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/fanctl/fanctl/fan"
	"github.com/fanctl/fanctl/internal/kernel"
)

// ways are the devices by which the routing tables lead this host's packets to the
// other hosts of an underlay: the one with the host's address, if it is one of them,
// then in the order in which the tables are asked.
type ways []string

// waysTo follows the rules and routes for packets of the host's address, which is
// on the device. A host usually has one way, the device itself. It has others where
// rules lead by another device, where a routing protocol knows several, and where
// the address is on a loopback device.
func waysTo(underlay netip.Prefix, host netip.Addr, device string, s kernel.State) ways {
	var w ways
	rules := s.Rules
	if len(rules) == 0 {
		rules = []kernel.Rule{{Table: unix.RT_TABLE_MAIN, Suppress: -1}}
	}
	for _, r := range rules {
		some, every := leads(r, underlay, host)
		if some && w.addTable(r, underlay, device, s) && every {
			break // no packet gets to the rules after it
		}
	}
	if at := slices.Index(w, device); at > 0 {
		w = slices.Insert(slices.Delete(w, at, at+1), 0, device)
	}
	return w.outsideVRF(s)
}

// waysOf returns the ways of a fan's packets.
func waysOf(f fan.Fan, s kernel.State) ways {
	return waysTo(f.Mapping.Underlay(), f.Host, withAddress(f, s), s)
}

// withAddress returns the device that has the host's address: the fan's, wherever it
// has it, or another, such as a loopback device.
func withAddress(f fan.Fan, s kernel.State) string {
	all := locals(s)
	own := slices.ContainsFunc(all, func(l fan.Local) bool { return l.Device == f.Device && l.Prefix.Addr() == f.Host })
	if l, there := fan.Holder(all, f.Host); there && !own {
		return l.Device
	}
	return f.Device
}

// leads says whether a rule is for some or for every packet of the tunnel from the
// host to the underlay.
func leads(r kernel.Rule, underlay netip.Prefix, host netip.Addr) (some, every bool) {
	some = !r.Never && (!r.From.IsValid() || r.From.Contains(host)) && (!r.To.IsValid() || r.To.Overlaps(underlay)) &&
		(r.Input == "" || r.Input == "lo")
	every = some && !r.More && (!r.To.IsValid() || r.To.Bits() <= underlay.Bits())
	if r.Not {
		return !every, !some
	}
	return some, every
}

// addTable adds the devices of a rule's table, and says whether it has a route for
// every address of the underlay.
func (w *ways) addTable(r kernel.Rule, underlay netip.Prefix, device string, s kernel.State) (complete bool) {
	var around []kernel.Route // the longest of those that have all of the underlay
	for _, route := range s.Routes {
		bits := route.Destination.Bits()
		if route.Table != r.Table || bits <= r.Suppress || !route.Destination.Overlaps(underlay) {
			continue
		}
		switch {
		case bits > underlay.Bits():
			if leadsToHosts(route, device, s) {
				w.add(route, s)
			}
		case len(around) == 0 || bits > around[0].Destination.Bits():
			around = []kernel.Route{route}
		case bits == around[0].Destination.Bits():
			around = append(around, route)
		}
	}
	for _, route := range around {
		if route.Dead == "throw" {
			return false
		}
		w.add(route, s)
	}
	return len(around) > 0
}

// leadsToHosts says whether hosts of the underlay can be behind a route to a part of
// it: it has a gateway, or the host has an address on that network. The networks of
// bridges are containers, and routes to addresses without one lead to containers, too.
func leadsToHosts(r kernel.Route, device string, s kernel.State) bool {
	l, ok := s.LinkAt(r.Link)
	if r.Gateway.IsValid() || ok && l.Name == device {
		return true
	}
	return ok && l.Kind != "bridge" && slices.ContainsFunc(s.Addresses, func(a kernel.Address) bool { return a.Link == r.Link })
}

// add adds a route's device.
func (w *ways) add(r kernel.Route, s kernel.State) {
	l, ok := s.LinkAt(r.Link)
	if ok && !l.Loopback && !slices.Contains(*w, l.Name) {
		*w = append(*w, l.Name)
	}
}

// narrowest returns the device whose MTU is the fan's: the one with the host's
// address where packets leave by it, for a way that leads to some hosts only tells
// of itself (RFC 1191), or else the way with the least MTU.
func (w ways) narrowest(device string, s kernel.State) kernel.Link {
	if len(w) == 0 || w[0] == device {
		l, _ := s.Link(device)
		return l
	}
	var least kernel.Link
	for _, name := range w {
		if l, _ := s.Link(name); least.MTU == 0 || l.MTU < least.MTU {
			least = l
		}
	}
	return least
}

// devices returns the devices by which packets of the tunnel leave and come: the
// ways, and the fan's own device, by which others may answer.
func (w ways) devices(own string) []string {
	if slices.Contains(w, own) {
		return w
	}
	return append(slices.Clone(w), own)
}

// outsideVRF leaves out ways into a VRF: also those are ways that lead to a few
// addresses only, or a few packets, and need not be the tunnel's. The first is the
// device by which the fan goes, and checkVRF's affair.
func (w ways) outsideVRF(s kernel.State) ways {
	for i := len(w) - 1; i > 0; i-- {
		if vrfOf(w[i], s) != "" {
			w = slices.Delete(w, i, i+1)
		}
	}
	return w
}

// checkVRF refuses (fan.ErrUsage) an underlay inside of a VRF: the tunnel's packets
// are led by the host's own tables. It is in one if the first way is, or the device
// with the host's address.
func checkVRF(f fan.Fan, s kernel.State) error {
	for _, name := range []string{devicesOf(f, s)[0], withAddress(f, s)} {
		if vrf := vrfOf(name, s); vrf != "" {
			return fan.Usagef("underlay %s: device %s is in the VRF %s, whose routes a fan can't use; use an address on a device outside of VRFs",
				f.Mapping.Underlay(), name, vrf)
		}
	}
	return nil
}

// vrfOf returns the name of the VRF that a device is in or is itself, or "".
func vrfOf(device string, s kernel.State) string {
	l, _ := s.Link(device)
	master, _ := s.LinkAt(l.Master)
	for _, vrf := range []kernel.Link{l, master} {
		if vrf.Kind == "vrf" {
			return vrf.Name
		}
	}
	return ""
}
