package bed

import (
	"fmt"
	"net/netip"
	"testing"
)

// Neighbour networks: what other programs put on the hosts of a bed, of which there are
// two, so that there is a network between them. Each returns the two ends, and these
// reach each other.

// End is where a network ends: a namespace that is in it, and its address there.
type End struct {
	*NS
	Addr netip.Addr
}

// between makes both ends; put gets a host, its number and the other host with its.
func (b *Bed) between(prefix string, put func(h *Host, own netip.Addr, other *Host, theirs netip.Addr) *NS) [2]End {
	var ends [2]End
	subnet := netip.MustParsePrefix(prefix)
	for i, h := range b.Hosts[:2] {
		own, theirs := Nth(subnet, i+1), Nth(subnet, 2-i)
		ends[i] = End{put(h, own, b.Hosts[1-i], theirs), own}
	}
	return ends
}

// Flannel makes what flannel does: a vxlan device that learns nothing, with the number
// 1, on the kernel's port, and all entries written down.
func (b *Bed) Flannel(t testing.TB) [2]End {
	t.Helper()
	const device = "flannel.1"
	ends := b.between("10.244.0.0/24", func(h *Host, own netip.Addr, _ *Host, _ netip.Addr) *NS {
		h.IP(t, fmt.Sprintf("link add %s mtu %d type vxlan id 1 dev eth0 local %s dstport 8472 nolearning", device, b.MTU-50, h.Addr),
			fmt.Sprintf("addr add %s/32 dev %s", own, device), "link set "+device+" up")
		return h.NS
	})
	for i, h := range b.Hosts[:2] {
		other := ends[1-i]
		mac := other.MAC(t, device)
		h.IP(t, fmt.Sprintf("neigh add %s lladdr %s nud permanent dev %s", other.Addr, mac, device),
			fmt.Sprintf("route add %s/32 dev %s src %s", other.Addr, device, ends[i].Addr))
		h.Must(t, "bridge", "fdb", "add", mac.String(), "dev", device, "dst", b.Hosts[1-i].Addr.String())
	}
	return ends
}

// Cilium makes the device that Cilium does: vxlan with the headers from metadata, which
// come from routes here.
func (b *Bed) Cilium(t testing.TB) [2]End {
	t.Helper()
	const device = "cilium_vxlan"
	ends := b.between("10.245.0.0/24", func(h *Host, own netip.Addr, _ *Host, _ netip.Addr) *NS {
		h.IP(t, fmt.Sprintf("link add %s mtu %d type vxlan external dstport 8472", device, b.MTU-50),
			fmt.Sprintf("addr add %s/32 dev %s", own, device), "link set "+device+" up")
		return h.NS
	})
	for i, h := range b.Hosts[:2] {
		other := ends[1-i]
		h.IP(t, fmt.Sprintf("neigh add %s lladdr %s nud permanent dev %s", other.Addr, other.MAC(t, device), device),
			fmt.Sprintf("route add %s/32 encap ip id 2 dst %s dev %s src %s", other.Addr, b.Hosts[1-i].Addr, device, ends[i].Addr))
	}
	return ends
}

// Swarm makes what Docker's overlay networks are: a vxlan device on port 4789 that was
// made on the host, and then moved to a namespace with a bridge.
func (b *Bed) Swarm(t testing.TB) [2]End {
	t.Helper()
	ends := b.between("10.246.0.0/24", func(h *Host, own netip.Addr, _ *Host, _ netip.Addr) *NS {
		sandbox := b.NS("sandbox-" + h.role())
		h.IP(t, "link add vx-001001 type vxlan id 4097 dstport 4789 nolearning", "link set vx-001001 netns "+sandbox.Name)
		sandbox.IP(t, fmt.Sprintf("link add br0 mtu %d type bridge forward_delay 0 stp_state 0", b.MTU-50), "link set vx-001001 master br0 up",
			fmt.Sprintf("addr add %s/24 dev br0", own), "link set br0 up")
		return sandbox
	})
	for i, end := range ends {
		other := ends[1-i]
		mac := other.MAC(t, "br0")
		end.Must(t, "bridge", "fdb", "add", mac.String(), "dev", "vx-001001", "dst", b.Hosts[1-i].Addr.String(), "self", "permanent")
		end.Must(t, "bridge", "fdb", "replace", mac.String(), "dev", "vx-001001", "master", "static")
		end.IP(t, fmt.Sprintf("neigh add %s lladdr %s nud permanent dev br0", other.Addr, mac))
	}
	return ends
}

// Tunl0 uses the device that the kernel's ipip module makes in every namespace, as
// Calico does.
func (b *Bed) Tunl0(t testing.TB) [2]End {
	t.Helper()
	return b.between("10.247.0.0/24", func(h *Host, own netip.Addr, other *Host, theirs netip.Addr) *NS {
		h.IP(t, fmt.Sprintf("addr add %s/32 dev tunl0", own), "link set tunl0 up",
			fmt.Sprintf("route add %s/32 via %s dev tunl0 onlink src %s", theirs, other.Addr, own))
		return h.NS
	})
}

// IPIPBetween makes an ipip device from host to host.
func (b *Bed) IPIPBetween(t testing.TB) [2]End {
	t.Helper()
	return b.between("10.248.0.0/24", func(h *Host, own netip.Addr, other *Host, _ netip.Addr) *NS {
		h.IP(t, fmt.Sprintf("link add site0 type ipip local %s remote %s", h.Addr, other.Addr),
			fmt.Sprintf("addr add %s/24 dev site0", own), "link set site0 up")
		return h.NS
	})
}

// IPIPExternal makes an ipip device that takes its headers from metadata, of which
// there can be one.
func (b *Bed) IPIPExternal(t testing.TB) [2]End {
	t.Helper()
	return b.between("10.249.0.0/24", func(h *Host, own netip.Addr, other *Host, theirs netip.Addr) *NS {
		h.IP(t, "link add theirs type ipip external", fmt.Sprintf("addr add %s/32 dev theirs", own), "link set theirs up",
			fmt.Sprintf("route add %s/32 encap ip id 0 src %s dst %s dev theirs src %s", theirs, h.Addr, other.Addr, own))
		return h.NS
	})
}
