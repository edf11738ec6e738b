package tunnel

import (
	"errors"
	"fmt"
	"net"
	"strings"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"github.com/fanctl/fanctl/fan"
	"github.com/fanctl/fanctl/internal/kernel"
	"github.com/fanctl/fanctl/internal/plan"
)

// addVXLANStep makes a vxlan device that takes its headers from metadata and
// accepts only the network identifiers that it is told (vnifilter), so that
// several fans can share a port. Kernels before 5.18 ignore the filter.
func addVXLANStep(h *netlink.Handle, w Want) plan.Step {
	mac := w.Fan.TunnelMAC()
	return plan.Step{
		Text: fmt.Sprintf("ip link add %s mtu %d address %s type vxlan external vnifilter dstport %d nolearning",
			w.Name(), maxVXLANMTU, net.HardwareAddr(mac[:]), w.Fan.Port),
		Do:   func() error { return kernel.VXLAN().Explain(newVXLAN(w.Name(), mac, w.Fan.Port)) },
		Undo: func() error { return kernel.DeleteLink(h, w.Name()) },
	}
}

// Attributes of include/uapi/linux/if_link.h that the library does not have.
const (
	iflaVXLANVNIFilter = 30

	rtmNewTunnel    = 120
	rtmGetTunnel    = 122
	vxlanVNIEntry   = 1 // VXLAN_VNIFILTER_ENTRY
	vxlanEntryStart = 1 // VXLAN_VNIFILTER_ENTRY_START
)

// newVXLAN sends the request itself: the library's Vxlan has no vnifilter.
func newVXLAN(name string, mac [6]byte, port uint16) error {
	request := nl.NewNetlinkRequest(unix.RTM_NEWLINK, unix.NLM_F_CREATE|unix.NLM_F_EXCL|unix.NLM_F_ACK)
	request.AddData(nl.NewIfInfomsg(unix.AF_UNSPEC))
	request.AddData(nl.NewRtAttr(unix.IFLA_IFNAME, nl.ZeroTerminated(name)))
	request.AddData(nl.NewRtAttr(unix.IFLA_ADDRESS, mac[:]))
	request.AddData(nl.NewRtAttr(unix.IFLA_MTU, nl.Uint32Attr(maxVXLANMTU)))
	info := nl.NewRtAttr(unix.IFLA_LINKINFO, nil)
	info.AddRtAttr(nl.IFLA_INFO_KIND, nl.NonZeroTerminated("vxlan"))
	data := info.AddRtAttr(nl.IFLA_INFO_DATA, nil)
	data.AddRtAttr(nl.IFLA_VXLAN_FLOWBASED, []byte{1})
	data.AddRtAttr(iflaVXLANVNIFilter, []byte{1})
	data.AddRtAttr(nl.IFLA_VXLAN_LEARNING, []byte{0})
	data.AddRtAttr(nl.IFLA_VXLAN_PORT, []byte{byte(port >> 8), byte(port)})
	request.AddData(info)
	_, err := request.Execute(unix.NETLINK_ROUTE, 0)
	return err
}

// addVNIStep tells the device which network identifier is its own.
func addVNIStep(h *netlink.Handle, w Want) plan.Step {
	vni := fan.VNI(w.Fan.Mapping.Overlay())
	return plan.Step{
		Text: fmt.Sprintf("bridge vni add dev %s vni %d", w.Name(), vni),
		Do: func() error {
			index, err := linkIndex(h, w.Name())
			if err != nil {
				return err
			}
			// Without the filter (before 5.18) the programs check the identifier.
			if err := newVNI(index, vni); err != nil && !errors.Is(err, unix.EOPNOTSUPP) {
				return err
			}
			return nil
		},
	}
}

// tunnelMessage is struct tunnel_msg of include/uapi/linux/if_link.h.
type tunnelMessage struct{ index uint32 }

// Len is the length of the message on the wire.
func (tunnelMessage) Len() int { return 8 }

// Serialize returns family and flags, two bytes unused, and the index.
func (m tunnelMessage) Serialize() []byte {
	b := make([]byte, 8)
	b[0] = unix.AF_BRIDGE
	nl.NativeEndian().PutUint32(b[4:], m.index)
	return b
}

func newVNI(index int, vni uint32) error {
	request := nl.NewNetlinkRequest(rtmNewTunnel, unix.NLM_F_ACK)
	request.AddData(tunnelMessage{uint32(index)})
	entry := nl.NewRtAttr(vxlanVNIEntry|unix.NLA_F_NESTED, nil)
	entry.AddRtAttr(vxlanEntryStart, nl.Uint32Attr(vni))
	request.AddData(entry)
	_, err := request.Execute(unix.NETLINK_ROUTE, 0)
	return err
}

// hasVNI says whether the device accepts the network identifier: it is in its
// filter, or there is no such filter.
func hasVNI(index int, vni uint32) bool {
	request := nl.NewNetlinkRequest(rtmGetTunnel, unix.NLM_F_DUMP)
	request.AddData(tunnelMessage{uint32(index)})
	messages, err := request.Execute(unix.NETLINK_ROUTE, 0)
	if err != nil {
		return true
	}
	for _, m := range messages {
		if len(m) < 8 || nl.NativeEndian().Uint32(m[4:8]) != uint32(index) {
			continue
		}
		if messageHasVNI(m[8:], vni) {
			return true
		}
	}
	return false
}

func messageHasVNI(message []byte, vni uint32) bool {
	attributes, err := nl.ParseRouteAttr(message)
	if err != nil {
		return false
	}
	for _, a := range attributes {
		if a.Attr.Type&^unix.NLA_F_NESTED != vxlanVNIEntry {
			continue
		}
		values, err := nl.ParseRouteAttr(a.Value)
		if err != nil {
			continue
		}
		for _, v := range values {
			if v.Attr.Type == vxlanEntryStart && len(v.Value) == 4 && nl.NativeEndian().Uint32(v.Value) == vni {
				return true
			}
		}
	}
	return false
}

// addIPIPStep makes the ipip device that all fans of this host share: the kernel
// allows only one that takes its headers from metadata.
func addIPIPStep(h *netlink.Handle) plan.Step {
	return plan.Step{
		Text: "ip link add " + fan.SharedTunnel + " type ipip external",
		Do: func() error {
			return kernel.IPIP().Explain(h.LinkAdd(&netlink.Iptun{FlowBased: true,
				LinkAttrs: netlink.LinkAttrs{Name: fan.SharedTunnel, TxQLen: -1}}))
		},
		Undo: func() error { return kernel.DeleteLink(h, fan.SharedTunnel) },
	}
}

// addPairStep makes the tunnel of an ipip fan and its inlet.
func addPairStep(h *netlink.Handle, w Want) plan.Step {
	mac, peer, inlet := w.Fan.TunnelMAC(), inletMAC(w.Fan), w.Fan.Inlet()
	return plan.Step{
		Text: fmt.Sprintf("ip link add %s mtu %d address %s type veth peer name %s mtu %d address %s", w.Name(), w.Fan.MTU,
			net.HardwareAddr(mac[:]), inlet, w.Fan.MTU, net.HardwareAddr(peer[:])),
		Do: func() error {
			return kernel.Veth().Explain(h.LinkAdd(&netlink.Veth{
				LinkAttrs: netlink.LinkAttrs{Name: w.Name(), MTU: int(w.Fan.MTU), HardwareAddr: mac[:], TxQLen: -1},
				PeerName:  inlet, PeerMTU: uint32(w.Fan.MTU), PeerHardwareAddr: peer[:]}))
		},
		Undo: func() error { return kernel.DeleteLink(h, w.Name()) },
	}
}

// cutStep has the kernel cut up super-packets that are in a tunnel before they
// leave by the device.
func cutStep(device string) plan.Step {
	return plan.Step{
		Text: fmt.Sprintf("ethtool -K %s %s off", device, strings.Join(kernel.TunnelCuts(), " off ")),
		Do:   func() error { return kernel.CutTunnels(device) },
	}
}

func deleteLinkStep(h *netlink.Handle, name string) plan.Step {
	return plan.Step{Text: "ip link del " + name, Do: func() error { return kernel.DeleteLink(h, name) }}
}

func upStep(h *netlink.Handle, name string) plan.Step {
	return kernel.LinkStep(h, name, fmt.Sprintf("ip link set %s up", name), h.LinkSetUp, h.LinkSetDown)
}

func arpOffStep(h *netlink.Handle, name string) plan.Step {
	return kernel.LinkStep(h, name, fmt.Sprintf("ip link set %s arp off", name), h.LinkSetARPOff, h.LinkSetARPOn)
}

func mtuStep(h *netlink.Handle, name string, is, want int) plan.Step {
	set := func(mtu int) func(netlink.Link) error {
		return func(l netlink.Link) error { return h.LinkSetMTU(l, mtu) }
	}
	return kernel.LinkStep(h, name, fmt.Sprintf("ip link set %s mtu %d", name, want), set(want), set(is))
}

func masterStep(h *netlink.Handle, name, bridge string) plan.Step {
	return kernel.LinkStep(h, name, fmt.Sprintf("ip link set %s master %s", name, bridge), func(l netlink.Link) error {
		index, err := linkIndex(h, bridge)
		if err != nil {
			return err
		}
		return h.LinkSetMasterByIndex(l, index)
	}, h.LinkSetNoMaster)
}

// closeInletStep keeps the bridge from sending anything out of the inlet.
func closeInletStep(h *netlink.Handle, name string) plan.Step {
	return kernel.LinkStep(h, name, fmt.Sprintf("bridge link set dev %s learning off flood off mcast_flood off bcast_flood off", name),
		func(l netlink.Link) error {
			request := nl.NewNetlinkRequest(unix.RTM_SETLINK, unix.NLM_F_ACK)
			message := nl.NewIfInfomsg(unix.AF_BRIDGE)
			message.Index = int32(l.Attrs().Index)
			request.AddData(message)
			flags := nl.NewRtAttr(unix.IFLA_PROTINFO|unix.NLA_F_NESTED, nil)
			for _, flag := range []int{nl.IFLA_BRPORT_LEARNING, nl.IFLA_BRPORT_UNICAST_FLOOD,
				nl.IFLA_BRPORT_MCAST_FLOOD, nl.IFLA_BRPORT_BCAST_FLOOD} {
				flags.AddRtAttr(flag, []byte{0})
			}
			request.AddData(flags)
			_, err := request.Execute(unix.NETLINK_ROUTE, 0)
			return err
		}, nil)
}
