package kernel

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// Feature is something that a kernel may not have.
type Feature struct {
	What   string // e.g. "the ipip device"
	Config string // the kernel's build option; with a module of a similar name
	Since  string // the first Linux that has all that is used of it
}

// IPIP is the tunnel device of RFC 2003.
func IPIP() Feature { return Feature{"ipip devices with metadata", "CONFIG_NET_IPIP", "4.9"} }

// VXLAN is the tunnel device of RFC 7348.
func VXLAN() Feature { return Feature{"vxlan devices with metadata", "CONFIG_VXLAN", "4.3"} }

// Veth is the pair of devices.
func Veth() Feature { return Feature{"veth devices", "CONFIG_VETH", "2.6.24"} }

// Bridge is the Ethernet bridge.
func Bridge() Feature { return Feature{"bridges", "CONFIG_BRIDGE", "2.4"} }

// Clsact is the place of filters at a device.
func Clsact() Feature { return Feature{"clsact qdiscs", "CONFIG_NET_SCH_INGRESS", "4.5"} }

// Filters are eBPF programs as filters.
func Filters() Feature { return Feature{"eBPF filters", "CONFIG_NET_CLS_BPF", "4.4"} }

// Explain says that the feature is missing if that is what a request's error
// means: rtnetlink answers "not supported" for an unknown kind of device and "no
// such file" for an unknown kind of qdisc or filter.
func (f Feature) Explain(err error) error {
	if !errors.Is(err, unix.EOPNOTSUPP) && !errors.Is(err, unix.ENOENT) {
		return err
	}
	return fmt.Errorf("the kernel (%s) has no %s, which need %s and Linux %s or newer: %w", Release(), f.What, f.Config, f.Since, err)
}
