package tunnel

import (
	"fmt"
	"net"

	"github.com/vishvananda/netlink"

	"github.com/fanctl/fanctl/fan"
	"github.com/fanctl/fanctl/internal/kernel"
	"github.com/fanctl/fanctl/internal/plan"
)

// A packet that a container sends has hardly any room before its first byte, and
// the tunnel's header then costs a copy. A bridge passes on to all of its ports,
// and a veth port to the container behind it, how much room the greediest port
// asks for (net/bridge/br_if.c: update_headroom); veth ports ask for none. So an ipip fan's bridge has one more port, a
// vxlan device that is never up: it opens no socket and no packet passes, it only
// asks. Without it everything works, slower. Should somebody bring it up, a program
// drops what comes in.

// roomPort is the port (discard, RFC 863) that the room would have if it ever was
// up. With the overlay's own network identifier it is like no other device.
const roomPort = 9

// roomMAC is the room's hardware address, which nobody ever sees.
func roomMAC(f fan.Fan) [6]byte {
	mac := f.TunnelMAC()
	mac[0] |= 0x10
	return mac
}

// isRoom says whether a device is the fan's room. One from when the host had
// another address is as good.
func isRoom(f fan.Fan, l kernel.Link) bool {
	return l.Name == f.Room() && l.Kind == "vxlan" && sameKind(l.MAC, roomMAC(f))
}

func planRoom(h *netlink.Handle, w Want, s kernel.State) plan.Plan {
	if w.Fan.Type != fan.IPIP || !w.Room {
		return nil
	}
	var p plan.Plan
	l, there := s.Link(w.Fan.Room())
	if !there {
		p = append(p, addRoomStep(h, w.Fan))
	}
	if bridge, _ := s.Link(w.Fan.Bridge); !there || bridge.Index == 0 || l.Master != bridge.Index {
		p = append(p, masterStep(h, w.Fan.Room(), w.Fan.Bridge))
	}
	return p
}

func addRoomStep(h *netlink.Handle, f fan.Fan) plan.Step {
	mac, vni := roomMAC(f), fan.VNI(f.Mapping.Overlay())
	return plan.Step{
		Text: fmt.Sprintf("ip link add %s address %s type vxlan id %d dstport %d nolearning", f.Room(), net.HardwareAddr(mac[:]), vni, roomPort),
		Do: func() error {
			return kernel.VXLAN().Explain(h.LinkAdd(&netlink.Vxlan{VxlanId: int(vni), Port: roomPort,
				LinkAttrs: netlink.LinkAttrs{Name: f.Room(), HardwareAddr: mac[:], TxQLen: -1}}))
		},
		Undo: func() error { return kernel.DeleteLink(h, f.Room()) },
	}
}

func planRoomAway(h *netlink.Handle, f fan.Fan, s kernel.State) plan.Plan {
	if l, there := s.Link(f.Room()); there && isRoom(f, l) {
		return plan.Plan{deleteLinkStep(h, f.Room())}
	}
	return nil
}
