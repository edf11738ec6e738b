package host

import (
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/fanctl/fanctl/bridge"
	"github.com/fanctl/fanctl/fan"
	"github.com/fanctl/fanctl/internal/docker/program"
	"github.com/fanctl/fanctl/internal/features"
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
	// SlowBecause says what keeps a fast fan from being so.
	SlowBecause []string
}

// Up brings a fan up; what is up already stays as it is. With dryRun it only
// plans. Bad input is fan.ErrUsage, and nothing is changed after an error.
func (h *Host) Up(r fan.Spec, dryRun bool) (Result, error) {
	var result Result
	err := h.locked(func() (err error) {
		now, err := h.look(dryRun)
		if err != nil {
			return err
		}
		if result, err = h.planUp(r, now, true); err != nil {
			return err
		}
		result.Notes = append(result.Notes, besideIPIP(result, now.State)...)
		if err = h.planDHCP(&result, false); err != nil {
			return err
		}
		if planWatch(&result); dryRun {
			return nil
		}
		return result.Plan.Apply(h.Observe)
	})
	return result, err
}

// seen is what a look at the host has found. The tables are read when the first one
// needs them: they cost a process, and most of what is wrong is wrong before. So is
// the ipip device tried only for a tunnel that is to be made.
type seen struct {
	kernel.State
	tables  func() (firewall.Tables, error)
	hasIPIP func() bool
}

// look reads the host's state. With dryRun no module is loaded, and whether the kernel
// has the ipip device goes by its list.
func (h *Host) look(dryRun bool) (seen, error) {
	s, err := kernel.Look(h.handle)
	now := seen{s, sync.OnceValues(firewall.Look), features.HasIPIP}
	if dryRun {
		now.hasIPIP = kernel.HasIPIP
	}
	return now, err
}

// planUp plans a fan but for its DHCP. asked says that somebody wants it so, and not only
// put right.
func (h *Host) planUp(r fan.Spec, now seen, asked bool) (Result, error) {
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
	result := Result{Fan: f, Datapath: chooseDatapath(f, s, now.hasIPIP, ipipLoaded), Was: was}
	if err := checkDatapath(result, s); err != nil {
		return Result{}, err
	}
	if err := checkVRF(f, s); err != nil {
		return Result{}, err
	}
	devices := devicesOf(f, s)
	note, err := checkSource(h.handle, f, s)
	if err != nil {
		return Result{}, err
	}
	if note != "" {
		result.Notes = append(result.Notes, note)
	}
	t := tunnel.Want{Fan: f, Datapath: result.Datapath, Ways: devices, PlainSums: kernel.SumsPlainly(devices[0]),
		OuterFirst: kernel.OuterFirst(kernel.Release()), Room: kernel.HasVXLAN(), InnerEthernet: kernel.MarksFrames(kernel.Release())}
	b := wantedBridge(f, t.Name(), s, tables)
	if t.Fast, err = decideFast(&result, asked, func() ([]string, error) { return slowReasons(b, s, tables) }); err != nil {
		return Result{}, err
	}
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

func wantedBridge(f fan.Fan, tunnel string, s kernel.State, tables firewall.Tables) bridge.Want {
	return bridge.Want{Fan: f, Tunnel: tunnel, Ways: devicesOf(f, s), WaysOut: waysOut(f, s), Docker: hasDocker(tables, program.Installed)}
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
	place, err := resolveUnderlay(r.Underlay, s)
	if err != nil {
		return fan.Fan{}, err
	}
	return r.At(place)
}

// resolveUnderlay finds out which network, host address and device are meant. Where
// the address is on a loopback device, the device is the first by which the host
// reaches others.
func resolveUnderlay(u fan.UnderlaySpec, s kernel.State) (fan.Place, error) {
	if u.Device != "" {
		if _, there := s.Link(u.Device); !there {
			return fan.Place{}, fan.NotYetf("underlay %s: there is no device %s; this host has %s", u, u.Device, deviceNames(s))
		}
	}
	if b, there := fanWith(u.Device, s); there {
		return fan.Place{}, fan.Usagef("underlay %s: %s is the bridge of the fan of overlay %s, and a fan needs a network of hosts below", u, b.Bridge, b.Mapping.Overlay())
	}
	defaultDevice := ""
	if devices := s.DefaultDevices(); len(devices) > 0 {
		defaultDevice = devices[0]
	}
	underlay, host, device, err := u.Resolve(locals(s), defaultDevice)
	if err != nil {
		return fan.Place{}, err
	}
	w := waysTo(underlay, host, device, s)
	narrowest := w.narrowest(device, s)
	if l, _ := s.Link(device); l.Loopback && !host.IsLoopback() {
		if len(w) == 0 {
			return fan.Place{}, fan.NotYetf("underlay %s: %s is on %s, and no route leads from there to other hosts of %s; add one, or name an address on the device that does",
				u, host, device, underlay)
		}
		device = w[0]
	}
	return fan.Place{Underlay: underlay, Host: host, Device: device, MTU: fan.MTU(narrowest.MTU), Narrowest: narrowest.Name}, nil
}

// devicesOf returns the devices by which packets of a fan's tunnel leave and come;
// the first is one by which they leave.
func devicesOf(f fan.Fan, s kernel.State) []string {
	return waysOf(f, s).devices(f.Device)
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

// deviceNames lists the devices that can be underlays: not those of the fans.
func deviceNames(s kernel.State) string {
	ours := []string{fan.SharedTunnel}
	for _, k := range fansOf(s) {
		ours = append(append(ours, k.Bridge), fan.PortNames(k.Mapping.Overlay())...)
	}
	var names []string
	for _, l := range s.Links {
		if !l.Loopback && !slices.Contains(ours, l.Name) {
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
		return fan.Usagef("overlay %s is up already with bridge %s; take that fan down first: %s", f.Mapping.Overlay(), other.Bridge, downOf(other))
	case same && f.Mapping.Underlay() != other.Mapping.Underlay():
		return fan.Usagef("overlay %s is up already over underlay %s, not %s; take that fan down first: %s",
			f.Mapping.Overlay(), other.Mapping.Underlay(), f.Mapping.Underlay(), downOf(other))
	case same && f.Type != other.Type:
		return fan.Usagef("fan %s is up already as %s, not %s; take it down first: %s", f.Bridge, other.Type, f.Type, downOf(other))
	case same && f.Port != other.Port:
		return fan.Usagef("fan %s is up already with port %d, not %d; take it down first: %s", f.Bridge, other.Port, f.Port, downOf(other))
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
	for _, name := range append(tunnel.OwnPorts(f), f.Bridge) {
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
		l, ok := s.LinkAt(r.Link)
		earlier := l.Name == fan.SharedTunnel && r.Destination == f.Mapping.Overlay() // as earlier versions had it
		if ok && !own[r.Link] && !earlier {
			list = append(list, fan.Taken{Prefix: r.Destination, What: fmt.Sprintf("route %s dev %s", r.Destination, l.Name)})
		}
		if r.Dead != "" && r.Destination.Bits() >= f.Mapping.Overlay().Bits() {
			list = append(list, fan.Taken{Prefix: r.Destination, What: fmt.Sprintf("route %s %s", r.Dead, r.Destination)})
		}
	}
	return list
}

// chooseDatapath returns the way in which the tunnel is built: as asked for, as
// it is, or with the kernel's ipip device where it has one and nobody else uses one. A
// fan that is up without the device gets it where that is in the kernel: it may have
// had it, and somebody has taken it away.
func chooseDatapath(f fan.Fan, s kernel.State, hasIPIP, ipipLoaded func() bool) fan.Datapath {
	switch {
	case f.Type == fan.VXLAN:
		return fan.Device
	case f.Datapath != fan.Auto:
		return f.Datapath
	}
	is, built := tunnel.BuiltAs(f, s)
	switch {
	case built && is == fan.Device:
		return is
	case built && tunnel.IsWhole(f, s):
		return newDatapath(s, ipipLoaded)
	}
	return newDatapath(s, hasIPIP)
}

// newDatapath returns the way in which an ipip tunnel is built that is not there yet
// and that nobody wants otherwise.
func newDatapath(s kernel.State, hasIPIP func() bool) fan.Datapath {
	if otherIPIP(s) != "" {
		return fan.EBPF
	}
	if l, there := s.Link(fan.SharedTunnel); there && l.Kind == "ipip" || hasIPIP() {
		return fan.Device
	}
	return fan.EBPF
}

// datapathOf returns the way in which a fan's tunnel is built, or would be.
func datapathOf(f fan.Fan, s kernel.State) fan.Datapath {
	if is, built := tunnel.BuiltAs(f, s); built {
		return is
	}
	return chooseDatapath(f, s, kernel.HasIPIP, ipipLoaded)
}

// checkDatapath refuses (fan.ErrUsage) to build a tunnel where packets would go astray.
func checkDatapath(r Result, s kernel.State) error {
	is, built := tunnel.BuiltAs(r.Fan, s)
	if other := otherIPIP(s); (!built || is != fan.Device) && byIPIP(r) && other != "" {
		return fan.Usagef("datapath %s: the fan's ipip device and %s, which is not a fan's, would take each other's packets; use --datapath %s", r.Datapath, other, fan.EBPF)
	}
	return nil
}

// besideIPIP says what somebody's ipip device means for a fan that is up by that of the
// fans.
func besideIPIP(r Result, s kernel.State) []string {
	other := otherIPIP(s)
	if other == "" || !byIPIP(r) {
		return nil
	}
	return []string{fmt.Sprintf("%s, which is not a fan's, has come to be used since %s is up, and the two take each other's packets; with --datapath %s the fan leaves the device alone",
		other, r.Fan.Bridge, fan.EBPF)}
}

func ipipLoaded() bool { return kernel.Loaded("ipip") }

// byIPIP says whether a fan has the kernel's ipip device.
func byIPIP(r Result) bool { return r.Fan.Type == fan.IPIP && r.Datapath == fan.Device }

// otherIPIP returns the name of an ipip device that somebody else has, or "". The
// kernel gives a packet to the device that names both of its hosts, before the one
// that takes its headers from metadata, of which there is only one, and to the
// latter before tunl0 (net/ipv4/ip_tunnel.c: ip_tunnel_lookup). One that is down, as
// tunl0 is from the start, gets nothing.
func otherIPIP(s kernel.State) string {
	for _, l := range s.Links {
		if l.Kind == "ipip" && l.Name != fan.SharedTunnel && (l.Up || l.External) {
			return l.Name
		}
	}
	return ""
}

// waysOut returns the devices by which packets leave the overlay: those by which the
// other hosts of the underlay are reached, and those with a default route.
func waysOut(f fan.Fan, s kernel.State) []string {
	devices := slices.Clone(devicesOf(f, s))
	for _, name := range s.DefaultDevices() {
		if !slices.Contains(devices, name) {
			devices = append(devices, name)
		}
	}
	return devices
}
