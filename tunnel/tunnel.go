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
	// PlainSums says that the underlay device writes checksums from any byte on
	// (kernel.SumsPlainly).
	PlainSums bool
	// Room says that the kernel has what an ipip fan's room is made of
	// (kernel.HasVXLAN).
	Room bool
}

// Name returns the name of the fan tunnel.
func (w Want) Name() string { return w.Fan.Tunnel(w.Datapath) }

// direct says whether eBPF does the whole job.
func (w Want) direct() bool { return w.Fan.Type == fan.IPIP && w.Datapath == fan.EBPF }

// shared says whether the tunnel is the ipip device that all fans share.
func (w Want) shared() bool { return w.Fan.Type == fan.IPIP && w.Datapath == fan.Device }

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
	if l, there := s.Link(f.Inlet()); there && isInlet(f, l) {
		return fan.EBPF, true
	}
	shared, there := s.Link(fan.SharedTunnel)
	return fan.Device, there && slices.ContainsFunc(s.Filters, func(filter kernel.Filter) bool {
		_, ours := ownedBy(f.Bridge, filter)
		return ours && filter.Link == shared.Index
	})
}

// OwnPorts returns the names of the bridge's ports that belong to the fan.
func OwnPorts(f fan.Fan) []string {
	return fan.PortNames(f.Mapping.Overlay())
}

// attachments returns where the fan's programs belong.
func (w Want) attachments() []attachment {
	var list []attachment
	switch {
	case w.direct():
		list = []attachment{
			{device: w.Name(), egress: true, program: bpf.DirectSend, hot: true},
			{device: w.Fan.Inlet(), egress: true, program: bpf.DirectClose},
			{device: w.Fan.Bridge, egress: true, program: bpf.DirectDeliver, hot: true},
			{device: w.Fan.Device, program: bpf.DirectReceive, foreign: true},
			{device: w.Fan.Inlet(), program: bpf.DirectPieces},
		}
	case w.shared():
		list = []attachment{
			{device: w.Name(), egress: true, program: bpf.IPIPSend, hot: true},
			{device: w.Name(), program: bpf.IPIPReceive, hot: true},
		}
	default:
		return []attachment{
			{device: w.Name(), egress: true, program: bpf.VXLANSend},
			{device: w.Name(), program: bpf.VXLANReceive},
		}
	}
	if w.Room {
		list = append(list, attachment{device: w.Fan.Room(), program: w.closes()})
	}
	return list
}

// closes is the program of the fan's that lets nothing pass.
func (w Want) closes() string {
	if w.direct() {
		return bpf.DirectClose
	}
	return bpf.Guard
}

// config returns the constants of the fan's programs as far as the kernel has
// the devices that they name.
func (w Want) config(s kernel.State) (c bpf.Config, complete bool) {
	tunnel, haveTunnel := s.Link(w.Name())
	if w.Fan.Type == fan.VXLAN {
		bridge, haveBridge := s.Link(w.Fan.Bridge)
		return bpf.NewConfig(w.Fan, bpf.Devices{Bridge: bridge.Index}), haveTunnel && haveBridge
	}
	underlay, haveUnderlay := s.Link(w.Fan.Device)
	d := bpf.Devices{Tunnel: tunnel.Index, Underlay: underlay.Index, PlainSums: w.PlainSums}
	if underlay.Ethernet {
		d.LinkHeader = 14
	}
	if w.shared() {
		return bpf.NewConfig(w.Fan, d), haveTunnel && haveUnderlay
	}
	inlet, haveInlet := s.Link(w.Fan.Inlet())
	d.Inlet, d.TunnelMAC = inlet.Index, w.Fan.TunnelMAC()
	return bpf.NewConfig(w.Fan, d), haveTunnel && haveInlet && haveUnderlay
}

// route returns the route into the tunnel; a vxlan fan has none of its own, the
// bridge carries the overlay's mask. The gateway is an address that nobody has:
// with it the device has one neighbour entry and not one for every container
// that is talked to.
func (w Want) route(link int) (kernel.Route, bool) {
	if w.Fan.Type != fan.IPIP {
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
