package setup

import (
	"fmt"
	"net/netip"
	"regexp"
	"slices"

	"github.com/fanctl/fanctl/fan"
)

// engineDevice matches the bridges that container engines make for themselves, whose
// networks are no underlays: Docker's, podman's, LXD's, Incus', libvirt's.
func engineDevice(name string) bool {
	return regexp.MustCompile(`^(docker[0-9]+|br-[0-9a-f]{12}|docker_gwbridge|podman[0-9]+|cni-podman[0-9]+|lxdbr[0-9]+|incusbr[0-9]+|lxcbr[0-9]+|virbr[0-9]+)$`).MatchString(name)
}

// Candidate is an underlay that this host could have.
type Candidate struct {
	Underlay netip.Prefix
	Local    fan.Local
}

// Underlays returns the underlays to choose from, the one of the main address first:
// of each address the /16 that it is in, as everywhere in the world of fans, or its
// own network where that is larger.
func (s *Setup) Underlays() ([]Candidate, error) {
	locals, err := s.Host.Underlays()
	if err != nil {
		return nil, err
	}
	var list []Candidate
	for _, l := range locals {
		if l.Prefix.Bits() == 32 || engineDevice(l.Device) {
			continue
		}
		underlay := netip.PrefixFrom(l.Prefix.Addr(), maskFor(l.Prefix.Bits())).Masked()
		if !slices.ContainsFunc(list, func(c Candidate) bool { return c.Underlay == underlay }) {
			list = append(list, Candidate{underlay, l})
		}
	}
	return list, nil
}

// maskFor is the underlay's mask for an address with a mask: a larger network than /16
// as it is, if an overlay of /8 leaves room for it.
func maskFor(bits int) int {
	if bits > 8 && bits < 16 {
		return bits
	}
	return 16
}

// overlays are proposed in this order: 250 is what the world of fans uses, and nobody
// has been given addresses from 240 on (RFC 1112, section 4).
func overlays() []netip.Prefix {
	var list []netip.Prefix
	for _, first := range []byte{250, 251, 252, 253, 254, 249, 248, 247, 246, 245, 244, 243, 242, 241, 240} {
		list = append(list, netip.PrefixFrom(netip.AddrFrom4([4]byte{first}), 8))
	}
	return list
}

// Overlay proposes an overlay. taken says why the usual one is not it, and is empty if
// it is.
func (s *Setup) Overlay(underlay fan.UnderlaySpec) (overlay netip.Prefix, taken string, err error) {
	for _, o := range overlays() {
		if _, err = s.Host.Up(fan.Spec{Underlay: underlay, Overlay: o}, true); err == nil {
			return o, taken, nil
		}
		if taken == "" {
			taken = err.Error()
		}
	}
	return netip.Prefix{}, taken, fmt.Errorf("no overlay is free on this host: %w", err)
}

// CheckUnderlay refuses an underlay that no fan of this host can have.
func (s *Setup) CheckUnderlay(underlay fan.UnderlaySpec) error {
	var failed error
	for _, o := range overlays()[:2] { // one of them may be taken
		if _, failed = s.Host.Up(fan.Spec{Underlay: underlay, Overlay: o}, true); failed == nil {
			return nil
		}
	}
	return failed
}
