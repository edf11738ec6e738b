package fan

import (
	"net/netip"
	"strconv"
)

// Type is the format in which a fan's packets travel between hosts. Both ends
// must have the same one.
type Type uint8

const (
	// IPIP puts an IPv4 header in front of the packet (RFC 2003).
	IPIP Type = iota + 1
	// VXLAN puts the Ethernet frame into a UDP packet (RFC 7348).
	VXLAN
)

// ParseType reads "ipip" or "vxlan". Errors are ErrUsage.
func ParseType(s string) (Type, error) {
	for _, t := range []Type{IPIP, VXLAN} {
		if s == t.String() {
			return t, nil
		}
	}
	return 0, Usagef("type %q is unknown; use ipip or vxlan", s)
}

// String returns the type's word, or "" for the zero value.
func (t Type) String() string {
	switch t {
	case IPIP:
		return "ipip"
	case VXLAN:
		return "vxlan"
	}
	return ""
}

// MTU is the length in bytes of the longest IPv4 packet that passes, its header
// included.
type MTU int

// Lengths of the headers that stand before an overlay packet on the wire.
const (
	ipv4Header     MTU = 20 // RFC 791, without options
	udpHeader      MTU = 8  // RFC 768
	vxlanHeader    MTU = 8  // RFC 7348
	ethernetHeader MTU = 14 // IEEE 802.3, of the inner frame
)

// MinMTU is the least that every IPv4 host must take (RFC 791); MaxMTU the most
// that a total length of 16 bits can say.
const (
	MinMTU MTU = 576
	MaxMTU MTU = 65535
)

// Overhead returns the bytes that the type adds to each packet.
func (t Type) Overhead() MTU {
	if t == VXLAN {
		return ipv4Header + udpHeader + vxlanHeader + ethernetHeader
	}
	return ipv4Header
}

// MTU returns the fan's MTU over an underlay with that MTU.
func (t Type) MTU(underlay MTU) MTU { return underlay - t.Overhead() }

// DefaultPort is the UDP port of vxlan fans, the Linux default
// (drivers/net/vxlan/vxlan_core.c), which Ubuntu's and LXD's fans use.
const DefaultPort = 8472

// VNI returns the vxlan network identifier of an overlay: its address without
// the last octet, 0xfa0000 for 250.0.0.0/8.
func VNI(overlay netip.Prefix) uint32 { return number(overlay.Addr()) >> 8 }

// Datapath is how the ipip tunnel is built. It shows on this host only, never on
// the wire.
type Datapath uint8

const (
	// Auto takes the kernel's ipip device to help if there is one.
	Auto Datapath = iota
	// Device is with a kernel tunnel device. That of vxlan does the job, told by eBPF
	// where to send; that of ipip receives what eBPF can't: packets in fragments.
	Device
	// EBPF does the whole job without a kernel tunnel device.
	EBPF
)

// ParseDatapath reads "auto", "device" or "ebpf". Errors are ErrUsage.
func ParseDatapath(s string) (Datapath, error) {
	for _, d := range []Datapath{Auto, Device, EBPF} {
		if s == d.String() {
			return d, nil
		}
	}
	return 0, Usagef("datapath %q is unknown; use auto, device or ebpf", s)
}

// String returns the datapath's word.
func (d Datapath) String() string {
	switch d {
	case Device:
		return "device"
	case EBPF:
		return "ebpf"
	}
	return "auto"
}

// ParsePort reads a UDP port. Errors are ErrUsage.
func ParsePort(s string) (uint16, error) {
	n, err := strconv.ParseUint(s, 10, 16)
	if err != nil || n == 0 {
		return 0, Usagef("port %q is not a number from 1 to 65535", s)
	}
	return uint16(n), nil
}

// ParseMTU reads the MTU of a fan. Errors are ErrUsage.
func ParseMTU(s string) (MTU, error) {
	n, err := strconv.Atoi(s)
	if err != nil || MTU(n) < MinMTU || MTU(n) > MaxMTU {
		return 0, Usagef("MTU %q is not a number from %d to %d", s, MinMTU, MaxMTU)
	}
	return MTU(n), nil
}
