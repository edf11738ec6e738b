package fan

import (
	"net/netip"
	"strconv"
)

// MaxReserve is the most addresses that a host can keep of a slice; each is one
// that the bridge gets.
const MaxReserve = 250

// ParseReserve reads how many addresses of its slice a host keeps, the bridge's
// own included. Errors are ErrUsage.
func ParseReserve(s string) (uint8, error) {
	n, err := strconv.ParseUint(s, 10, 8)
	if err != nil || n < 1 || n > MaxReserve || strconv.FormatUint(n, 10) != s {
		return 0, Usagef("host-reserve %q is not a number from 1 to %d", s, MaxReserve)
	}
	return uint8(n), nil
}

// Leases returns the first and the last address that DHCP hands out: the lower
// half of the slice without what the host keeps. The upper half is Docker's, so
// that both can use one bridge without giving an address twice. A slice of four
// addresses has just one to give, which is DHCP's.
func (f Fan) Leases() (first, last netip.Addr) {
	base, most := number(f.Slice().Addr()), f.lastLease()
	return address(base + uint32(max(f.Reserve, 1)) + 1), address(base + most)
}

// lastLease is the last lease's place in the slice.
func (f Fan) lastLease() uint32 {
	size := uint32(1) << (32 - f.Mapping.SliceBits())
	return max(size/2-1, 2)
}

// Kept returns the addresses that the bridge has beside its own.
func (f Fan) Kept() []netip.Addr {
	var list []netip.Addr
	for i := uint32(2); i <= uint32(f.Reserve); i++ {
		list = append(list, address(number(f.Slice().Addr())+i))
	}
	return list
}

// checkReserve refuses (ErrUsage) to keep more than the slice has, or all that
// DHCP could hand out.
func (f Fan) checkReserve() error {
	room := uint32(1)<<(32-f.Mapping.SliceBits()) - 3 // all but the network, the broadcast address and one container's
	what := "no address for containers"
	if f.DHCP {
		room, what = f.lastLease()-1, "none to DHCP, which has the lower half"
	}
	if uint32(f.Reserve) > room {
		return Usagef("host-reserve %d leaves of slice %s %s; use %d at most", f.Reserve, f.Slice(), what, room)
	}
	return nil
}
