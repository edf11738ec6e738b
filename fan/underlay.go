package fan

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

// defaultUnderlayBits is the mask of an underlay that is given without one, as
// in the original tools.
const defaultUnderlayBits = 16

// UnderlaySpec is an underlay as a person writes it. Exactly one of Device,
// Default and Addr is set.
type UnderlaySpec struct {
	Device  string     // the underlay of this device's first address
	Default bool       // of the device that holds the default route
	Addr    netip.Addr // of this address, or, if it is a network's, of the local address inside
	Bits    int        // length of the underlay's prefix
}

// ParseUnderlay reads 10.0.0.45/16, 10.0.0.0/16, 10.0.0.45, eth0/16, eth0,
// default/16 or default; a mask that is left out is /16. Errors are ErrUsage.
func ParseUnderlay(s string) (UnderlaySpec, error) {
	const forms = "use a network such as 10.0.0.0/16, this host's address such as 10.0.0.45/16, or a device such as eth0/16"
	who, mask, masked := strings.Cut(s, "/")
	spec := UnderlaySpec{Bits: defaultUnderlayBits}
	if masked {
		bits, err := strconv.Atoi(mask)
		if err != nil || strconv.Itoa(bits) != mask || bits < 1 || bits > 30 {
			return UnderlaySpec{}, Usagef("underlay %q: mask %q is not a number from 1 to 30; %s", s, mask, forms)
		}
		spec.Bits = bits
	}
	if a, err := netip.ParseAddr(who); err == nil {
		if !a.Is4() {
			return UnderlaySpec{}, Usagef("underlay %q is not IPv4; %s", s, forms)
		}
		spec.Addr = a
		return spec, nil
	}
	switch {
	case looksLikeAddress(who):
		return UnderlaySpec{}, Usagef("underlay %q: %q is not an IPv4 address; %s", s, who, forms)
	case who == "default":
		spec.Default = true
	case validName(who):
		spec.Device = who
	default:
		return UnderlaySpec{}, Usagef("underlay %q: %q is neither an IPv4 address nor a device's name; %s", s, who, forms)
	}
	return spec, nil
}

// looksLikeAddress says whether somebody who wrote that meant an address.
func looksLikeAddress(s string) bool {
	return strings.Contains(s, ".") && strings.Trim(s, "0123456789.") == ""
}

// String returns the spec in the form that ParseUnderlay reads.
func (u UnderlaySpec) String() string {
	who := u.Device
	switch {
	case u.Default:
		who = "default"
	case u.Addr.IsValid():
		who = u.Addr.String()
	}
	return fmt.Sprintf("%s/%d", who, u.Bits)
}

// Local is one IPv4 address of this host.
type Local struct {
	Device   string
	Prefix   netip.Prefix // the address with its mask
	Loopback bool         // the device is a loopback device
}

// Resolve finds out which of the host's addresses is meant. locals are its
// addresses in the kernel's order; defaultDevice holds the default route, or is
// empty. For a network it is the one address inside, loopback devices and
// addresses with a mask of /32 aside, which are virtual. An address that a loopback
// device has and another one, too, is the other's, however it was named: the same
// address makes the same fan. Errors are ErrUsage.
func (u UnderlaySpec) Resolve(locals []Local, defaultDevice string) (underlay netip.Prefix, host netip.Addr, device string, err error) {
	local, err := u.find(locals, defaultDevice)
	if err != nil {
		return netip.Prefix{}, netip.Addr{}, "", err
	}
	host = local.Prefix.Addr()
	if local.Loopback {
		local, _ = Holder(locals, host)
	}
	return netip.PrefixFrom(host, u.Bits).Masked(), host, local.Device, nil
}

func (u UnderlaySpec) find(locals []Local, defaultDevice string) (Local, error) {
	if u.Default {
		if defaultDevice == "" {
			return Local{}, NotYetf("underlay %s: this host has no default route; name the device or the address", u)
		}
		return firstOn(defaultDevice, u, locals)
	}
	if u.Device != "" {
		return firstOn(u.Device, u, locals)
	}
	network := netip.PrefixFrom(u.Addr, u.Bits).Masked()
	if network.Addr() != u.Addr {
		return u.exact(network, locals)
	}
	inside := insideOf(network, locals)
	switch len(inside) {
	case 1:
		return inside[0], nil
	case 0:
		if virtual := virtualIn(network, locals); len(virtual) > 0 {
			return Local{}, NotYetf("underlay %s: this host has no address inside but %s, which, on lo or with a mask of /32, can be anybody's; if it is this host's, name it: %s/%d",
				u, list(virtual), virtual[0].Prefix.Addr(), u.Bits)
		}
		return Local{}, NotYetf("underlay %s: this host has no address inside; its addresses are %s", u, list(locals))
	}
	return Local{}, Usagef("underlay %s: this host has several addresses inside: %s; name the one to use, such as %s/%d",
		u, list(inside), inside[0].Prefix.Addr(), u.Bits)
}

// insideOf returns the addresses in a network that can be a host's there: loopback
// devices and addresses with a mask of /32 aside, which are virtual.
func insideOf(network netip.Prefix, locals []Local) []Local {
	var inside []Local
	for _, l := range locals {
		if network.Contains(l.Prefix.Addr()) && !l.Loopback && l.Prefix.Bits() < 32 {
			inside = append(inside, l)
		}
	}
	return inside
}

// virtualIn returns the addresses in a network that insideOf leaves aside.
func virtualIn(network netip.Prefix, locals []Local) []Local {
	var virtual []Local
	for _, l := range locals {
		if network.Contains(l.Prefix.Addr()) && !l.Prefix.Addr().IsLoopback() && (l.Loopback || l.Prefix.Bits() == 32) {
			virtual = append(virtual, l)
		}
	}
	return virtual
}

// exact finds an address that was named. It may be on a loopback device, as where
// hosts tell each other their addresses by a routing protocol.
func (u UnderlaySpec) exact(network netip.Prefix, locals []Local) (Local, error) {
	if l, there := Holder(locals, u.Addr); there && !u.Addr.IsLoopback() {
		return l, nil
	}
	return Local{}, NotYetf("underlay %s: this host has no address %s; its addresses are %s (to mean the network, write %s)",
		u, u.Addr, list(locals), network)
}

// Holder finds an address among the host's. It is a loopback device's only if no other
// device has it.
func Holder(locals []Local, a netip.Addr) (Local, bool) {
	for _, loopback := range []bool{false, true} {
		for _, l := range locals {
			if l.Prefix.Addr() == a && l.Loopback == loopback {
				return l, true
			}
		}
	}
	return Local{}, false
}

// firstOn finds a device's first address; 127.0.0.1 only if it has no other.
func firstOn(device string, u UnderlaySpec, locals []Local) (Local, error) {
	for _, loopback := range []bool{false, true} {
		for _, l := range locals {
			if l.Device == device && l.Prefix.Addr().IsLoopback() == loopback {
				return l, nil
			}
		}
	}
	return Local{}, NotYetf("underlay %s: device %s has no IPv4 address; this host's addresses are %s", u, device, list(locals))
}

func list(locals []Local) string {
	var words []string
	for _, l := range locals {
		if !l.Prefix.Addr().IsLoopback() {
			words = append(words, fmt.Sprintf("%s on %s", l.Prefix, l.Device))
		}
	}
	if len(words) == 0 {
		return "none"
	}
	return strings.Join(words, ", ")
}
