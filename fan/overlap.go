package fan

import "net/netip"

// Taken is a part of the address space that the host uses already.
type Taken struct {
	Prefix netip.Prefix
	// What says what uses it, such as "address 250.1.2.3/8 on br0".
	What string
}

// CheckFree refuses (ErrUsage) an overlay that overlaps something that is taken.
// A default route takes nothing.
func (m Mapping) CheckFree(taken []Taken) error {
	for _, t := range taken {
		if t.Prefix.Bits() > 0 && t.Prefix.Overlaps(m.overlay) {
			return Usagef("overlay %s overlaps %s; choose another overlay or remove that", m.overlay, t.What)
		}
	}
	return nil
}
