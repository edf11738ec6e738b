package fan

import "net/netip"

// Owner is the host that owns a part of the overlay.
type Owner struct {
	Host   netip.Addr
	Slice  netip.Prefix
	Bridge netip.Addr // the bridge's address, the first of the slice
}

// Owner returns who owns an address of the overlay, or what the host with an
// address of the underlay owns. It refuses (ErrUsage) addresses of neither, and
// those of slices that no host can have.
func (m Mapping) Owner(a netip.Addr) (o Owner, err error) {
	host, isOverlay := m.Host(a)
	if !isOverlay {
		host = a
	}
	if !isOverlay && !m.underlay.Contains(a) {
		return Owner{}, Usagef("%s is neither in overlay %s nor in underlay %s", a, m.overlay, m.underlay)
	}
	if err := m.CheckHost(host); err != nil {
		return Owner{}, Usagef("%s is nobody's: %v", a, err)
	}
	o.Host = host
	o.Slice, _ = m.Slice(host)
	o.Bridge, _ = m.BridgeAddr(host)
	return o, nil
}
