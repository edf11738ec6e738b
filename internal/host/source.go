package host

import (
	"fmt"
	"net/netip"

	"github.com/vishvananda/netlink"

	"github.com/fanctl/fanctl/fan"
	"github.com/fanctl/fanctl/internal/kernel"
)

// checkSource returns an error if the kernel's vxlan device would send with
// another source than the host address, which the other hosts then take for
// forged. Since Linux 6.0 the programs choose the source
// (26101f5ab6bd); before, the route to the other host does.
func checkSource(h *netlink.Handle, f fan.Fan) error {
	if f.Type != fan.VXLAN || !kernel.Older(kernel.Release(), 6, 0) {
		return nil
	}
	peer := somePeer(f)
	routes, err := h.RouteGet(peer.AsSlice())
	if err != nil || len(routes) == 0 {
		return nil // no route yet: there is nothing that could be wrong
	}
	source, ok := netip.AddrFromSlice(routes[0].Src.To4())
	return sourceError(f, peer, source, ok)
}

func sourceError(f fan.Fan, peer, source netip.Addr, ok bool) error {
	if !ok || source == f.Host {
		return nil
	}
	return fmt.Errorf("packets to %s would leave with the source %s, and Linux before 6.0 can't give them the host address %s: "+
		"set it with ip route change … src %s", peer, source, f.Host, f.Host)
}

// somePeer returns the address of a host that could be in the underlay: the first
// one that is not this host.
func somePeer(f fan.Fan) netip.Addr {
	peer := f.Mapping.Underlay().Addr().Next()
	if peer == f.Host {
		peer = peer.Next()
	}
	return peer
}
