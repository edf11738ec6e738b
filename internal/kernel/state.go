// Package kernel reads what the kernel has: links, qdiscs, filters, addresses
// and routes, as plain data that the planning packages compare with what they
// want.
package kernel

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/fanctl/fanctl/fan"
)

// Link is one network device.
type Link struct {
	Name   string
	Kind   string // "bridge", "vxlan", "veth", …; "device" for hardware
	Index  int
	MTU    int
	MAC    [6]byte
	Master int // index of the bridge or bond that it is a port of, or 0
	Alias  string
	Up     bool
	NoARP  bool
	// Ethernet says that packets on the device begin with an Ethernet header.
	Ethernet bool
	Loopback bool
	// External says that a tunnel takes its headers from metadata.
	External bool
	// Port is the UDP port of a vxlan device.
	Port uint16
	// FrameErrors counts what a tunnel dropped because the congestion marks of its
	// two headers contradict each other (net/ipv4/ip_tunnel.c: rx_frame_errors).
	FrameErrors uint64
	// Closed says that a bridge port neither learns nor floods. It is looked up
	// only for the inlets of fan tunnels.
	Closed bool
	// PeerElsewhere says that the other end of a veth pair is in another network namespace.
	PeerElsewhere bool
	// Filtering says that a bridge keeps VLANs apart.
	Filtering bool
	// XDP says that a program of XDP is on the device.
	XDP bool
}

// Filter is one eBPF filter at a device's way in or out.
type Filter struct {
	Link   int
	Egress bool
	// TCX says that the program is attached by tcx (Linux 6.6), which has neither
	// priorities nor handles, and names only programs.
	TCX      bool
	Priority uint16
	Handle   uint32
	Name     string
	Program  int // id of the eBPF program
}

// Route is one IPv4 unicast route, or one that lets no packet through.
type Route struct {
	// Dead is the word for a route that leads nowhere and has no link, such as
	// "blackhole"; "" for a unicast route.
	Dead        string
	Destination netip.Prefix
	Gateway     netip.Addr // IPv4 or IPv6; zero: the destination is on the link
	Source      netip.Addr // preferred source, or zero
	Link        int
	MTU         int // 0: none given
	Table       int
}

// Address is one IPv4 address of a device.
type Address struct {
	Prefix netip.Prefix // the address with its mask
	Link   int
}

// State is what the kernel has in one network namespace.
type State struct {
	Links     []Link
	Addresses []Address
	Routes    []Route // of all tables but local
	Rules     []Rule  // which tables lead which packets, in their order
	Clsact    []int   // indices of the links that have a clsact qdisc
	Shaped    []int   // indices of the links where a qdisc lets packets out that is not none
	Filters   []Filter
	TCX       bool // the kernel can attach programs by tcx, and we may see them
}

// LookLinks reads only the links.
func LookLinks(h *netlink.Handle) (State, error) {
	var s State
	links, err := retry(h.LinkList)
	if err != nil {
		return s, fmt.Errorf("list links: %w", err)
	}
	for _, l := range links {
		link := linkFrom(l)
		if fan.IsInlet(link.Name) && link.Master != 0 {
			port, err := h.LinkGetProtinfo(l)
			link.Closed = err == nil && !port.Learning && !port.Flood
		}
		s.Links = append(s.Links, link)
	}
	return s, nil
}

// Look reads the state.
func Look(h *netlink.Handle) (State, error) {
	s, err := LookLinks(h)
	if err != nil {
		return s, err
	}
	if err := s.lookAddresses(h); err != nil {
		return s, err
	}
	if err := s.lookRoutes(h); err != nil {
		return s, err
	}
	if err := s.lookRules(h); err != nil {
		return s, err
	}
	if err := s.lookFilters(h); err != nil {
		return s, err
	}
	s.lookTCX()
	return s, nil
}

// retry repeats a dump that a change of what is dumped has interrupted.
func retry[T any](dump func() ([]T, error)) ([]T, error) {
	const times = 10
	var list []T
	var err error
	for range times {
		if list, err = dump(); !errors.Is(err, netlink.ErrDumpInterrupted) {
			break
		}
	}
	return list, err
}

func linkFrom(l netlink.Link) Link {
	a := l.Attrs()
	link := Link{
		Name: a.Name, Kind: l.Type(), Index: a.Index, MTU: a.MTU, Master: a.MasterIndex, Alias: a.Alias,
		Up:       a.Flags&net.FlagUp != 0,
		Loopback: a.Flags&net.FlagLoopback != 0,
		NoARP:    a.RawFlags&unix.IFF_NOARP != 0,
		Ethernet: a.EncapType == "ether",

		PeerElsewhere: a.NetNsID >= 0 && l.Type() == "veth",
		XDP:           a.Xdp != nil && a.Xdp.Attached,
	}
	copy(link.MAC[:], a.HardwareAddr)
	if a.Statistics != nil {
		link.FrameErrors = a.Statistics.RxFrameErrors
	}
	switch t := l.(type) {
	case *netlink.Vxlan:
		link.External, link.Port = t.FlowBased, uint16(t.Port)
	case *netlink.Iptun:
		link.External = t.FlowBased
	case *netlink.Bridge:
		link.Filtering = t.VlanFiltering != nil && *t.VlanFiltering
	}
	return link
}

func (s *State) lookAddresses(h *netlink.Handle) error {
	addresses, err := retry(func() ([]netlink.Addr, error) { return h.AddrList(nil, unix.AF_INET) })
	if err != nil {
		return fmt.Errorf("list addresses: %w", err)
	}
	for _, a := range addresses {
		s.Addresses = append(s.Addresses, Address{Prefix: prefixFrom(a.IPNet), Link: a.LinkIndex})
	}
	return nil
}

func (s *State) lookRoutes(h *netlink.Handle) error {
	all := &netlink.Route{Table: unix.RT_TABLE_UNSPEC}
	routes, err := retry(func() ([]netlink.Route, error) {
		return h.RouteListFiltered(unix.AF_INET, all, netlink.RT_FILTER_TABLE)
	})
	if err != nil {
		return fmt.Errorf("list routes: %w", err)
	}
	for _, r := range routes {
		dead := deadRoutes()[r.Type]
		if r.Type != unix.RTN_UNICAST && dead == "" || r.Table == unix.RT_TABLE_LOCAL {
			continue
		}
		route := Route{
			Dead:        dead,
			Destination: netip.PrefixFrom(netip.IPv4Unspecified(), 0),
			Gateway:     gatewayFrom(r.Gw, r.Via), Source: addrFrom(r.Src),
			Link: r.LinkIndex, MTU: r.MTU, Table: r.Table,
		}
		if r.Dst != nil {
			route.Destination = prefixFrom(r.Dst)
		}
		hops := r.MultiPath
		if len(hops) == 0 {
			s.Routes = append(s.Routes, route)
		}
		for _, hop := range hops {
			route.Link, route.Gateway = hop.LinkIndex, gatewayFrom(hop.Gw, hop.Via)
			s.Routes = append(s.Routes, route)
		}
	}
	return nil
}

// deadRoutes are the kinds of routes that lead nowhere, as ip-route(8) calls them.
func deadRoutes() map[int]string {
	return map[int]string{unix.RTN_BLACKHOLE: "blackhole", unix.RTN_UNREACHABLE: "unreachable",
		unix.RTN_PROHIBIT: "prohibit", unix.RTN_THROW: "throw"}
}

func (s *State) lookFilters(h *netlink.Handle) error {
	qdiscs, err := retry(func() ([]netlink.Qdisc, error) { return h.QdiscList(nil) })
	if err != nil {
		return fmt.Errorf("list qdiscs: %w", err)
	}
	for _, q := range qdiscs {
		shapes := q.Attrs().Parent == netlink.HANDLE_ROOT && q.Type() != "noqueue"
		if shapes || q.Type() == "ingress" { // older than clsact, and in its place
			s.Shaped = append(s.Shaped, q.Attrs().LinkIndex)
		}
		if q.Type() != "clsact" {
			continue
		}
		s.Clsact = append(s.Clsact, q.Attrs().LinkIndex)
		for _, parent := range []uint32{netlink.HANDLE_MIN_INGRESS, netlink.HANDLE_MIN_EGRESS} {
			if err := s.lookFiltersOf(h, q.Attrs().LinkIndex, parent); err != nil {
				return err
			}
		}
	}
	return nil
}

func (s *State) lookFiltersOf(h *netlink.Handle, link int, parent uint32) error {
	device := &netlink.Device{LinkAttrs: netlink.LinkAttrs{Index: link}}
	filters, err := retry(func() ([]netlink.Filter, error) { return h.FilterList(device, parent) })
	if errors.Is(err, unix.ENODEV) || errors.Is(err, unix.EINVAL) {
		return nil // the device or its qdisc has gone in the meantime
	}
	if err != nil {
		return fmt.Errorf("list filters of device %d: %w", link, err)
	}
	for _, f := range filters {
		filter := Filter{Link: link, Egress: parent == netlink.HANDLE_MIN_EGRESS,
			Priority: f.Attrs().Priority, Handle: f.Attrs().Handle}
		if b, ok := f.(*netlink.BpfFilter); ok {
			filter.Name, filter.Program = b.Name, b.Id
		}
		s.Filters = append(s.Filters, filter)
	}
	return nil
}

// Link returns the link of that name.
func (s State) Link(name string) (Link, bool) {
	for _, l := range s.Links {
		if l.Name == name {
			return l, true
		}
	}
	return Link{}, false
}

// LinkAt returns the link of that index.
func (s State) LinkAt(index int) (Link, bool) {
	for _, l := range s.Links {
		if l.Index == index {
			return l, true
		}
	}
	return Link{}, false
}

// HasClsact says whether the link of that index has a clsact qdisc.
func (s State) HasClsact(link int) bool {
	for _, l := range s.Clsact {
		if l == link {
			return true
		}
	}
	return false
}

// Without returns the state as it is when the links of those indices, and what is
// on them, have gone.
func (s State) Without(links ...int) State {
	gone := func(link int) bool { return slices.Contains(links, link) }
	s.Links = without(s.Links, func(l Link) bool { return gone(l.Index) })
	s.Addresses = without(s.Addresses, func(a Address) bool { return gone(a.Link) })
	s.Routes = without(s.Routes, func(r Route) bool { return gone(r.Link) })
	s.Clsact = without(s.Clsact, gone)
	s.Shaped = without(s.Shaped, gone)
	s.Filters = without(s.Filters, func(f Filter) bool { return gone(f.Link) })
	return s
}

// without returns a list of its own.
func without[T any](list []T, gone func(T) bool) []T {
	return slices.DeleteFunc(slices.Clone(list), gone)
}

// DefaultDevices returns the names of the devices that hold a default route in
// any table, the main table's first.
func (s State) DefaultDevices() []string {
	var names []string
	seen := map[int]bool{}
	for _, main := range []bool{true, false} {
		for _, r := range s.Routes {
			if r.Destination.Bits() != 0 || seen[r.Link] || (r.Table == unix.RT_TABLE_MAIN) != main {
				continue
			}
			if l, ok := s.LinkAt(r.Link); ok {
				seen[r.Link] = true
				names = append(names, l.Name)
			}
		}
	}
	return names
}

func prefixFrom(n *net.IPNet) netip.Prefix {
	a := addrFrom(n.IP)
	ones, _ := n.Mask.Size()
	return netip.PrefixFrom(a, ones)
}

// gatewayFrom returns a route's gateway, which may be one of IPv6 (RFC 5549).
func gatewayFrom(gw net.IP, via netlink.Destination) netip.Addr {
	if v, ok := via.(*netlink.Via); ok {
		return addrFrom(v.Addr)
	}
	return addrFrom(gw)
}

func addrFrom(ip net.IP) netip.Addr {
	a, ok := netip.AddrFromSlice(ip)
	if !ok {
		return netip.Addr{}
	}
	return a.Unmap()
}
