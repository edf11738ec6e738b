package host

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/fanctl/fanctl/fan"
	"github.com/fanctl/fanctl/internal/kernel"
)

// checkSource returns an error if the kernel's vxlan device would send with
// another source than the host address, which the other hosts then take for
// forged. Since Linux 6.0 the programs choose the source
// (26101f5ab6bd); before, the route to the other host does. Where that is so for some
// routes only, it may be for those that lead to no host, and is a note.
func checkSource(h *netlink.Handle, f fan.Fan, s kernel.State) (note string, err error) {
	if f.Type != fan.VXLAN || !kernel.Older(kernel.Release(), 6, 0) {
		return "", nil
	}
	var wrong []error
	peers := somePeers(f, s)
	for _, peer := range peers {
		routes, err := h.RouteGet(peer.AsSlice())
		if err != nil || len(routes) == 0 {
			continue // no route yet: there is nothing that could be wrong
		}
		source, ok := netip.AddrFromSlice(routes[0].Src.To4())
		if err := cmp.Or(sourceError(f, peer, source, ok), ruleError(h, f, peer)); err != nil {
			wrong = append(wrong, err)
		}
	}
	switch len(wrong) {
	case 0:
		return "", nil
	case len(peers):
		return "", wrong[0]
	}
	return wrong[0].Error(), nil
}

// ruleError returns an error if rules lead the host's packets by another table than
// those whose source is yet to be chosen.
func ruleError(h *netlink.Handle, f fan.Fan, peer netip.Addr) error {
	var tables [2]int
	for i, options := range []*netlink.RouteGetOptions{{FIBMatch: true}, {FIBMatch: true, SrcAddr: f.Host.AsSlice()}} {
		routes, err := h.RouteGetWithOptions(peer.AsSlice(), options)
		if err != nil || len(routes) == 0 {
			return nil // no route, or a kernel that does not say
		}
		tables[i] = routes[0].Table
	}
	if tables[0] == tables[1] {
		return nil
	}
	return fmt.Errorf("packets to %s would go by routing table %d, and Linux before 6.0 can't lead them by table %d, as rules ask for those from %s: "+
		"use --type %s, or rules that ask for no source", peer, tables[0], tables[1], f.Host, fan.IPIP)
}

func sourceError(f fan.Fan, peer, source netip.Addr, ok bool) error {
	if !ok || source == f.Host {
		return nil
	}
	return fmt.Errorf("packets to %s would leave with the source %s, and Linux before 6.0 can't give them the host address %s: "+
		"set it with ip route change … src %s", peer, source, f.Host, f.Host)
}

// somePeers returns addresses that could be hosts of the underlay, one for each route
// to a part of it, or else any.
func somePeers(f fan.Fan, s kernel.State) []netip.Addr {
	var peers []netip.Addr
	underlay, device := f.Mapping.Underlay(), withAddress(f, s)
	for _, r := range s.Routes {
		to := r.Destination
		if r.Dead != "" || r.Table != unix.RT_TABLE_MAIN || to.Bits() <= underlay.Bits() || !underlay.Overlaps(to) || !leadsToHosts(r, device, s) {
			continue
		}
		if peer := somePeer(f, to); peer != f.Host && !slices.Contains(peers, peer) {
			peers = append(peers, peer)
		}
	}
	if len(peers) == 0 {
		return []netip.Addr{somePeer(f, underlay)}
	}
	return peers
}

// somePeer returns an address of a network: its first one that is not this host's, or
// the only one. Of two addresses both are hosts' (RFC 3021).
func somePeer(f fan.Fan, network netip.Prefix) netip.Addr {
	peer := network.Addr()
	if network.Bits() < 31 {
		peer = peer.Next()
	}
	if peer == f.Host && network.Bits() < 32 {
		peer = peer.Next()
	}
	return peer
}
