package fan

import (
	"cmp"
	"net/netip"
)

// Place is where on a host a fan is built: the host's address in the underlay and
// the device that has it.
type Place struct {
	Underlay netip.Prefix
	Host     netip.Addr
	Device   string
	MTU      MTU // the least of the devices by which the other hosts are reached
	// Narrowest is the device that has this MTU; empty: Device.
	Narrowest string
}

// At returns the fan that a spec means at a place: what the spec leaves out is
// chosen. Errors are ErrUsage.
func (s Spec) At(p Place) (Fan, error) {
	f := Fan{Host: p.Host, Device: p.Device, Type: s.Type, Bridge: s.Bridge, Port: s.Port, NAT: !s.NoNAT, MTU: s.MTU,
		FixedMTU: s.MTU != 0, Datapath: s.Datapath, Fast: s.Fast, Auto: s.Auto, DHCP: s.DHCP, Reserve: s.Reserve}
	var err error
	if f.Mapping, err = NewMapping(p.Underlay, s.Overlay); err != nil {
		return f, err
	}
	if f.Type == 0 {
		f.Type = IPIP
	}
	if f.Type == VXLAN && f.Port == 0 {
		f.Port = DefaultPort
	}
	if f.Bridge == "" {
		f.Bridge = BridgeName(s.Overlay)
	}
	if err := f.setMTU(p); err != nil {
		return f, err
	}
	return f, f.Validate()
}

// setMTU gives a fan without one the MTU that the underlay device leaves to it,
// and refuses (ErrUsage) one that does not fit.
func (f *Fan) setMTU(p Place) error {
	underlay, device := p.MTU, cmp.Or(p.Narrowest, p.Device)
	most := f.Type.MTU(underlay)
	if most < MinMTU {
		return Usagef("MTU %d of underlay device %s is too small: %s adds %d bytes, so it must be %d at least",
			underlay, device, f.Type, f.Type.Overhead(), MinMTU+f.Type.Overhead())
	}
	if f.MTU == 0 {
		f.MTU = most
	}
	if f.MTU > most {
		return Usagef("MTU %d does not fit: device %s has %d and %s adds %d bytes, so the fan's is %d at most",
			f.MTU, device, underlay, f.Type, f.Type.Overhead(), most)
	}
	return nil
}

// Spec returns the spec that means this fan. Where the host still has the fan's
// address, At makes the same of it; the address may be on another device, and an
// MTU that was not given follows that device's.
func (f Fan) Spec() Spec {
	s := Spec{Underlay: UnderlaySpec{Addr: f.Host, Bits: f.Mapping.Underlay().Bits()}, Overlay: f.Mapping.Overlay(), Type: f.Type,
		Bridge: f.Bridge, Port: f.Port, NoNAT: !f.NAT, Datapath: f.Datapath, Fast: f.Fast, Auto: f.Auto, DHCP: f.DHCP, Reserve: f.Reserve}
	if f.FixedMTU {
		s.MTU = f.MTU
	}
	return s
}

// SpecAmong is Spec on a host that may have got another address. It is the fan's own
// wherever the host has that, or else the one address inside the underlay that the
// fan's device has. That of another device is meant only where there is no device of
// that name any more, because it was renamed or replaced: a fan must not leave a device
// that was asked for because its address is away for a moment. hasDevice says whether
// there is one. Errors are ErrUsage.
func (f Fan) SpecAmong(locals []Local, hasDevice bool) (Spec, error) {
	s := f.Spec()
	network := f.Mapping.Underlay()
	if _, err := s.Underlay.find(locals, ""); err == nil {
		return s, nil
	}
	if !hasDevice {
		s.Underlay.Addr = network.Addr()
		return s, nil
	}
	var here []Local
	for _, l := range insideOf(network, locals) {
		if l.Device == f.Device {
			here = append(here, l)
		}
	}
	switch len(here) {
	case 1:
		s.Underlay.Addr = here[0].Prefix.Addr()
		return s, nil
	case 0:
		return s, NotYetf("device %s has no address inside underlay %s, where the fan has %s; this host's addresses are %s (to move the fan, run up with one of them)",
			f.Device, network, f.Host, list(locals))
	}
	return s, Usagef("device %s has several addresses inside underlay %s, and not the fan's %s: %s; run up with the one to use, such as -u %s/%d",
		f.Device, network, f.Host, list(here), here[0].Prefix.Addr(), network.Bits())
}
