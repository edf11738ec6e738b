// Package lease gives a container an address by DHCP from outside of it, for
// images whose init does nothing.
package lease

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/insomniacslk/dhcp/dhcpv4/nclient4"
	"github.com/vishvananda/netlink"

	"github.com/fanctl/fanctl/internal/namespace"
)

// ErrNoAnswer says that no DHCP server has answered.
var ErrNoAnswer = errors.New("no DHCP answer")

// Request is who wants an address.
type Request struct {
	Namespace *namespace.Namespace
	Device    string // eth0 if empty
	Name      string // of the container, in errors
	// Patience is how long the server is waited for; 10 seconds if 0.
	Patience time.Duration
}

// Lease is what the server has given.
type Lease struct {
	Address netip.Prefix // with the mask
	Router  netip.Addr   // the zero value if none was told
	MTU     int          // 0 if none was told
}

// Get brings lo and the device up, gets a lease and sets what it says: address,
// MTU and default route. Nobody renews it: it is for as long as a test takes.
// The error is ErrNoAnswer if there is no server.
func Get(ctx context.Context, r Request) (Lease, error) {
	if r.Device == "" {
		r.Device = "eth0"
	}
	if r.Patience == 0 {
		r.Patience = 10 * time.Second
	}
	ctx, cancel := context.WithTimeout(ctx, r.Patience)
	defer cancel()
	var client *nclient4.Client
	err := r.Namespace.Do(func() (err error) {
		if err := up("lo", r.Device); err != nil {
			return err
		}
		client, err = nclient4.New(r.Device, nclient4.WithTimeout(time.Second), nclient4.WithRetry(int(r.Patience/time.Second)+1))
		return err
	})
	if err != nil {
		return Lease{}, fmt.Errorf("DHCP on %s of %s: %w", r.Device, r.Name, err)
	}
	defer func() { _ = client.Close() }() // it is only read from
	got, err := client.Request(ctx, dhcpv4.WithRequestedOptions(dhcpv4.OptionInterfaceMTU, dhcpv4.OptionSubnetMask, dhcpv4.OptionRouter))
	switch {
	case errors.Is(err, nclient4.ErrNoResponse), errors.Is(err, context.DeadlineExceeded):
		return Lease{}, fmt.Errorf("%w on %s of %s: does the fan hand out addresses? See \"fanctl show\" for dhcp, and give it that by \"fanctl up ... --dhcp\"",
			ErrNoAnswer, r.Device, r.Name)
	case err != nil:
		return Lease{}, fmt.Errorf("DHCP on %s of %s: %w", r.Device, r.Name, err)
	}
	l, err := read(got.ACK)
	if err == nil {
		err = r.Namespace.Do(func() error { return set(r.Device, l) })
	}
	if err != nil {
		return Lease{}, fmt.Errorf("DHCP on %s of %s: %w", r.Device, r.Name, err)
	}
	return l, nil
}

// read returns what a server's answer says.
func read(ack *dhcpv4.DHCPv4) (Lease, error) {
	addr, ok := netip.AddrFromSlice(ack.YourIPAddr.To4())
	if !ok || addr.IsUnspecified() {
		return Lease{}, errors.New("the server's answer has no address")
	}
	bits, size := ack.SubnetMask().Size()
	if size != 32 || bits == 0 {
		return Lease{}, fmt.Errorf("the server's answer has no mask for %s", addr)
	}
	l := Lease{Address: netip.PrefixFrom(addr, bits)}
	if routers := ack.Router(); len(routers) > 0 {
		l.Router, _ = netip.AddrFromSlice(routers[0].To4())
	}
	if mtu, err := dhcpv4.GetUint16(dhcpv4.OptionInterfaceMTU, ack.Options); err == nil {
		l.MTU = int(mtu)
	}
	return l, nil
}

func up(names ...string) error {
	for _, name := range names {
		device, err := netlink.LinkByName(name)
		if err == nil {
			err = netlink.LinkSetUp(device)
		}
		if err != nil {
			return fmt.Errorf("bring %s up: %w", name, err)
		}
	}
	return nil
}

// set makes the device what the lease says. It may be set already.
func set(name string, l Lease) error {
	device, err := netlink.LinkByName(name)
	if err != nil {
		return fmt.Errorf("find %s: %w", name, err)
	}
	if l.MTU > 0 {
		if err := netlink.LinkSetMTU(device, l.MTU); err != nil {
			return fmt.Errorf("set MTU of %s to %d: %w", name, l.MTU, err)
		}
	}
	address := &netlink.Addr{IPNet: &net.IPNet{IP: l.Address.Addr().AsSlice(), Mask: net.CIDRMask(l.Address.Bits(), 32)}}
	if err := netlink.AddrReplace(device, address); err != nil {
		return fmt.Errorf("give %s to %s: %w", l.Address, name, err)
	}
	if !l.Router.IsValid() {
		return nil
	}
	route := &netlink.Route{LinkIndex: device.Attrs().Index, Gw: l.Router.AsSlice()}
	if err := netlink.RouteReplace(route); err != nil {
		return fmt.Errorf("route of %s by %s: %w", name, l.Router, err)
	}
	return nil
}
