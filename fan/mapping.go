package fan

import (
	"encoding/binary"
	"fmt"
	"net/netip"
)

// maxSliceBits leaves a slice two usable addresses: one for the bridge and one
// for a container.
const maxSliceBits = 30

// Mapping is the pair of networks that makes a fan: every host address of the
// underlay has a slice of the overlay. The zero value is not valid.
//
//	underlay  10.0.0.0/16    |  u network bits   |  32-u host bits  |
//	                                              \                  \
//	overlay   250.0.0.0/8    | o network bits |  32-u host bits  | 32-p bits for the slice |
//
// so the length of a slice's prefix is p = o + (32-u).
type Mapping struct {
	underlay, overlay netip.Prefix
}

// NewMapping returns the mapping between two IPv4 networks. They must have no
// host bits set, must not overlap, the underlay's mask must be the longer one,
// and a slice must have at least two usable addresses (p <= 30). Errors are
// ErrUsage.
func NewMapping(underlay, overlay netip.Prefix) (Mapping, error) {
	if err := checkNetwork("underlay", underlay); err != nil {
		return Mapping{}, err
	}
	if err := checkNetwork("overlay", overlay); err != nil {
		return Mapping{}, err
	}
	if err := checkMasks(underlay, underlay.Bits(), overlay); err != nil {
		return Mapping{}, err
	}
	if underlay.Bits() > 30 {
		return Mapping{}, Usagef("underlay %s has no room for two hosts; use a mask of /30 or shorter", underlay)
	}
	m := Mapping{underlay, overlay}
	if m.SliceBits() > maxSliceBits {
		return Mapping{}, Usagef("underlay %s and overlay %s leave slices of /%d, with fewer than two usable addresses; use an overlay of /%d or shorter",
			underlay, overlay, m.SliceBits(), maxSliceBits-(32-underlay.Bits()))
	}
	if underlay.Overlaps(overlay) {
		return Mapping{}, Usagef("overlay %s overlaps underlay %s; choose another overlay, such as 250.0.0.0/8", overlay, underlay)
	}
	return m, nil
}

// checkMasks refuses an underlay whose mask, of so many bits, is not longer than
// the overlay's.
func checkMasks(underlay fmt.Stringer, bits int, overlay netip.Prefix) error {
	if bits <= overlay.Bits() {
		return Usagef("underlay %s must have a longer mask than overlay %s, such as 10.0.0.0/16 and 250.0.0.0/8", underlay, overlay)
	}
	return nil
}

// checkNetwork refuses what is not an IPv4 unicast network.
func checkNetwork(what string, p netip.Prefix) error {
	if !p.IsValid() || !p.Addr().Is4() {
		return Usagef("%s %s is not an IPv4 network such as 10.0.0.0/16", what, p)
	}
	if p.Bits() == 0 {
		return Usagef("%s %s is everything; use a mask of /1 or longer", what, p)
	}
	if p.Masked() != p {
		return Usagef("%s %s: host bits are set; did you mean %s?", what, p, p.Masked())
	}
	usual := "250.0.0.0/8"
	if what == "underlay" {
		usual = "10.0.0.0/16"
	}
	for _, unusable := range []struct{ network, use string }{
		{"0.0.0.0/8", "hosts without an address"}, {"127.0.0.0/8", "loopback"}, {"224.0.0.0/4", "multicast"},
	} {
		switch {
		case p.String() == unusable.network:
			return Usagef("%s %s is for %s and no host's; choose one such as %s", what, p, unusable.use, usual)
		case p.Overlaps(netip.MustParsePrefix(unusable.network)):
			return Usagef("%s %s overlaps %s, which is for %s and no host's; choose one such as %s", what, p, unusable.network, unusable.use, usual)
		}
	}
	return nil
}

// Underlay returns the network of the hosts.
func (m Mapping) Underlay() netip.Prefix { return m.underlay }

// Overlay returns the network of the containers.
func (m Mapping) Overlay() netip.Prefix { return m.overlay }

// SliceBits returns p, the length of the prefix of every slice.
func (m Mapping) SliceBits() int { return m.overlay.Bits() + 32 - m.underlay.Bits() }

// Slice returns the part of the overlay that a host owns. ok is false if the
// address is not in the underlay; the underlay's network and broadcast addresses
// have slices too, which nobody owns (CheckHost refuses them). It does not
// allocate.
//
//	host   |  u bits, the underlay's  |  a  |
//	slice  |  o bits, the overlay's | a |  0  |  = overlay | a << (32-p)
func (m Mapping) Slice(host netip.Addr) (slice netip.Prefix, ok bool) {
	if !m.underlay.Contains(host) {
		return netip.Prefix{}, false
	}
	p := m.SliceBits()
	a := number(host) &^ mask(m.underlay.Bits())
	return netip.PrefixFrom(address(number(m.overlay.Addr())|a<<(32-p)), p), true
}

// Host returns the underlay address of the host that owns an overlay address,
// the inverse of Slice. ok is false if the address is not in the overlay. It
// does not allocate.
//
//	overlay address  |  o bits  |  a  |  32-p bits  |
//	host             |  u bits, the underlay's  |  a  |
func (m Mapping) Host(overlayAddr netip.Addr) (host netip.Addr, ok bool) {
	if !m.overlay.Contains(overlayAddr) {
		return netip.Addr{}, false
	}
	a := number(overlayAddr) >> (32 - m.SliceBits()) &^ mask(m.underlay.Bits())
	return address(number(m.underlay.Addr()) | a), true
}

// BridgeAddr returns the first usable address of a host's slice, which its fan
// bridge has. ok is false if the host is not in the underlay.
func (m Mapping) BridgeAddr(host netip.Addr) (addr netip.Addr, ok bool) {
	slice, ok := m.Slice(host)
	if !ok {
		return netip.Addr{}, false
	}
	return slice.Addr().Next(), true
}

// CheckHost refuses (ErrUsage) an address that can't be a host's: outside the
// underlay, its network or its broadcast address.
func (m Mapping) CheckHost(host netip.Addr) error {
	if !m.underlay.Contains(host) {
		return Usagef("host address %s is not in underlay %s", host, m.underlay)
	}
	switch a := number(host) &^ mask(m.underlay.Bits()); a {
	case 0:
		return Usagef("host address %s is the network address of underlay %s", host, m.underlay)
	case ^mask(m.underlay.Bits()):
		return Usagef("host address %s is the broadcast address of underlay %s", host, m.underlay)
	}
	return nil
}

func number(a netip.Addr) uint32 {
	b := a.As4()
	return binary.BigEndian.Uint32(b[:])
}

func address(n uint32) netip.Addr {
	var b [4]byte
	binary.BigEndian.PutUint32(b[:], n)
	return netip.AddrFrom4(b)
}

// mask returns the network mask of that length, 1 to 32.
func mask(bits int) uint32 { return ^uint32(0) << (32 - bits) }
