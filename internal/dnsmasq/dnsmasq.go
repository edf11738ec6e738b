// Package dnsmasq runs one dnsmasq for each fan bridge: it hands out addresses to
// the containers and answers for their names. It reads no configuration of the
// host's, and nothing but the process itself says that it runs.
package dnsmasq

import (
	"fmt"
	"net"
	"net/netip"
	"path/filepath"
	"strconv"

	"github.com/fanctl/fanctl/fan"
)

// leaseTime is how long an address is a container's. It is short because hosts
// move, and with them their slices; LXD's is the same.
const leaseTime = "1h"

// Dir is where leases are kept, which survive a restart.
const Dir = "/var/lib/fanctl"

// LeaseFile returns the path of a bridge's leases, in a folder such as Dir.
func LeaseFile(dir, bridge string) string { return filepath.Join(dir, bridge+".leases") }

// Config is what one dnsmasq is to do.
type Config struct {
	Fan    fan.Fan
	Leases string // path of the lease file
	User   string // whom it runs as
	// NoDNS leaves names to another server of this host, which listens on the
	// bridge's address as on all others.
	NoDNS bool
}

// Args returns the command line, without the program. No two fans have the same,
// and none of it is secret, so that it tells whether a process is the one wanted.
func (c Config) Args() []string {
	f := c.Fan
	first, last := f.Leases()
	netmask := net.IP(net.CIDRMask(f.BridgePrefix().Bits(), 32)).String()
	args := []string{
		marker(f.Bridge),
		"--conf-file=/dev/null", "--pid-file=", // an empty one is none
		"--user=" + c.User,
		// One interface and bind-interfaces: sockets are bound to the bridge, so
		// that other servers of the host can have the same ports.
		"--bind-interfaces", "--except-interface=lo",
		"--dhcp-authoritative", "--dhcp-no-override",
		"--no-ping", // the check before a lease takes longer than udhcpc waits
		"--dhcp-leasefile=" + c.Leases,
		"--dhcp-range=" + fmt.Sprintf("%s,%s,%s,%s", first, last, netmask, leaseTime),
		// The leases of the slice that the host had before count, too.
		"--dhcp-lease-max=" + strconv.FormatUint(2*uint64(count(first, last))+1000, 10),
		"--dhcp-option=option:router," + f.BridgeAddr().String(),
		// Whether it is asked for or not: a container with a longer MTU than the fan's
		// loses packets.
		"--dhcp-option-force=option:mtu," + strconv.Itoa(int(f.MTU)),
	}
	args = append(args, "--dhcp-option=option:dns-server,"+f.BridgeAddr().String())
	if c.NoDNS {
		return append(args, noDNS)
	}
	return append(args, "--no-hosts", "--domain-needed")
}

// noDNS turns the DNS server off.
const noDNS = "--port=0"

// marker is the argument that names the bridge. It comes first.
func marker(bridge string) string { return "--interface=" + bridge }

func count(first, last netip.Addr) uint32 {
	a, b := first.As4(), last.As4()
	n := func(x [4]byte) uint32 { return uint32(x[0])<<24 | uint32(x[1])<<16 | uint32(x[2])<<8 | uint32(x[3]) }
	return n(b) - n(a) + 1
}
