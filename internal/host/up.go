package host

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"

	"github.com/fanctl/fanctl/bridge"
	"github.com/fanctl/fanctl/fan"
	"github.com/fanctl/fanctl/internal/firewall"
	"github.com/fanctl/fanctl/internal/kernel"
	"github.com/fanctl/fanctl/internal/plan"
	"github.com/fanctl/fanctl/tunnel"
)

// Result is what a change does, or would do.
type Result struct {
	Fan      fan.Fan      // of one that was not up, and whose underlay has gone, only the bridge's name
	Datapath fan.Datapath // the way that was chosen, or in which it was up
	Plan     plan.Plan    // empty if the host was as it should be
	Was      *fan.Fan     // what was up before, if anything
	Notes    []string     // what somebody should know although it is no error
}

// Up brings a fan up; what is up already stays as it is. With dryRun it only
// plans. Bad input is fan.ErrUsage, and nothing is changed after an error.
func (h *Host) Up(r fan.Spec, dryRun bool) (Result, error) {
	var result Result
	err := h.locked(func() (err error) {
		now, err := h.look()
		if err != nil {
			return err
		}
		if result, err = h.planUp(r, now); err != nil {
			return err
		}
		if err = h.planDHCP(&result, false); err != nil || dryRun {
			return err
		}
		return result.Plan.Apply(h.Observe)
	})
	return result, err
}

// seen is what a look at the host has found. The tables are read when the first one
// needs them: they cost a process, and most of what is wrong is wrong before.
type seen struct {
	kernel.State
	tables func() (firewall.Tables, error)
}

func (h *Host) look() (seen, error) {
	s, err := kernel.Look(h.handle)
	return seen{s, sync.OnceValues(firewall.Look)}, err
}

// planUp plans a fan but for its DHCP.
func (h *Host) planUp(r fan.Spec, now seen) (Result, error) {
	s := now.State
	f, err := resolve(r, s)
	if err != nil {
		return Result{}, err
	}
	if err := checkHost(f, s); err != nil {
		return Result{}, err
	}
	was := upBefore(f, s)
	if was != nil {
		f.Auto = was.Auto // a fan stays with its list, or without one
	}
	tables, err := now.tables()
	if err != nil {
		return Result{}, err
	}
	result := Result{Fan: f, Datapath: chooseDatapath(f, s), Was: was}
	if err := checkDatapath(result, s); err != nil {
		return Result{}, err
	}
	if err := checkSource(h.handle, f); err != nil {
		return Result{}, err
	}
	t := tunnel.Want{Fan: f, Datapath: result.Datapath, PlainSums: kernel.SumsPlainly(f.Device), Room: kernel.HasVXLAN()}
	b := bridge.Want{Fan: f, Tunnel: t.Name(), WaysOut: waysOut(f, s)}
	if result.Plan, err = bridge.Plan(h.handle, b, s, tables); err != nil {
		return Result{}, err
	}
	more, err := tunnel.Plan(h.handle, t, s)
	if err != nil {
		return Result{}, err
	}
	result.Plan = append(result.Plan, more...)
	h.explain(whyUp(r, result, s))
	return result, nil
}

// upBefore returns the fan of the same overlay that is up, or nil.
func upBefore(f fan.Fan, s kernel.State) *fan.Fan {
	for _, k := range fansOf(s) {
		if k.Mapping.Overlay() == f.Mapping.Overlay() {
			return &k.Fan
		}
	}
	return nil
}

// resolve returns the fan that a request means on this host.
func resolve(r fan.Spec, s kernel.State) (fan.Fan, error) {
	underlay, hostAddr, device, err := resolveUnderlay(r.Underlay, s)
	if err != nil {
		return fan.Fan{}, err
	}
	link, _ := s.Link(device)
	return r.At(fan.Place{Underlay: underlay, Host: hostAddr, Device: device, MTU: fan.MTU(link.MTU)})
}

// resolveUnderlay finds out which network, host address and device are meant.
func resolveUnderlay(u fan.UnderlaySpec, s kernel.State) (underlay netip.Prefix, host netip.Addr, device string, err error) {
	if u.Device != "" {
		if _, there := s.Link(u.Device); !there {
			return underlay, host, "", fan.NotYetf("underlay %s: there is no device %s; this host has %s", u, u.Device, deviceNames(s))
		}
	}
	if b, there := fanWith(u.Device, s); there {
		return underlay, host, "", fan.Usagef("underlay %s: %s is the bridge of the fan of overlay %s, and a fan needs a network of hosts below", u, b.Bridge, b.Mapping.Overlay())
	}
	defaultDevice := ""
	if devices := s.DefaultDevices(); len(devices) > 0 {
		defaultDevice = devices[0]
	}
	return u.Resolve(locals(s), defaultDevice)
}

// locals returns the host's addresses, those of fan bridges aside.
func locals(s kernel.State) []fan.Local {
	bridges := map[int]bool{}
	for _, f := range fansOf(s) {
		if l, ok := s.Link(f.Bridge); ok {
			bridges[l.Index] = true
		}
	}
	var list []fan.Local
	for _, a := range s.Addresses {
		if l, ok := s.LinkAt(a.Link); ok && !bridges[a.Link] {
			list = append(list, fan.Local{Device: l.Name, Prefix: a.Prefix, Loopback: l.Loopback})
		}
	}
	return list
}

func deviceNames(s kernel.State) string {
	var names []string
	for _, l := range s.Links {
		if !l.Loopback {
			names = append(names, l.Name)
		}
	}
	if len(names) == 0 {
		return "none but the loopback device"
	}
	return strings.Join(names, ", ")
}

// checkHost refuses (fan.ErrUsage) a fan that gets in the way of what the host
// has.
func checkHost(f fan.Fan, s kernel.State) error {
	if err := bridge.CheckName(f, s); err != nil {
		return err
	}
	for _, other := range fansOf(s) {
		if err := checkAgainst(f, other.Fan); err != nil {
			return err
		}
	}
	if err := f.Mapping.CheckFree(taken(f, s)); err != nil {
		return err
	}
	return checkPort(f, s)
}

// checkAgainst compares a fan with one that is up.
func checkAgainst(f, other fan.Fan) error {
	same := f.Mapping.Overlay() == other.Mapping.Overlay()
	switch {
	case same && f.Bridge != other.Bridge:
		return fan.Usagef("overlay %s is up already with bridge %s; take that fan down first", f.Mapping.Overlay(), other.Bridge)
	case same && f.Mapping.Underlay() != other.Mapping.Underlay():
		return fan.Usagef("overlay %s is up already over underlay %s, not %s; take that fan down first",
			f.Mapping.Overlay(), other.Mapping.Underlay(), f.Mapping.Underlay())
	case same && f.Type != other.Type:
		return fan.Usagef("fan %s is up already as %s, not %s; take it down first", f.Bridge, other.Type, f.Type)
	case same && f.Port != other.Port:
		return fan.Usagef("fan %s is up already with port %d, not %d; take it down first", f.Bridge, other.Port, f.Port)
	case !same && f.Bridge == other.Bridge:
		return fan.Usagef("bridge %s belongs to the fan of overlay %s; choose another with --bridge", f.Bridge, other.Mapping.Overlay())
	case !same && f.Type == fan.VXLAN && other.Type == fan.VXLAN && f.Port == other.Port && sameVNI(f, other):
		return fan.Usagef("overlay %s has the vxlan network identifier of overlay %s of fan %s, for it differs only in the last octet; choose another overlay or --port",
			f.Mapping.Overlay(), other.Mapping.Overlay(), other.Bridge)
	case !same && f.Mapping.Overlay().Overlaps(other.Mapping.Overlay()):
		return fan.Usagef("overlay %s overlaps overlay %s of fan %s; choose another", f.Mapping.Overlay(), other.Mapping.Overlay(), other.Bridge)
	}
	return nil
}

func sameVNI(f, g fan.Fan) bool { return fan.VNI(f.Mapping.Overlay()) == fan.VNI(g.Mapping.Overlay()) }

// taken returns the host's addresses and routes, those of the fan itself aside.
// Of the routes that lead nowhere it is those that would come before the fan's own
// or in its place; around it they are no harm.
func taken(f fan.Fan, s kernel.State) []fan.Taken {
	own := map[int]bool{}
	for _, name := range append(tunnel.OwnPorts(f), f.Bridge, fan.SharedTunnel) {
		if l, there := s.Link(name); there {
			own[l.Index] = true
		}
	}
	var list []fan.Taken
	for _, a := range s.Addresses {
		if l, ok := s.LinkAt(a.Link); ok && !own[a.Link] {
			list = append(list, fan.Taken{Prefix: a.Prefix.Masked(), What: fmt.Sprintf("address %s on %s", a.Prefix, l.Name)})
		}
	}
	for _, r := range s.Routes {
		if l, ok := s.LinkAt(r.Link); ok && !own[r.Link] {
			list = append(list, fan.Taken{Prefix: r.Destination, What: fmt.Sprintf("route %s dev %s", r.Destination, l.Name)})
		}
		if r.Dead != "" && r.Destination.Bits() >= f.Mapping.Overlay().Bits() {
			list = append(list, fan.Taken{Prefix: r.Destination, What: fmt.Sprintf("route %s %s", r.Dead, r.Destination)})
		}
	}
	return list
}

// chooseDatapath returns the way in which the tunnel is built: as asked for, as
// it is, or by the kernel's ipip device where it has one.
func chooseDatapath(f fan.Fan, s kernel.State) fan.Datapath {
	switch {
	case f.Type == fan.VXLAN:
		return fan.Device
	case f.Datapath != fan.Auto:
		return f.Datapath
	}
	if is, built := tunnel.BuiltAs(f, s); built {
		return is
	}
	if l, there := s.Link(fan.SharedTunnel); there && l.Kind == "ipip" {
		return fan.Device
	}
	if kernel.HasIPIP() && otherExternalIPIP(s) == "" {
		return fan.Device
	}
	return fan.EBPF
}

// datapathOf returns the way in which a fan's tunnel is built, or would be.
func datapathOf(f fan.Fan, s kernel.State) fan.Datapath {
	if is, built := tunnel.BuiltAs(f, s); built {
		return is
	}
	return chooseDatapath(f, s)
}

// checkDatapath refuses (fan.ErrUsage) to build the tunnel of a fan that is up in
// another way.
func checkDatapath(r Result, s kernel.State) error {
	if is, built := tunnel.BuiltAs(r.Fan, s); built && is != r.Datapath {
		return fan.Usagef("fan %s is up already with datapath %s, not %s; take it down first", r.Fan.Bridge, is, r.Datapath)
	}
	if other := otherExternalIPIP(s); r.Fan.Tunnel(r.Datapath) == fan.SharedTunnel && other != "" {
		return fan.Usagef("datapath %s: %s is the one ipip device with metadata that a host can have and is not a fan's; use --datapath %s", r.Datapath, other, fan.EBPF)
	}
	return nil
}

// otherExternalIPIP returns the name of the only ipip device that can take its
// headers from metadata if somebody else has it, or "".
func otherExternalIPIP(s kernel.State) string {
	for _, l := range s.Links {
		if l.Kind == "ipip" && l.External && l.Name != fan.SharedTunnel {
			return l.Name
		}
	}
	return ""
}

// waysOut returns the devices by which packets leave the overlay: the underlay
// device and those with a default route.
func waysOut(f fan.Fan, s kernel.State) []string {
	devices := []string{f.Device}
	for _, name := range s.DefaultDevices() {
		if !slices.Contains(devices, name) {
			devices = append(devices, name)
		}
	}
	return devices
}
