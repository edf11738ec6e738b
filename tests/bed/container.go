package bed

import (
	"fmt"
	"net/netip"
	"testing"
)

// Network is the part of a fan that a container is told: what a DHCP server or
// a container engine would hand out.
type Network struct {
	Bridge  string
	Slice   netip.Prefix
	Overlay netip.Prefix
}

// Gateway is the fan bridge's address, the slice's first.
func (n Network) Gateway() netip.Addr { return Nth(n.Slice, 1) }

// ContainerOptions say how a container is set up.
type ContainerOptions struct {
	// Bits is the length of the container's mask; 0: the slice's.
	Bits int
	// MTU is that of both ends of the container's link; 0: the bridge's.
	MTU int
}

// Container is a network namespace with eth0 at a host's fan bridge.
type Container struct {
	*NS
	Host    *Host
	Network Network
	Addr    netip.Addr
	// Port is the name of the bridge's port on the host.
	Port string
}

// Container makes a container on the host, with the next address of the slice
// that no container of this host has.
func (h *Host) Container(t testing.TB, network Network, o ContainerOptions) *Container {
	t.Helper()
	if o.Bits == 0 {
		o.Bits = network.Slice.Bits()
	}
	if o.MTU == 0 {
		o.MTU = h.Device(t, network.Bridge).MTU
	}
	h.ports++
	c := &Container{
		NS:   h.bed.NS(fmt.Sprintf("%sc%d", h.role(), h.ports)),
		Host: h, Network: network,
		Addr: Nth(network.Slice, 1+h.ports),
		Port: fmt.Sprintf("veth%d", h.ports),
	}
	h.IP(t,
		fmt.Sprintf("link add %s mtu %d type veth peer name eth0 mtu %d netns %s", c.Port, o.MTU, o.MTU, c.Name),
		fmt.Sprintf("link set %s master %s up", c.Port, network.Bridge))
	c.IP(t,
		fmt.Sprintf("addr add %s/%d brd + dev eth0", c.Addr, o.Bits),
		"link set eth0 up",
		fmt.Sprintf("route add default via %s", network.Gateway()))
	return c
}

// role is the last word of the host's namespace's name.
func (h *Host) role() string { return h.Name[len(h.bed.stem):] }

// Remove takes the container off its bridge.
func (c *Container) Remove(t testing.TB) {
	t.Helper()
	c.Host.IP(t, "link del "+c.Port)
}
