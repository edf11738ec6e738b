package bridge

import (
	"fmt"
	"net"
	"slices"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/fanctl/fanctl/fan"
	"github.com/fanctl/fanctl/internal/kernel"
	"github.com/fanctl/fanctl/internal/plan"
)

// planRoute brings the route back that the kernel has made with the bridge's
// address and somebody has flushed: the kernel would not make it again. Where the
// bridge or its address is yet to come, the kernel will make the route. It may be
// in any table (a VRF's).
func planRoute(h *netlink.Handle, f fan.Fan, l kernel.Link, s kernel.State) plan.Plan {
	address := kernel.Address{Prefix: f.BridgePrefix(), Link: l.Index}
	if !l.Up || !slices.Contains(s.Addresses, address) {
		return nil
	}
	network := address.Prefix.Masked()
	if slices.ContainsFunc(s.Routes, func(r kernel.Route) bool { return r.Destination == network && r.Link == l.Index }) {
		return nil
	}
	route := func(l netlink.Link) *netlink.Route {
		return &netlink.Route{LinkIndex: l.Attrs().Index, Scope: unix.RT_SCOPE_LINK, Protocol: unix.RTPROT_KERNEL, Src: f.BridgeAddr().AsSlice(),
			Dst: &net.IPNet{IP: network.Addr().AsSlice(), Mask: net.CIDRMask(network.Bits(), 32)}}
	}
	return plan.Plan{kernel.LinkStep(h, f.Bridge,
		fmt.Sprintf("ip route add %s dev %s proto kernel scope link src %s", network, f.Bridge, f.BridgeAddr()),
		func(l netlink.Link) error { return h.RouteAdd(route(l)) },
		func(l netlink.Link) error { return h.RouteDel(route(l)) })}
}
