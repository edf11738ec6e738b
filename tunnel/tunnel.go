// Package tunnel sets up the fan tunnel: its devices, its eBPF programs and the
// route into it. It plans the change as a pure comparison of what is wanted with
// what the kernel has; the steps of the plan touch the kernel.
package tunnel

import (
	"fmt"
	"slices"

	"github.com/vishvananda/netlink"

	"github.com/fanctl/fanctl/fan"
	"github.com/fanctl/fanctl/internal/kernel"
	"github.com/fanctl/fanctl/tunnel/bpf"
)

// maxVXLANMTU is the MTU of a vxlan fan tunnel: as much as fits into a UDP
// packet. It is not the fan's MTU, because the bridge drops what is longer than
// its port without a word. So what is too long reaches the tunnel, which answers
// with ICMP "fragmentation needed" or fragments
// (net/ipv4/ip_tunnel_core.c: skb_tunnel_check_pmtu).
const maxVXLANMTU = 65535 - 50

// Want is the fan tunnel that is to be.
type Want struct {
	Fan fan.Fan
	// Datapath is the way that was chosen: Device or EBPF.
	Datapath fan.Datapath
	// Ways are the devices by which the tunnel's packets come and leave, first the one
	// by which most leave; empty: the fan's device.
	Ways []string
	// PlainSums says that the first of the ways writes checksums from any byte on
	// (kernel.SumsPlainly).
	PlainSums bool
	// OuterFirst says that packets which the ipip device has received may begin with the
	// outer headers (kernel.OuterFirst).
	OuterFirst bool
	// Room says that the kernel has what an ipip fan's room is made of
	// (kernel.HasVXLAN).
	Room bool
	// Fast says that containers' packets go past the host's network stack.
	Fast bool
	// InnerEthernet says that the kernel can mark a super-packet in a frame
	// (kernel.MarksFrames).
	InnerEthernet bool
}

// Name returns the name of the fan tunnel.
func (w Want) Name() string { return w.Fan.Tunnel() }

// ipip says whether the tunnel is one of RFC 2003, which eBPF builds.
func (w Want) ipip() bool { return w.Fan.Type == fan.IPIP }

// catches says whether the ipip device that all fans share receives for eBPF.
func (w Want) catches() bool { return w.ipip() && w.Datapath == fan.Device }

// waysOr returns the ways, or the fan's device if there are none.
func waysOr(ways []string, f fan.Fan) []string {
	if len(ways) == 0 {
		return []string{f.Device}
	}
	return ways
}

// inletMAC is the hardware address of the inlet, which no packet carries.
func inletMAC(f fan.Fan) [6]byte {
	mac := f.TunnelMAC()
	mac[0] |= 0x08
	return mac
}

// isInlet says whether a device of the inlet's name is one, for this host address
// or for one that the host had.
func isInlet(f fan.Fan, l kernel.Link) bool {
	return l.Kind == "veth" && sameKind(l.MAC, inletMAC(f))
}

// sameKind says whether two of our hardware addresses differ only in the host's.
func sameKind(a, b [6]byte) bool { return a[0] == b[0] && a[1] == b[1] }

// BuiltAs says which way the tunnel of a fan was built that is up, whole or in
// part; built is false if there is nothing of it yet.
func BuiltAs(f fan.Fan, s kernel.State) (d fan.Datapath, built bool) {
	if f.Type == fan.VXLAN {
		_, built = s.Link(fan.TunnelName(f.Mapping.Overlay()))
		return fan.Device, built
	}
	if isCaught(f.Bridge, s) {
		return fan.Device, true
	}
	l, there := s.Link(f.Inlet())
	return fan.EBPF, there && isInlet(f, l)
}

// isCaught says whether the fan with that bridge has a program on the ipip device that
// fans share.
func isCaught(bridge string, s kernel.State) bool {
	shared, there := s.Link(fan.SharedTunnel)
	return there && slices.ContainsFunc(s.Filters, func(filter kernel.Filter) bool {
		_, ours := ownedBy(bridge, filter)
		return ours && filter.Link == shared.Index
	})
}

// IsWhole says whether nothing of a fan's tunnel is missing that Plan makes before its
// last step, as far as one can tell by that one's being there: the route, or what vxlan
// has in its place.
func IsWhole(f fan.Fan, s kernel.State) bool {
	l, there := s.Link(f.Tunnel())
	if f.Type == fan.VXLAN || !there {
		return there && l.Up
	}
	return slices.ContainsFunc(s.Routes, func(r kernel.Route) bool {
		return r.Destination == f.Mapping.Overlay() && r.Link == l.Index && r.Table == mainTable
	})
}

// OwnPorts returns the names of the bridge's ports that belong to the fan.
func OwnPorts(f fan.Fan) []string {
	return fan.PortNames(f.Mapping.Overlay())
}

// receivers returns the devices by which packets of the tunnel may come: the ways,
// and those that were ways once. A route that was away may be back any moment.
func (w Want) receivers(s kernel.State) []string {
	devices := slices.Clone(waysOr(w.Ways, w.Fan))
	for _, f := range s.Filters {
		program, ours := ownedBy(w.Fan.Bridge, f)
		l, ok := s.LinkAt(f.Link)
		former := ours && ok && (program == bpf.IPIPReceive || program == bpf.VXLANDirect) && l.Name != fan.SharedTunnel // where earlier versions had one
		if former && !slices.Contains(devices, l.Name) {
			devices = append(devices, l.Name)
		}
	}
	return devices
}

// attachments returns where the fan's programs belong.
func (w Want) attachments(s kernel.State) []attachment {
	if !w.ipip() {
		return append([]attachment{
			{device: w.Name(), egress: true, program: bpf.VXLANSend},
			{device: w.Name(), program: bpf.VXLANReceive},
		}, w.fastAttachments(s)...)
	}
	list := []attachment{
		{device: w.Name(), egress: true, program: bpf.IPIPSend, hot: true},
		{device: w.Fan.Inlet(), egress: true, program: bpf.IPIPClose},
		{device: w.Fan.Bridge, egress: true, program: bpf.IPIPDeliver, hot: true},
	}
	for _, device := range w.receivers(s) {
		list = append(list, attachment{device: device, program: bpf.IPIPReceive, foreign: true})
	}
	list = append(list, attachment{device: w.Fan.Inlet(), program: bpf.IPIPPieces})
	if w.catches() {
		list = append(list, attachment{device: fan.SharedTunnel, program: bpf.IPIPWhole})
	}
	if w.Room {
		list = append(list, attachment{device: w.Fan.Room(), program: bpf.IPIPClose})
	}
	return append(list, w.fastAttachments(s)...)
}

// config returns the constants of the fan's programs as far as the kernel has
// the devices that they name.
func (w Want) config(s kernel.State) (c bpf.Config, complete bool) {
	tunnel, haveTunnel := s.Link(w.Name())
	bridge, haveBridge := s.Link(w.Fan.Bridge)
	underlay, haveUnderlay := s.Link(waysOr(w.Ways, w.Fan)[0])
	d := bpf.Devices{Fast: w.Fast, InnerEthernet: w.InnerEthernet}
	if w.Fast || !w.ipip() {
		d.Bridge = bridge.Index
	}
	if w.Fast || w.ipip() {
		d.Tunnel, d.Underlay, d.LinkHeader = tunnel.Index, underlay.Index, linkHeader(underlay)
	}
	if !w.ipip() {
		return bpf.NewConfig(w.Fan, d), haveTunnel && haveBridge && (haveUnderlay || !w.Fast)
	}
	inlet, haveInlet := s.Link(w.Fan.Inlet())
	d.TunnelMAC, d.Inlet = w.Fan.TunnelMAC(), inlet.Index
	d.PlainSums, d.Catches, d.OuterFirst = w.PlainSums, w.catches(), w.OuterFirst
	return bpf.NewConfig(w.Fan, d), haveTunnel && haveInlet && haveUnderlay && (haveBridge || !w.Fast)
}

// linkHeader is how many bytes are before the IP header of a device's packets.
func linkHeader(l kernel.Link) uint8 {
	if l.Ethernet {
		return 14
	}
	return 0
}

// route returns the route into the tunnel; a vxlan fan has none of its own, the
// bridge carries the overlay's mask. The gateway is an address that nobody has:
// with it the device has one neighbour entry and not one for every container
// that is talked to.
func (w Want) route(link int) (kernel.Route, bool) {
	if !w.ipip() {
		return kernel.Route{}, false
	}
	overlay := w.Fan.Mapping.Overlay()
	return kernel.Route{Destination: overlay, Gateway: overlay.Addr(), Source: w.Fan.BridgeAddr(),
		Link: link, MTU: int(w.Fan.MTU), Table: mainTable}, true
}

// linkIndex returns the index of a device that a step needs.
func linkIndex(h *netlink.Handle, name string) (int, error) {
	l, err := h.LinkByName(name)
	if err != nil {
		return 0, fmt.Errorf("find device %s: %w", name, err)
	}
	return l.Attrs().Index, nil
}
