package bed

import (
	"encoding/binary"
	"net/netip"
)

// Slice is the overlay subnet of a host, computed here on its own so that the
// tests do not ask the program what is right:
//
//	underlay /u  | network …… | low 32-u bits of the host |
//	overlay  /o  | network | low 32-u bits of the host | containers |
func Slice(underlay, overlay netip.Prefix, host netip.Addr) netip.Prefix {
	low := 32 - underlay.Bits()
	bits := overlay.Bits() + low
	part := number(host) & (1<<low - 1)
	return netip.PrefixFrom(address(number(overlay.Masked().Addr())|part<<(32-bits)), bits)
}

// Nth is the n-th address of a prefix, its network address being the 0th.
func Nth(p netip.Prefix, n int) netip.Addr {
	return address(number(p.Masked().Addr()) + uint32(n))
}

// LastUsable is the address before a prefix's broadcast address.
func LastUsable(p netip.Prefix) netip.Addr {
	return Nth(p, 1<<(32-p.Bits())-2)
}

func number(a netip.Addr) uint32 {
	b := a.As4()
	return binary.BigEndian.Uint32(b[:])
}

func address(n uint32) netip.Addr {
	return netip.AddrFrom4([4]byte(binary.BigEndian.AppendUint32(nil, n)))
}
