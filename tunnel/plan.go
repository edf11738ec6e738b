package tunnel

import (
	"fmt"
	"net"
	"net/netip"
	"slices"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/fanctl/fanctl/fan"
	"github.com/fanctl/fanctl/internal/kernel"
	"github.com/fanctl/fanctl/internal/plan"
	"github.com/fanctl/fanctl/internal/sysctl"
	"github.com/fanctl/fanctl/tunnel/bpf"
)

const (
	mainTable = unix.RT_TABLE_MAIN
	// minIPv6MTU is the least MTU with which a device has IPv6 and its settings
	// (RFC 8200, section 5).
	minIPv6MTU = 1280
)

// Plan returns the steps that bring the fan tunnel from what the kernel has to
// what is wanted; none if it is there already. The fan bridge must be planned
// before it. Programs are attached before a device is up, so that no packet
// passes unchecked.
func Plan(h *netlink.Handle, w Want, s kernel.State) (plan.Plan, error) {
	if err := w.checkDevices(s); err != nil {
		return nil, err
	}
	p, s := planStale(h, w, s)
	p = append(p, planDevices(h, w, s)...)
	p = append(p, planRoom(h, w, s)...)
	p = append(p, planFilters(h, w, s)...)
	p = append(p, planUp(h, w, s)...)
	p = append(p, planRoute(h, w, s)...)
	return append(p, planObsolete(h, w, s)...), nil
}

// planStale takes away the tunnel's device if it is from when the host had
// another address or the fan another port, and returns the state that is left:
// with a device go its filters and routes.
func planStale(h *netlink.Handle, w Want, s kernel.State) (plan.Plan, kernel.State) {
	l, there := s.Link(w.Name())
	if !there || l.MAC == w.Fan.TunnelMAC() && l.Port == w.Fan.Port {
		return nil, s
	}
	gone := []int{l.Index}
	if inlet, ok := s.Link(w.Fan.Inlet()); ok && w.ipip() {
		gone = append(gone, inlet.Index)
	}
	return plan.Plan{deleteLinkStep(h, w.Name())}, s.Without(gone...)
}

func planDevices(h *netlink.Handle, w Want, s kernel.State) plan.Plan {
	l, there := s.Link(w.Name())
	if !w.ipip() {
		return planVXLAN(h, w, l, there)
	}
	p := planPair(h, w, l, there, s)
	if _, there := s.Link(fan.SharedTunnel); w.catches() && !there {
		p = append(p, addIPIPStep(h))
	}
	return p
}

// checkDevices returns an error if a device with the name of one of the fan
// tunnel's is somebody else's.
func (w Want) checkDevices(s kernel.State) error {
	if l, there := s.Link(w.Name()); there && !w.isTunnel(l, s) {
		return foreignDevice(l)
	}
	if l, there := s.Link(w.Fan.Room()); there && !isRoom(w.Fan, l) {
		return foreignDevice(l)
	}
	if l, there := s.Link(w.Fan.Inlet()); there && w.ipip() && !isInlet(w.Fan, l) {
		return foreignDevice(l)
	}
	if l, there := s.Link(fan.SharedTunnel); there && w.catches() && !isShared(l) {
		return foreignDevice(l)
	}
	return nil
}

// isTunnel says whether the device of the fan tunnel's name is one.
func (w Want) isTunnel(l kernel.Link, s kernel.State) bool {
	if w.ipip() {
		_, inlet := s.Link(w.Fan.Inlet())
		return l.Kind == "veth" && inlet && l.MAC[1] == w.Fan.TunnelMAC()[1]
	}
	return l.Kind == "vxlan" && l.External
}

// isShared says whether a device of the name of the one that fans share is that.
func isShared(l kernel.Link) bool { return l.Kind == "ipip" && l.External }

func foreignDevice(l kernel.Link) error {
	return fan.Usagef("tunnel %s: a device of that name exists and is not a fan's (%s); rename or remove it", l.Name, l.Kind)
}

func planVXLAN(h *netlink.Handle, w Want, l kernel.Link, there bool) plan.Plan {
	switch {
	case !there:
		return plan.Plan{addVXLANStep(h, w), addVNIStep(h, w)}
	case !hasVNI(l.Index, fan.VNI(w.Fan.Mapping.Overlay())):
		return plan.Plan{addVNIStep(h, w)}
	}
	return nil
}

func planPair(h *netlink.Handle, w Want, l kernel.Link, there bool, s kernel.State) plan.Plan {
	if !there {
		return plan.Plan{addPairStep(h, w), cutStep(w.Name()), arpOffStep(h, w.Name())}
	}
	var p plan.Plan
	if !l.NoARP {
		// An earlier run was ended before this or the step before it.
		p = append(p, cutStep(w.Name()), arpOffStep(h, w.Name()))
	}
	for _, name := range []string{w.Name(), w.Fan.Inlet()} {
		if end, ok := s.Link(name); ok && end.MTU != int(w.Fan.MTU) {
			p = append(p, mtuStep(h, name, end.MTU, int(w.Fan.MTU)))
		}
	}
	return p
}

func planFilters(h *netlink.Handle, w Want, s kernel.State) plan.Plan {
	var p plan.Plan
	config, complete := w.config(s)
	l := &loader{
		config: func() (bpf.Config, error) { return configNow(h, w) },
		owner:  w.Fan.Bridge,
		maps:   func() bpf.Maps { return mapsOf(w.Fan.Bridge, s, bpf.SharedMaps()) },
		state:  s,
	}
	otherLink := &loader{owner: w.Fan.Bridge, maps: l.shared, state: s}
	if w.catches() {
		p = append(p, planGuard(h, fan.SharedTunnel, s)...)
	}
	fingerprint := fingerprints(config)
	clsact := map[string]bool{}
	for _, a := range w.attachments(s) {
		link, there := s.Link(a.device)
		fresh := !there || !s.HasClsact(link.Index)
		if fresh && !a.byTCX(s) && !clsact[a.device] && a.device != fan.SharedTunnel {
			clsact[a.device] = true
			p = append(p, clsactStep(h, a.device))
		}
		if header := linkHeader(link); a.foreign && there && header != config.LinkHeader {
			// A second way whose packets begin with another header than the first's.
			otherLink.config = withLinkHeader(l.config, header)
			otherLink.needs(a.program)
			other := config
			other.LinkHeader = header
			p = append(p, planFilter(h, w, a, s, fingerprints(other), complete, otherLink)...)
			continue
		}
		l.needs(a.program)
		p = append(p, planFilter(h, w, a, s, fingerprint, complete, l)...)
	}
	return p
}

// fingerprints returns a function that works out each program's once.
func fingerprints(config bpf.Config) func(program string) string {
	known := map[string]string{}
	return func(program string) string {
		if known[program] == "" {
			known[program] = bpf.Fingerprint(program, config)
		}
		return known[program]
	}
}

// withLinkHeader returns what gives the same constants but for the link header.
func withLinkHeader(config func() (bpf.Config, error), header uint8) func() (bpf.Config, error) {
	return func() (bpf.Config, error) {
		c, err := config()
		c.LinkHeader = header
		return c, err
	}
}

func planFilter(h *netlink.Handle, w Want, a attachment, s kernel.State, fingerprint func(string) string, complete bool, l *loader) plan.Plan {
	owner := w.Fan.Bridge
	have, there := a.attachedAs(owner, s)
	if !there {
		first := uint16(priorityOnOwn)
		if a.foreign {
			first = priorityOnForeign
		}
		return plan.Plan{attachStep(h, a, first, nil, s, l)}
	}
	if complete && isNamed(have, owner, a.program, fingerprint(a.program)) {
		return nil
	}
	return plan.Plan{attachStep(h, a, 0, &have, s, l)}
}

// planGuard puts a program behind those of all fans on the device that they
// share.
func planGuard(h *netlink.Handle, device string, s kernel.State) plan.Plan {
	var p plan.Plan
	l := &loader{config: func() (bpf.Config, error) { return bpf.Config{}, nil }, names: []string{bpf.Guard}, owner: guardOwner}
	if link, there := s.Link(device); !there || !s.HasClsact(link.Index) {
		p = append(p, clsactStep(h, device))
	}
	for _, egress := range []bool{false, true} {
		a := attachment{device: device, egress: egress, program: bpf.Guard}
		have, there := a.attachedAs(guardOwner, s)
		switch {
		case !there:
			p = append(p, attachStep(h, a, priorityOfGuard, nil, s, l))
		case !isNamed(have, guardOwner, bpf.Guard, bpf.Fingerprint(bpf.Guard, bpf.Config{})):
			p = append(p, attachStep(h, a, 0, &have, s, l))
		}
	}
	return p
}

// planObsolete takes away the fan's programs that are not where one of its programs
// belongs, for it was another way or another version that attached them, and the ipip
// device if no fan is to be on it. It comes last: what is to be is there by then.
func planObsolete(h *netlink.Handle, w Want, s kernel.State) plan.Plan {
	shared, there := s.Link(fan.SharedTunnel)
	if w.ipip() && !w.catches() && there && isShared(shared) && !othersOn(shared.Index, w.Fan.Bridge, s) {
		s = s.Without(shared.Index)
		return append(plan.Plan{deleteLinkStep(h, fan.SharedTunnel)}, planObsolete(h, w, s)...)
	}
	var p plan.Plan
	var ports []int
	belongs := w.attachments(s)
	for _, f := range s.Filters {
		program, ours := ownedBy(w.Fan.Bridge, f)
		link, there := s.LinkAt(f.Link)
		a := attachment{device: link.Name, egress: f.Egress, program: program}
		if ours && there && !slices.ContainsFunc(belongs, a.same) {
			p = append(p, detachStep(h, a, f))
			if isPortProgram(program) {
				ports = append(ports, f.Link)
				p = append(p, planPlaceAway(h, link, f, s)...)
			}
		}
	}
	return append(p, planForget(w.Fan.Bridge, ports, s)...)
}

// planPlaceAway takes the clsact qdisc off a container's port whose only filter goes.
func planPlaceAway(h *netlink.Handle, port kernel.Link, last kernel.Filter, s kernel.State) plan.Plan {
	other := func(f kernel.Filter) bool { return f.Link == port.Index && !f.TCX && f != last }
	if last.TCX || slices.ContainsFunc(s.Filters, other) {
		return nil
	}
	return plan.Plan{clsactAwayStep(h, port.Name)}
}

// configNow returns the constants with the devices' indices as they are when
// the programs are loaded.
func configNow(h *netlink.Handle, w Want) (bpf.Config, error) {
	now, err := kernel.LookLinks(h)
	if err != nil {
		return bpf.Config{}, err
	}
	config, complete := w.config(now)
	if !complete {
		return bpf.Config{}, fmt.Errorf("devices of the fan tunnel %s are missing", w.Name())
	}
	return config, nil
}

func planUp(h *netlink.Handle, w Want, s kernel.State) plan.Plan {
	names, port := []string{w.Name()}, w.Name()
	if w.ipip() {
		names, port = append(names, w.Fan.Inlet()), w.Fan.Inlet()
	}
	if w.catches() {
		names = append(names, fan.SharedTunnel)
	}
	var p plan.Plan
	for _, name := range names {
		p = append(p, planSettings(w, name, s)...)
	}
	bridge, _ := s.Link(w.Fan.Bridge)
	l, there := s.Link(port)
	if !there || bridge.Index == 0 || l.Master != bridge.Index {
		p = append(p, masterStep(h, port, w.Fan.Bridge))
	}
	if w.ipip() && !l.Closed {
		p = append(p, closeInletStep(h, port))
	}
	for _, name := range names {
		if l, there := s.Link(name); !there || !l.Up {
			p = append(p, upStep(h, name))
		}
	}
	return p
}

// planSettings returns the settings of the tunnel's own devices: IPv6 never
// uses them, and no redirects are sent for a way that only this host knows. The
// kernel's own look at the source (RFC 3704) is off: the programs have looked
// closer, and it costs a route lookup a packet. A device that is yet to be made has
// none of them, whatever one of its name has now.
func planSettings(w Want, device string, s kernel.State) plan.Plan {
	settings := []sysctl.Setting{{Path: "net/ipv6/conf/" + device + "/disable_ipv6", Value: "1", Optional: true}}
	if w.ipip() && device == w.Name() {
		settings = append(settings,
			sysctl.Setting{Path: "net/ipv4/conf/" + device + "/rp_filter", Value: "0"},
			sysctl.Setting{Path: "net/ipv4/conf/" + device + "/send_redirects", Value: "0"},
			sysctl.Setting{Path: "net/ipv4/conf/" + device + "/forwarding", Value: "1"})
	}
	l, there := s.Link(device)
	switch {
	case !there:
		return sysctl.Diff(settings, nil)
	case l.MTU < minIPv6MTU && w.Fan.MTU >= minIPv6MTU:
		// With the MTU the kernel's IPv6 will be back on the device.
		return sysctl.Diff(settings, sysctl.Look(settings))
	}
	return sysctl.Plan(settings)
}

func planRoute(h *netlink.Handle, w Want, s kernel.State) plan.Plan {
	link, _ := s.Link(w.Name())
	want, needed := w.route(link.Index)
	if !needed {
		return nil
	}
	if link.Index != 0 && slices.Contains(s.Routes, want) {
		return nil
	}
	stale := slices.ContainsFunc(s.Routes, func(r kernel.Route) bool {
		return r.Destination == want.Destination && r.Table == want.Table && link.Index != 0 && r.Link == link.Index
	})
	verb := "add"
	if stale {
		verb = "replace"
	}
	route := func() (*netlink.Route, error) {
		index, err := linkIndex(h, w.Name())
		return &netlink.Route{LinkIndex: index, Dst: ipNet(want.Destination), Gw: want.Gateway.AsSlice(),
			Src: want.Source.AsSlice(), MTU: want.MTU, Flags: int(netlink.FLAG_ONLINK)}, err
	}
	return plan.Plan{{
		Text: fmt.Sprintf("ip route %s %s via %s dev %s onlink src %s mtu %d",
			verb, want.Destination, want.Gateway, w.Name(), want.Source, want.MTU),
		Do: func() error {
			r, err := route()
			if err != nil {
				return err
			}
			return h.RouteReplace(r)
		},
		Undo: func() error {
			r, err := route()
			if err != nil || stale {
				return err
			}
			return h.RouteDel(r)
		},
	}}
}

func ipNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), 32)}
}
