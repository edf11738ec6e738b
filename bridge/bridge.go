// Package bridge sets up the fan bridge, which carries the containers: its
// device and address, the settings of the host that go with it, and the rules
// that let packets pass and translate what leaves the overlay.
package bridge

import (
	"fmt"
	"net"
	"net/netip"
	"slices"

	"github.com/vishvananda/netlink"

	"github.com/fanctl/fanctl/fan"
	"github.com/fanctl/fanctl/internal/firewall"
	"github.com/fanctl/fanctl/internal/kernel"
	"github.com/fanctl/fanctl/internal/plan"
	"github.com/fanctl/fanctl/internal/sysctl"
)

// Want is the fan bridge that is to be.
type Want struct {
	Fan     fan.Fan
	Tunnel  string   // the fan tunnel's name
	WaysOut []string // devices that lead out of the overlay
}

// Other is another fan of this host: one that stays when a fan goes.
type Other struct {
	Fan   fan.Fan
	Facts Facts
}

// CheckName refuses (fan.ErrUsage) to take a device that is not a fan's.
func CheckName(f fan.Fan, s kernel.State) error {
	l, there := s.Link(f.Bridge)
	if !there || isOurs(f, l) {
		return nil
	}
	return fan.Usagef("bridge %s: a device of that name exists and is not a fan's (%s); choose another with --bridge or remove it", f.Bridge, l.Kind)
}

// isOurs says whether a device is the fan's bridge. One without an alias but
// with the hardware address that we compute is ours as well: an earlier run was
// ended before it could write the alias.
func isOurs(f fan.Fan, l kernel.Link) bool {
	if l.Kind != "bridge" {
		return false
	}
	if _, _, err := fan.ParseAlias(l.Name, l.Alias); err == nil {
		return true
	}
	return l.Alias == "" && l.MAC == f.BridgeMAC()
}

// Plan returns the steps that bring the bridge from what the kernel has to what
// is wanted; none if it is there already.
func Plan(h *netlink.Handle, w Want, s kernel.State, tables firewall.Tables) (plan.Plan, error) {
	if err := CheckName(w.Fan, s); err != nil {
		return nil, err
	}
	facts, err := lookFacts(w.Fan, s, tables)
	if err != nil {
		return nil, err
	}
	alias, err := facts.alias(w.Fan)
	if err != nil {
		return nil, err
	}
	var p plan.Plan
	l, there := s.Link(w.Fan.Bridge)
	if !there {
		p = append(p, addStep(h, w.Fan))
	}
	if l.Alias != alias {
		p = append(p, aliasStep(h, w.Fan.Bridge, l.Alias, alias))
	}
	if !there || l.MTU != int(w.Fan.MTU) {
		p = append(p, mtuStep(h, w.Fan.Bridge, l.MTU, int(w.Fan.MTU)))
	}
	if there && l.MAC != w.Fan.BridgeMAC() {
		p = append(p, macStep(h, w.Fan.Bridge, l.MAC, w.Fan.BridgeMAC()))
	}
	p = append(p, sysctl.Plan(settings(w.Fan))...)
	p = append(p, planAddress(h, w.Fan, l.Index, s)...)
	if !there || !l.Up {
		p = append(p, upStep(h, w.Fan.Bridge))
	}
	stale := func(r firewall.Rule) bool { return ownedBy(w.Fan, r) }
	return append(p, firewall.Plan(rules(w), tables, stale)...), nil
}

// settings returns the bridge's own settings and the host's forwarding.
func settings(f fan.Fan) []sysctl.Setting {
	conf := "net/ipv4/conf/" + f.Bridge + "/"
	list := []sysctl.Setting{
		{Path: forwarding, Value: "1"},
		{Path: conf + "forwarding", Value: "1"},
		{Path: conf + "rp_filter", Value: "1"}, // RFC 3704: a container's forged source goes nowhere
		{Path: conf + "send_redirects", Value: "0"},
	}
	if f.Type == fan.IPIP {
		// Containers with the overlay's mask ask for addresses on other hosts, and
		// this host answers at once; the default is to wait up to 0.8 s.
		list = append(list, sysctl.Setting{Path: conf + "proxy_arp", Value: "1"},
			sysctl.Setting{Path: "net/ipv4/neigh/" + f.Bridge + "/proxy_delay", Value: "0"})
	}
	return list
}

func planAddress(h *netlink.Handle, f fan.Fan, link int, s kernel.State) plan.Plan {
	var p plan.Plan
	var stale []netip.Prefix
	there := false
	for _, a := range s.Addresses {
		switch {
		case link == 0 || a.Link != link:
		case a.Prefix == f.BridgePrefix():
			there = true
		case f.Mapping.Overlay().Contains(a.Prefix.Addr()):
			stale = append(stale, a.Prefix)
		}
	}
	if !there {
		p = append(p, addressStep(h, f.Bridge, f.BridgePrefix(), true))
	}
	for _, address := range stale {
		p = append(p, addressStep(h, f.Bridge, address, false))
	}
	return p
}

// ForeignPorts returns the names of the bridge's ports that are not the fan's
// own.
func ForeignPorts(name string, own []string, s kernel.State) []string {
	bridge, there := s.Link(name)
	if !there {
		return nil
	}
	var names []string
	for _, l := range s.Links {
		if l.Master == bridge.Index && !slices.Contains(own, l.Name) {
			names = append(names, l.Name)
		}
	}
	return names
}

// PlanRules returns the steps that take a fan's rules away, and the chains with
// the last fan's.
func PlanRules(f fan.Fan, others []Other, facts Facts, tables firewall.Tables) plan.Plan {
	ours := func(r firewall.Rule) bool {
		if ownedBy(f, r) {
			return true
		}
		shared := slices.ContainsFunc(others, func(o Other) bool { return tunnelInput(o.Fan, r) })
		return tunnelInput(f, r) && !shared
	}
	return firewall.PlanAway(ours, jumps(true), len(others) == 0, facts.Tables, tables)
}

// PlanDown returns the steps that take the bridge away, after its rules and the
// fan tunnel, and give the host's settings back with the last fan. ports are
// those of somebody else, which are let go of first.
func PlanDown(h *netlink.Handle, f fan.Fan, ports []string, others []Other, facts Facts, s kernel.State) (plan.Plan, error) {
	l, there := s.Link(f.Bridge)
	if !there || !isOurs(f, l) {
		return nil, nil
	}
	var p plan.Plan
	for _, port := range ports {
		p = append(p, releaseStep(h, port))
	}
	given, err := facts.giveBack(h, others, s)
	if err != nil {
		return nil, err
	}
	p = append(p, given...)
	return append(p, plan.Step{Text: "ip link del " + f.Bridge, Do: func() error { return kernel.DeleteLink(h, f.Bridge) }}), nil
}

// addStep makes the bridge with an MTU that is not the fan's: only one that is
// changed later keeps the bridge from taking the least of its ports'
// (net/bridge/br_device.c: br_change_mtu, br_if.c: br_mtu_auto_adjust).
func addStep(h *netlink.Handle, f fan.Fan) plan.Step {
	mac, mtu := f.BridgeMAC(), fan.MinMTU
	if f.MTU == mtu {
		mtu++
	}
	return plan.Step{
		// The hardware address comes with the device: set later, it would race
		// with systemd-udevd and NetworkManager, which give it one of theirs.
		Text: fmt.Sprintf("ip link add %s mtu %d address %s type bridge", f.Bridge, mtu, net.HardwareAddr(mac[:])),
		Do: func() error {
			return h.LinkAdd(&netlink.Bridge{LinkAttrs: netlink.LinkAttrs{
				Name: f.Bridge, MTU: int(mtu), HardwareAddr: mac[:], TxQLen: -1}})
		},
		Undo: func() error { return kernel.DeleteLink(h, f.Bridge) },
	}
}

func aliasStep(h *netlink.Handle, name, before, alias string) plan.Step {
	set := func(alias string) func(netlink.Link) error {
		return func(l netlink.Link) error { return h.LinkSetAlias(l, alias) }
	}
	return kernel.LinkStep(h, name, fmt.Sprintf("ip link set %s alias %q", name, alias), set(alias), set(before))
}

func mtuStep(h *netlink.Handle, name string, before, mtu int) plan.Step {
	set := func(mtu int) func(netlink.Link) error {
		return func(l netlink.Link) error { return h.LinkSetMTU(l, mtu) }
	}
	undo := set(before)
	if before == 0 {
		undo = nil
	}
	return kernel.LinkStep(h, name, fmt.Sprintf("ip link set %s mtu %d", name, mtu), set(mtu), undo)
}

func macStep(h *netlink.Handle, name string, before, mac [6]byte) plan.Step {
	set := func(mac [6]byte) func(netlink.Link) error {
		return func(l netlink.Link) error { return h.LinkSetHardwareAddr(l, mac[:]) }
	}
	return kernel.LinkStep(h, name, fmt.Sprintf("ip link set %s address %s", name, net.HardwareAddr(mac[:])), set(mac), set(before))
}

func upStep(h *netlink.Handle, name string) plan.Step {
	return kernel.LinkStep(h, name, fmt.Sprintf("ip link set %s up", name), h.LinkSetUp, h.LinkSetDown)
}

func releaseStep(h *netlink.Handle, name string) plan.Step {
	return kernel.LinkStep(h, name, fmt.Sprintf("ip link set %s nomaster", name), h.LinkSetNoMaster, nil)
}

func addressStep(h *netlink.Handle, name string, address netip.Prefix, add bool) plan.Step {
	addr := &netlink.Addr{IPNet: &net.IPNet{IP: address.Addr().AsSlice(), Mask: net.CIDRMask(address.Bits(), 32)},
		Broadcast: net.IPv4zero}
	put := func(l netlink.Link) error { return h.AddrReplace(l, addr) }
	take := func(l netlink.Link) error { return h.AddrDel(l, addr) }
	if !add {
		return kernel.LinkStep(h, name, fmt.Sprintf("ip addr del %s dev %s", address, name), take, put)
	}
	return kernel.LinkStep(h, name, fmt.Sprintf("ip addr add %s dev %s", address, name), put, take)
}
