package engine

import (
	"net"
	"net/netip"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/fanctl/fanctl/tests/bed"
)

// Container is a container of a real engine, seen from the network: what runs in
// its namespace are programs of the machine.
type Container struct {
	*bed.NS
	Name string
	PID  int
	Host *bed.Host
}

func newContainer(t testing.TB, h *bed.Host, name, pid string) *Container {
	t.Helper()
	n, err := strconv.Atoi(strings.TrimSpace(pid))
	if err != nil || n <= 0 {
		t.Fatalf("container %s on %s has no process, but %q", name, h, pid)
	}
	return &Container{NS: bed.OfProcess(t, n), Name: name, PID: n, Host: h}
}

// Address waits until a device of the container has an IPv4 address and the container
// knows its way to others, and returns the address with its mask.
func (c *Container) Address(t testing.TB, device string) netip.Prefix {
	t.Helper()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		var found netip.Prefix
		err := c.Do(func() error {
			d, err := net.InterfaceByName(device)
			if err != nil {
				return err
			}
			all, err := d.Addrs()
			for _, a := range all {
				if p, err := netip.ParsePrefix(a.String()); err == nil && p.Addr().Is4() {
					found = p
				}
			}
			return err
		})
		// DHCP's client adds the route after the address.
		if err == nil && found.IsValid() && c.Exec("ip", "-4", "route", "show", "default").Stdout != "" {
			return found
		}
	}
	t.Fatalf("container %s on %s got no address on %s, or no default route:\n%s%s", c.Name, c.Host, device, c.Exec("ip", "address").Stdout, c.Exec("ip", "route").Stdout)
	return netip.Prefix{}
}
