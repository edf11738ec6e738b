package tunnel

import (
	"fmt"
	"net"
	"net/netip"
	"slices"

	"github.com/cilium/ebpf"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/fanctl/fanctl/fan"
	"github.com/fanctl/fanctl/internal/kernel"
	"github.com/fanctl/fanctl/internal/plan"
	"github.com/fanctl/fanctl/internal/sysctl"
	"github.com/fanctl/fanctl/tunnel/bpf"
)

const mainTable = unix.RT_TABLE_MAIN

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
	return append(p, planRoute(h, w, s)...), nil
}

// planStale takes away the tunnel's device if it is from when the host had
// another address or the fan another port, and returns the state that is left:
// with a device go its filters and routes.
func planStale(h *netlink.Handle, w Want, s kernel.State) (plan.Plan, kernel.State) {
	l, there := s.Link(w.Name())
	if !there || w.shared() || l.MAC == w.Fan.TunnelMAC() && l.Port == w.Fan.Port {
		return nil, s
	}
	gone := []int{l.Index}
	if inlet, ok := s.Link(w.Fan.Inlet()); ok && w.direct() {
		gone = append(gone, inlet.Index)
	}
	return plan.Plan{deleteLinkStep(h, w.Name())}, s.Without(gone...)
}

func planDevices(h *netlink.Handle, w Want, s kernel.State) plan.Plan {
	l, there := s.Link(w.Name())
	switch {
	case w.direct():
		return planPair(h, w, l, there, s)
	case w.shared():
		return planShared(h, w, l, there)
	default:
		return planVXLAN(h, w, l, there)
	}
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
	if l, there := s.Link(w.Fan.Inlet()); there && w.direct() && !isInlet(w.Fan, l) {
		return foreignDevice(l)
	}
	return nil
}

// isTunnel says whether the device of the fan tunnel's name is one.
func (w Want) isTunnel(l kernel.Link, s kernel.State) bool {
	switch {
	case w.direct():
		_, inlet := s.Link(w.Fan.Inlet())
		return l.Kind == "veth" && inlet && l.MAC[1] == w.Fan.TunnelMAC()[1]
	case w.shared():
		return l.Kind == "ipip" && l.External
	default:
		return l.Kind == "vxlan" && l.External
	}
}

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

func planShared(h *netlink.Handle, w Want, l kernel.Link, there bool) plan.Plan {
	switch {
	case !there:
		return plan.Plan{addIPIPStep(h, w)}
	case l.MTU < int(w.Fan.MTU):
		// Each fan's own MTU is on its route.
		return plan.Plan{mtuStep(h, w.Name(), l.MTU, int(w.Fan.MTU))}
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
		config:   func() (bpf.Config, error) { return configNow(h, w) },
		owner:    w.Fan.Bridge,
		counters: func() *ebpf.Map { return countersOf(w.Fan.Bridge, s) },
	}
	if w.shared() {
		p = append(p, planGuard(h, w.Name(), s)...)
	}
	clsact := map[string]bool{}
	for _, a := range w.attachments() {
		l.names = append(l.names, a.program)
		link, there := s.Link(a.device)
		fresh := !there || !s.HasClsact(link.Index)
		if fresh && !a.byTCX(s) && !clsact[a.device] && a.device != fan.SharedTunnel {
			clsact[a.device] = true
			p = append(p, clsactStep(h, a.device))
		}
		p = append(p, planFilter(h, w, a, s, config, complete, l)...)
	}
	return p
}

func planFilter(h *netlink.Handle, w Want, a attachment, s kernel.State, config bpf.Config, complete bool, l *loader) plan.Plan {
	owner := w.Fan.Bridge
	have, there := a.attachedAs(owner, s)
	if !there {
		first := uint16(priorityOnOwn)
		if a.foreign {
			first = priorityOnForeign
		}
		return plan.Plan{attachStep(h, a, first, nil, s, l)}
	}
	if complete && isNamed(have, owner, a.program, bpf.Fingerprint(a.program, config)) {
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
	names, port := []string{w.Name()}, ""
	switch {
	case w.direct():
		names, port = append(names, w.Fan.Inlet()), w.Fan.Inlet()
	case w.Fan.Type == fan.VXLAN:
		port = w.Name()
	}
	var p plan.Plan
	for _, name := range names {
		p = append(p, planSettings(w, name, s)...)
	}
	bridge, _ := s.Link(w.Fan.Bridge)
	if port != "" {
		if l, there := s.Link(port); !there || bridge.Index == 0 || l.Master != bridge.Index {
			p = append(p, masterStep(h, port, w.Fan.Bridge))
		}
		if l, _ := s.Link(port); w.direct() && !l.Closed {
			p = append(p, closeInletStep(h, port))
		}
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
	if w.Fan.Type == fan.IPIP && device == w.Name() {
		settings = append(settings,
			sysctl.Setting{Path: "net/ipv4/conf/" + device + "/rp_filter", Value: "0"},
			sysctl.Setting{Path: "net/ipv4/conf/" + device + "/send_redirects", Value: "0"},
			sysctl.Setting{Path: "net/ipv4/conf/" + device + "/forwarding", Value: "1"})
	}
	if _, there := s.Link(device); !there {
		return sysctl.Diff(settings, nil)
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
