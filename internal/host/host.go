// Package host brings fans up and down on this host and lists them: it looks at
// the kernel, has the packages bridge and tunnel plan the change, and applies
// it, one run at a time.
package host

import (
	"errors"
	"fmt"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/fanctl/fanctl/bridge"
	"github.com/fanctl/fanctl/fan"
	"github.com/fanctl/fanctl/internal/kernel"
	"github.com/fanctl/fanctl/internal/plan"
)

// ErrPrivilege says that the caller may not change the network.
var ErrPrivilege = errors.New("this needs root: run it with sudo")

// Host is this host's network, in the network namespace of the caller.
type Host struct {
	handle *netlink.Handle
	// Observe is told of each step that was done; nil for nobody.
	Observe plan.Observer
	// Explain is told why a change is what it is, a sentence at a time, before it is
	// applied; nil for nobody.
	Explain func(reason string)
	// Patience is how long a change waits for another one; half a minute if 0.
	Patience time.Duration
	// StateDir is where leases are kept; dnsmasq.Dir if empty.
	StateDir string
}

// Open returns the host. Close it after use.
func Open() (*Host, error) {
	handle, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return nil, fmt.Errorf("open netlink: %w", err)
	}
	return &Host{handle: handle}, nil
}

// Close lets go of the host.
func (h *Host) Close() { h.handle.Close() }

// known is a fan that the kernel has: what the alias of its bridge says.
type known struct {
	fan.Fan
	facts bridge.Facts
}

// fansOf returns the fans that the kernel has, in the order of their bridges.
func fansOf(s kernel.State) []known {
	var fans []known
	for _, l := range s.Links {
		if l.Kind != "bridge" {
			continue
		}
		if f, extra, err := fan.ParseAlias(l.Name, l.Alias); err == nil {
			fans = append(fans, known{f, bridge.FactsFrom(extra)})
		}
	}
	return fans
}

// fanWith returns the fan that has a bridge of that name.
func fanWith(bridge string, s kernel.State) (known, bool) {
	for _, k := range fansOf(s) {
		if k.Bridge == bridge {
			return k, true
		}
	}
	return known{}, false
}
