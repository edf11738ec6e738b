package probe

import (
	"net/netip"

	"github.com/vishvananda/netlink"
)

// unresolved returns the next hop of a path if that does not answer ARP, or the zero
// value. What can't be found out is no finding.
func unresolved(p Path) netip.Addr {
	var found netip.Addr
	// Its errors only mean that there is nothing to tell.
	_ = p.Namespace.Do(func() error {
		hop := p.To
		routes, err := netlink.RouteGet(p.To.AsSlice())
		if err != nil {
			return err
		}
		for _, r := range routes {
			if gateway, ok := netip.AddrFromSlice(r.Gw.To4()); ok {
				hop = gateway
			}
		}
		neighbours, err := netlink.NeighList(0, netlink.FAMILY_V4)
		for _, n := range neighbours {
			if a, ok := netip.AddrFromSlice(n.IP.To4()); ok && a == hop && n.State&(netlink.NUD_INCOMPLETE|netlink.NUD_FAILED) != 0 {
				found = hop
			}
		}
		return err
	})
	return found
}
