package host

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/fanctl/fanctl/bridge"
	"github.com/fanctl/fanctl/fan"
	"github.com/fanctl/fanctl/internal/firewall"
	"github.com/fanctl/fanctl/internal/kernel"
	"github.com/fanctl/fanctl/tunnel"
)

// InUseError says that a bridge still carries somebody's devices.
type InUseError struct {
	Bridge string
	Ports  []string
}

// Error names the bridge and what is attached to it.
func (e *InUseError) Error() string {
	return fmt.Sprintf("bridge %s is in use by %s; stop what uses it, or detach it with --force", e.Bridge, strings.Join(e.Ports, ", "))
}

// DownRequest is a fan that is to go.
type DownRequest struct {
	Underlay fan.UnderlaySpec
	Overlay  netip.Prefix
	Force    bool // also if containers are attached
}

// Down takes a fan down, whole or what is left of it; one that is not up is no
// error. With dryRun it only plans.
func (h *Host) Down(r DownRequest, dryRun bool) (Result, error) {
	var result Result
	err := h.locked(func() (err error) {
		if result, err = h.planDown(r); err != nil || dryRun {
			return err
		}
		return result.Plan.ApplyAll(h.Observe)
	})
	return result, err
}

// DownEach takes down, one after the other, the fans that are wanted, and reports
// each; it goes on past failures and returns the last.
func (h *Host) DownEach(wanted func(fan.Fan) bool, force, dryRun bool, report func(Result, error)) error {
	s, err := kernel.Look(h.handle)
	if err != nil {
		return err
	}
	var last error
	for _, k := range fansOf(s) {
		if !wanted(k.Fan) {
			continue
		}
		underlay := fan.UnderlaySpec{Addr: k.Host, Bits: k.Mapping.Underlay().Bits()}
		result, err := h.Down(DownRequest{Underlay: underlay, Overlay: k.Mapping.Overlay(), Force: force}, dryRun)
		if report(result, err); err != nil {
			last = err
		}
	}
	return last
}

func (h *Host) planDown(r DownRequest) (Result, error) {
	s, err := kernel.Look(h.handle)
	if err != nil {
		return Result{}, err
	}
	f, facts, up, err := target(r, s)
	if err != nil {
		return Result{}, err
	}
	if f.Mapping == (fan.Mapping{}) {
		h.explain([]string{fmt.Sprintf("nothing of %s is up, and the underlay %s is gone, too", f.Bridge, r.Underlay)})
		return Result{Fan: f}, nil
	}
	ports := bridge.ForeignPorts(f.Bridge, tunnel.OwnPorts(f), s)
	if len(ports) > 0 && !r.Force {
		return Result{}, &InUseError{f.Bridge, ports}
	}
	others := othersThan(f, s)
	tables, err := firewall.Look() // an error where iptables has gone: the kernel may still have the rules
	if err != nil {
		return Result{}, err
	}
	result := Result{Fan: f, Datapath: datapathOf(f, s)}
	if up {
		result.Was = &f
	}
	if who := forwarder(f, facts, s, tables); who != "" && facts.ForwardingOff {
		facts, others = forwarding(facts, others)
		result.Notes = append(result.Notes, fmt.Sprintf("this host goes on forwarding packets (ip_forward=1): %s came to need it while %s was up", who, f.Bridge))
	}
	p := bridge.PlanRules(f, others, facts, tables)
	dhcp, err := h.planDHCPDown(f, result.Was)
	if err != nil {
		return Result{}, err
	}
	p = append(dhcp, p...)
	p = append(p, tunnel.PlanDown(h.handle, f, s, tunnel.Before{Known: up, Clsact: facts.Clsact, Ways: devicesOf(f, s)})...)
	h.explain(whyDown(f, up, ports, others))
	last, err := bridge.PlanDown(h.handle, f, ports, others, facts, s)
	result.Plan = append(p, last...)
	return result, err
}

// forwarder returns what began to forward packets while the fan was up, or "": a
// bridge with an address that is younger than the fan's, such as those of Docker and
// LXD, or somebody else's NAT. They turn on what they find off, and would not notice
// that it goes off again.
func forwarder(f fan.Fan, facts bridge.Facts, s kernel.State, tables firewall.Tables) string {
	own, _ := s.Link(f.Bridge)
	for _, a := range s.Addresses {
		l, ok := s.LinkAt(a.Link)
		if _, isFan := fanWith(l.Name, s); ok && l.Kind == "bridge" && !isFan && l.Index > own.Index && own.Index != 0 {
			return l.Name
		}
	}
	if rule := tables.Translation(bridge.IsOwnChain); rule != "" && !facts.Translating {
		return "the rule " + rule
	}
	return ""
}

// forwarding returns the facts of a fan and of those that stay without that the host
// forwarded no packets. It goes for all fans at once: the bridge of another one may be
// younger than who needs forwarding, so that nothing would be found when that one goes.
func forwarding(facts bridge.Facts, others []bridge.Other) (bridge.Facts, []bridge.Other) {
	kept := slices.Clone(others)
	for i := range kept {
		kept[i].Facts = kept[i].Facts.Forwarding()
	}
	return facts.Forwarding(), kept
}

// target finds the fan that is meant: the one that is up, or else what a fan of
// these networks would be here, so that its leftovers are found. Where the underlay has
// gone and there are none, it has no networks but the bridge's name.
func target(r DownRequest, s kernel.State) (f fan.Fan, facts bridge.Facts, up bool, err error) {
	for _, k := range fansOf(s) {
		if k.Mapping.Overlay() != r.Overlay {
			continue
		}
		if err := checkUnderlay(r.Underlay, k.Fan, s); err != nil {
			return f, facts, false, err
		}
		return k.Fan, k.facts, true, nil
	}
	if err := checkNames(r.Overlay, s); err != nil {
		return f, facts, false, err
	}
	f, err = resolve(fan.Spec{Underlay: r.Underlay, Overlay: r.Overlay}, s)
	if errors.Is(err, fan.ErrNotYet) && !anythingOf(r.Overlay, s) {
		return fan.Fan{Bridge: fan.BridgeName(r.Overlay)}, facts, false, nil
	}
	return f, facts, false, err
}

// anythingOf says whether the host has a device that could be what is left of a fan.
func anythingOf(overlay netip.Prefix, s kernel.State) bool {
	names := append(fan.PortNames(overlay), fan.BridgeName(overlay))
	return slices.ContainsFunc(s.Links, func(l kernel.Link) bool { return slices.Contains(names, l.Name) })
}

// checkNames refuses to look for what is left of a fan that is not up where another
// one that is up has its names: 250.0.0.0/12 is fan-250, too, and all of it is in use.
func checkNames(overlay netip.Prefix, s kernel.State) error {
	for _, k := range fansOf(s) {
		if k.Bridge == fan.BridgeName(overlay) || fan.TunnelName(k.Mapping.Overlay()) == fan.TunnelName(overlay) {
			return fan.Usagef("%s is the fan of overlay %s over %s, not of %s; take it down with: %s", k.Bridge, k.Mapping.Overlay(), k.Mapping.Underlay(), overlay, downOf(k.Fan))
		}
	}
	return nil
}

// downOf returns the command that takes a fan down.
func downOf(f fan.Fan) string {
	return fmt.Sprintf("fanctl down -u %s -o %s", f.Mapping.Underlay(), f.Mapping.Overlay())
}

// checkUnderlay refuses to take down a fan over another underlay than was named.
// One that is named by a device is whatever that device has now; it is the fan's, or
// the one that has the fan's address and no way to other hosts.
func checkUnderlay(spec fan.UnderlaySpec, f fan.Fan, s kernel.State) error {
	has := func(l fan.Local) bool { return l.Device == spec.Device && l.Prefix.Addr() == f.Host }
	switch {
	case spec.Device != "" && spec.Device != f.Device && !slices.ContainsFunc(locals(s), has),
		spec.Bits != f.Mapping.Underlay().Bits(),
		spec.Addr.IsValid() && !f.Mapping.Underlay().Contains(spec.Addr):
		return fan.Usagef("underlay %s: the fan of overlay %s is over %s on %s", spec, f.Mapping.Overlay(), f.Mapping.Underlay(), f.Device)
	}
	return nil
}

func othersThan(f fan.Fan, s kernel.State) []bridge.Other {
	var others []bridge.Other
	for _, k := range fansOf(s) {
		if k.Bridge != f.Bridge {
			others = append(others, bridge.Other{Fan: k.Fan, Facts: k.facts})
		}
	}
	return others
}
