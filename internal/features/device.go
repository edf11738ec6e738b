package features

import (
	"errors"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/fanctl/fanctl/internal/kernel"
	"github.com/fanctl/fanctl/tunnel"
)

const devices = "devices"

// deviceName is that of the device that is tried.
const deviceName = "fanprobe"

func deviceProbes() []probe {
	return []probe{
		{devices, IPIPDevice, "fans of type ipip receive by it what is in fragments", "fans of type ipip do not receive what is in fragments",
			func(l lab) answer { return orModule(l.tryIPIP(), "ipip", kernel.IPIP()) }},
		{devices, "inner-first", "programs at the ipip device see the inner header", "programs at the ipip device take away what comes before", lab.tryInnerFirst},
		{devices, VXLANDevice, "fans of type vxlan go by it", "there are no fans of type vxlan, and those of type ipip copy each packet once more",
			func(l lab) answer { return orModule(l.tryVXLAN(), "vxlan", kernel.VXLAN()) }},
		{devices, "vxlan-vnifilter", "fans of type vxlan share a UDP port", "each fan of type vxlan needs a UDP port of its own", lab.tryVNIFilter},
		{devices, Veth, "ends of containers, and the tunnel of ipip", "there are no fans of type ipip", lab.tryVeth},
		{devices, Bridge, "containers are attached to it", "there are no fans", lab.tryBridge},
	}
}

func attrs() netlink.LinkAttrs {
	return netlink.LinkAttrs{Name: deviceName, TxQLen: -1}
}

// orModule adds what can be seen without trying.
func orModule(a answer, module string, f kernel.Feature) answer {
	switch {
	case a.state == No:
		a.detail += "; it needs " + f.Config
	case a.state == Yes:
	case kernel.Loaded(module):
		a.detail += "; the module is loaded"
	case kernel.Listed(module):
		a.detail += "; there is a module"
	default:
		a.detail += "; there seems to be no module"
	}
	return a
}

func ipip() netlink.Link { return &netlink.Iptun{LinkAttrs: attrs(), FlowBased: true} }

// A kernel that does not know of metadata takes the request and forgets that word, so
// the device is asked for it.
func (l lab) tryIPIP() answer {
	return l.withLink(ipip(), func(made netlink.Link) answer {
		if t, ok := made.(*netlink.Iptun); !ok || !t.FlowBased {
			return no("the device takes no metadata")
		}
		return yes("")
	})
}

func (l lab) tryVXLAN() answer {
	device := &netlink.Vxlan{LinkAttrs: attrs(), FlowBased: true, Port: 8472}
	return l.withLink(device, func(made netlink.Link) answer {
		if t, ok := made.(*netlink.Vxlan); !ok || !t.FlowBased {
			return no("the device takes no metadata")
		}
		return yes("")
	})
}

func (l lab) tryVNIFilter() answer {
	if l.err != nil {
		return unknown(l.err)
	}
	filters, err := tunnel.FiltersVNI(l.handle, deviceName)
	switch {
	case errors.Is(err, unix.EOPNOTSUPP):
		return unknown(errors.New("there is no vxlan device"))
	case err != nil:
		return unknown(err)
	case !filters:
		return no("the device has no filter of network identifiers")
	}
	return yes("")
}

func (l lab) tryVeth() answer {
	return l.withLink(&netlink.Veth{LinkAttrs: attrs(), PeerName: deviceName + "-peer"}, made)
}

func (l lab) tryBridge() answer { return l.withLink(&netlink.Bridge{LinkAttrs: attrs()}, made) }

func made(netlink.Link) answer { return yes("") }
