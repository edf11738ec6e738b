package bed

import (
	"fmt"
	"net/netip"
	"testing"
)

// Peer is a host of a fan that has none of our programs: what is on it, ip(8) and
// bridge(8) have made, or the tests by hand.
type Peer struct {
	*Host
	Network   Network
	Container *Container
}

// Far is the other end of a peer's tunnel: a host of the fan as the peer has to know
// it.
type Far struct {
	Host      netip.Addr
	Slice     netip.Prefix
	Neighbour []Neighbour // who answers there to ARP, for tunnels of layer 2
}

// Neighbour is an overlay address and the Ethernet address that answers for it.
type Neighbour struct {
	Addr netip.Addr
	MAC  fmt.Stringer
}

// Peer makes the host a peer with a container: a bridge of that MTU, with the
// slice's first address and a mask of that length, and forwarding.
func (h *Host) Peer(t testing.TB, n Network, bits, mtu int) *Peer {
	t.Helper()
	h.Sysctl(t, "ipv4/ip_forward", "1")
	for _, conf := range []string{"all", "default", "eth0"} {
		h.Sysctl(t, "ipv4/conf/"+conf+"/rp_filter", "0")
	}
	h.IP(t, fmt.Sprintf("link add %s mtu %d type bridge forward_delay 0 stp_state 0 mcast_snooping 0", n.Bridge, mtu),
		fmt.Sprintf("addr add %s/%d dev %s", n.Gateway(), bits, n.Bridge), "link set "+n.Bridge+" up")
	return &Peer{Host: h, Network: n, Container: h.Container(t, n, ContainerOptions{Bits: bits, MTU: mtu})}
}

// mtu is that of the peer's bridge.
func (p *Peer) mtu(t testing.TB) int {
	t.Helper()
	return p.Device(t, p.Network.Bridge).MTU
}

// IPIPByRoute joins the peer by one ipip device that takes its headers from
// metadata, and a route to the far slice that has these.
func (p *Peer) IPIPByRoute(t testing.TB, far Far) {
	t.Helper()
	p.IP(t, fmt.Sprintf("link add tun mtu %d type ipip external", p.mtu(t)), "link set tun up",
		fmt.Sprintf("route add %s encap ip id 0 src %s dst %s dev tun src %s", far.Slice, p.Addr, far.Host, p.Network.Gateway()))
}

// IPIPPointToPoint joins the peer by an ipip device that has the addresses of the two
// hosts.
func (p *Peer) IPIPPointToPoint(t testing.TB, far Far) {
	t.Helper()
	p.IP(t, fmt.Sprintf("link add tun mtu %d type ipip local %s remote %s", p.mtu(t), p.Addr, far.Host), "link set tun up",
		fmt.Sprintf("route add %s dev tun src %s", far.Slice, p.Network.Gateway()))
}

// VXLANStatic joins the peer by a vxlan device that learns nothing: all that it has to
// know of the far neighbours is written down.
func (p *Peer) VXLANStatic(t testing.TB, far Far, vni uint32, port int) {
	t.Helper()
	p.addVXLAN(t, fmt.Sprintf("id %d dstport %d dev eth0 local %s nolearning", vni, port, p.Addr))
	for _, n := range far.Neighbour {
		p.Must(t, "bridge", "fdb", "replace", n.MAC.String(), "dev", "vx", "dst", far.Host.String(), "self", "permanent")
		p.Must(t, "bridge", "fdb", "replace", n.MAC.String(), "dev", "vx", "master", "static")
		for _, ns := range []struct {
			*NS
			device string
		}{{p.NS, p.Network.Bridge}, {p.Container.NS, "eth0"}} {
			ns.IP(t, fmt.Sprintf("neigh replace %s lladdr %s nud permanent dev %s", n.Addr, n.MAC, ns.device))
		}
	}
}

// VXLANLikeLXD joins the peer by the devices that LXD makes for a fan (its
// lxd/network/driver_bridge.go), the kernel's port among them. What LXD has a patched
// kernel do, to find the host of an address, is here a rule that all goes to the one
// other host; the rest is learned.
func (p *Peer) VXLANLikeLXD(t testing.TB, far Far, vni uint32) {
	t.Helper()
	p.addVXLAN(t, fmt.Sprintf("id %d dstport 0 dev eth0 local %s", vni, p.Addr))
	p.Must(t, "bridge", "fdb", "append", "00:00:00:00:00:00", "dev", "vx", "dst", far.Host.String())
}

func (p *Peer) addVXLAN(t testing.TB, words string) {
	t.Helper()
	p.IP(t, fmt.Sprintf("link add vx mtu %d type vxlan %s", p.mtu(t), words), "link set vx master "+p.Network.Bridge+" up")
}
