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
	Ways    []string // devices by which the tunnel's packets come; empty: the fan's
	Docker  bool     // the host has Docker or may have it any moment
}

// Other is another fan of this host: one that stays when a fan goes.
type Other struct {
	Fan   fan.Fan
	Facts Facts
}

// CheckName refuses (fan.ErrUsage) to take a device that is not a fan's.
func CheckName(f fan.Fan, s kernel.State) error {
	l, there := s.Link(f.Bridge)
	if !there || isOurs(f, l) || isMadeFor(f, l, s) {
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

// isMadeFor says whether a bridge was made for the fan by somebody else: Docker makes a
// network's bridge itself, with the fan's address, where it starts before the fan is up.
func isMadeFor(f fan.Fan, l kernel.Link, s kernel.State) bool {
	return l.Kind == "bridge" && l.Alias == "" && slices.Contains(s.Addresses, kernel.Address{Prefix: f.BridgePrefix(), Link: l.Index})
}

// host is what the host has beside the kernel's devices and the tables.
type host struct {
	values     sysctl.Values // of the bridge's settings
	forwarding Facts         // what lookForwarding says
}

// Plan returns the steps that bring the bridge from what the kernel has to what
// is wanted; none if it is there already.
func Plan(h *netlink.Handle, w Want, s kernel.State, tables firewall.Tables) (plan.Plan, error) {
	if err := CheckName(w.Fan, s); err != nil {
		return nil, err
	}
	if err := checkNames(w); err != nil {
		return nil, err
	}
	forwarding, err := lookForwarding(w.Fan.Bridge)
	if err != nil {
		return nil, err
	}
	return diff(h, w, s, tables, host{values: sysctl.Look(settings(w.Fan)), forwarding: forwarding})
}

// Obstacles says which rules of others stand in the way of containers' packets, once the
// fan has its own; ports are the names of the bridge's.
func Obstacles(w Want, ports []string, s kernel.State, tables firewall.Tables) ([]string, error) {
	w.Docker = w.Docker || hasRawRules(tables)
	around, err := firewall.LookAround(tables)
	if err != nil {
		return nil, fmt.Errorf("look for rules in the way: %w", err)
	}
	after := firewall.After(rules(w), tables, notOthers(w.Fan, othersIn(s, w.Fan.Bridge)))
	return after.Obstacles(firewall.Passage{
		Overlay: w.Fan.Mapping.Overlay(),
		Local:   append(w.Fan.Kept(), w.Fan.BridgePrefix().Addr()),
		Devices: append([]string{w.Fan.Bridge, w.Tunnel}, ports...),
		Bridged: w.Fan.Type == fan.VXLAN,
		Own:     IsOwnChain,
	}, around), nil
}

func diff(h *netlink.Handle, w Want, s kernel.State, tables firewall.Tables, now host) (plan.Plan, error) {
	f := w.Fan
	now.forwarding.Translating = now.forwarding.ForwardingOff && tables.Translation(IsOwnChain) != ""
	w.Docker = w.Docker || hasRawRules(tables)
	fill, made := firewall.Plan(rules(w), tables, notOthers(f, othersIn(s, f.Bridge)))
	facts := factsOf(w, s, now.forwarding).merge(Facts{Tables: made})
	alias, err := facts.alias(f)
	if err != nil {
		return nil, err
	}
	p := planDevice(h, f, s, alias, now.values)
	p = append(p, planForwarding(now.forwarding)...)
	return append(p, fill...), nil
}

// planDevice plans the device and what is set on it. The alias comes first: from
// then on, down finds all that there is to take back.
func planDevice(h *netlink.Handle, f fan.Fan, s kernel.State, alias string, now sysctl.Values) plan.Plan {
	var p plan.Plan
	l, there := s.Link(f.Bridge)
	if !there {
		p = append(p, addStep(h, f))
	}
	if l.Alias != alias {
		p = append(p, aliasStep(h, f.Bridge, l.Alias, alias))
	}
	if !there || l.MTU != int(f.MTU) {
		p = append(p, mtuStep(h, f.Bridge, l.MTU, int(f.MTU)))
	}
	if there && l.MAC != f.BridgeMAC() {
		p = append(p, macStep(h, f.Bridge, l.MAC, f.BridgeMAC()))
	}
	p = append(p, sysctl.Diff(settings(f), now)...)
	p = append(p, planAddress(h, f, l, s)...)
	p = append(p, planRoute(h, f, l, s)...)
	if !there || !l.Up {
		p = append(p, upStep(h, f.Bridge))
	}
	return p
}

// settings returns the bridge's own settings. Of rp_filter, send_redirects and
// proxy_arp the kernel takes the higher of the device's value and conf/all's
// (linux/inetdevice.h: IN_DEV_MAXCONF, IN_DEV_ORCONF); conf/all is not ours.
func settings(f fan.Fan) []sysctl.Setting {
	conf := "net/ipv4/conf/" + f.Bridge + "/"
	list := []sysctl.Setting{
		{Path: deviceForwarding(f.Bridge), Value: "1"},
		{Path: conf + "rp_filter", Value: "1"}, // RFC 3704: a container's forged source goes nowhere
		{Path: conf + "send_redirects", Value: "0"},
	}
	if f.Type != fan.IPIP {
		// Containers ask for each other across the tunnel.
		return append(list, sysctl.Setting{Path: conf + "proxy_arp", Value: "0"})
	}
	// Containers with the overlay's mask ask for addresses on other hosts, and
	// this host answers at once; the default is to wait up to 0.8 s.
	return append(list, sysctl.Setting{Path: conf + "proxy_arp", Value: "1"},
		sysctl.Setting{Path: "net/ipv4/neigh/" + f.Bridge + "/proxy_delay", Value: "0"})
}

// planAddress gives the bridge its address and then takes away what it had when
// the fan was another.
func planAddress(h *netlink.Handle, f fan.Fan, l kernel.Link, s kernel.State) plan.Plan {
	var before, p, stale plan.Plan
	// With a mask of /32, so that none goes with another of its network.
	missing := []netip.Prefix{f.BridgePrefix()}
	for _, a := range f.Kept() {
		missing = append(missing, netip.PrefixFrom(a, 32))
	}
	var once []netip.Prefix
	if was, _, err := fan.ParseAlias(l.Name, l.Alias); err == nil {
		for _, a := range was.Kept() {
			once = append(once, netip.PrefixFrom(a, 32))
		}
	}
	for _, a := range s.Addresses {
		switch {
		case l.Index == 0 || a.Link != l.Index:
		case slices.Contains(missing, a.Prefix):
			missing = slices.DeleteFunc(missing, func(p netip.Prefix) bool { return p == a.Prefix })
		case staleAddress(f, a.Prefix) && a.Prefix.Masked() == f.BridgePrefix().Masked():
			// First, because the kernel takes later addresses of the same network away
			// with it (net/ipv4/devinet.c: __inet_del_ifa).
			before = append(before, addressStep(h, f.Bridge, a.Prefix, false))
		case staleAddress(f, a.Prefix), slices.Contains(once, a.Prefix):
			stale = append(stale, addressStep(h, f.Bridge, a.Prefix, false))
		}
	}
	for _, address := range missing {
		p = append(p, addressStep(h, f.Bridge, address, true))
	}
	return slices.Concat(before, p, stale)
}

// staleAddress says whether an address of the bridge is one that the fan had
// when it, or the host, was another. What somebody has added to the slice stays.
func staleAddress(f fan.Fan, a netip.Prefix) bool {
	return a.Addr() == f.BridgeAddr() || f.Mapping.Overlay().Contains(a.Addr()) && !f.Slice().Contains(a.Addr())
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
	return firewall.PlanAway(notOthers(f, others), jumps(true), len(others) == 0, facts.Tables, tables)
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
	given, err := facts.giveBack(h, others, s, sysctl.Look(facts.settings()))
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
			return kernel.Bridge().Explain(h.LinkAdd(&netlink.Bridge{LinkAttrs: netlink.LinkAttrs{
				Name: f.Bridge, MTU: int(mtu), HardwareAddr: mac[:], TxQLen: -1}}))
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

// releaseStep lets go of a port. One that has gone, as a container's does when it
// ends, has been let go of.
func releaseStep(h *netlink.Handle, name string) plan.Step {
	step := kernel.LinkStep(h, name, fmt.Sprintf("ip link set %s nomaster", name), h.LinkSetNoMaster, nil)
	release := step.Do
	step.Do = func() error {
		if err := release(); !kernel.IsGone(err) {
			return err
		}
		return nil
	}
	return step
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
