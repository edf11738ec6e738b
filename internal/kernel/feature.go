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
	// Instead says what does without, "" if nothing does.
	Instead string
}

// IPIP is the tunnel device of RFC 2003.
func IPIP() Feature {
	return Feature{What: "ipip devices with metadata", Config: "CONFIG_NET_IPIP", Since: "4.9", Instead: "eBPF alone does without; leave --datapath out"}
}

// VXLAN is the tunnel device of RFC 7348.
func VXLAN() Feature {
	return Feature{What: "vxlan devices with metadata", Config: "CONFIG_VXLAN", Since: "4.3"}
}

// Veth is the pair of devices.
func Veth() Feature { return Feature{What: "veth devices", Config: "CONFIG_VETH", Since: "2.6.24"} }

// Bridge is the Ethernet bridge.
func Bridge() Feature { return Feature{What: "bridges", Config: "CONFIG_BRIDGE", Since: "2.4"} }

// Clsact is the place of filters at a device.
func Clsact() Feature {
	return Feature{What: "clsact qdiscs", Config: "CONFIG_NET_SCH_INGRESS", Since: "4.5"}
}

// Filters are eBPF programs as filters.
func Filters() Feature {
	return Feature{What: "eBPF filters", Config: "CONFIG_NET_CLS_BPF", Since: "4.4"}
}

// Explain says that the feature is missing if that is what a request's error
// means: rtnetlink answers "not supported" for an unknown kind of device and "no
// such file" for an unknown kind of qdisc or filter.
func (f Feature) Explain(err error) error {
	if !errors.Is(err, unix.EOPNOTSUPP) && !errors.Is(err, unix.ENOENT) {
		return err
	}
	instead := ""
	if f.Instead != "" {
		instead = " (" + f.Instead + ")"
	}
	return fmt.Errorf("the kernel (%s) has no %s, which need %s and Linux %s or newer%s: %w", Release(), f.What, f.Config, f.Since, instead, err)
}
