package bpf

import (
	"encoding/binary"
	"net/netip"

	"github.com/fanctl/fanctl/fan"
)

// Config is the constants of a fan's programs (struct fan_config in fan.h); all
// addresses are in host byte order.
type Config = ipipFanConfig

// Devices is what the programs know of the host's devices; each program uses what
// it needs.
type Devices struct {
	Bridge     int     // index of the fan bridge
	Tunnel     int     // index of the fan tunnel
	TunnelMAC  [6]byte // its hardware address
	Inlet      int     // index of its other end, the port of the bridge
	Underlay   int     // index of the device by which most packets leave
	LinkHeader uint8   // bytes before its IP header: 14, or 0 for layer 3 devices
	PlainSums  bool    // it sums up packets from any byte on
	Catches    bool    // the kernel's ipip device gets what the programs can't read
	OuterFirst bool    // what that has received begins with the outer headers

	// Fast says that containers' packets go past the host's network stack.
	Fast bool
	// InnerEthernet says that the kernel can mark a super-packet in a frame (Linux 5.13).
	InnerEthernet bool
}

// NewConfig returns the constants of a fan's programs.
func NewConfig(f fan.Fan, d Devices) Config {
	underlay, overlay, slice := f.Mapping.Underlay(), f.Mapping.Overlay(), f.Slice()
	return Config{
		Underlay: number(underlay.Addr()), UnderlayMask: mask(underlay.Bits()),
		Overlay: number(overlay.Addr()), OverlayMask: mask(overlay.Bits()),
		Slice: number(slice.Addr()), SliceMask: mask(slice.Bits()),
		Host:       number(f.Host),
		Shift:      uint32(32 - slice.Bits()),
		Vni:        fan.VNI(overlay),
		Mtu:        uint32(f.MTU),
		Bridge:     uint32(d.Bridge),
		Tunnel:     uint32(d.Tunnel),
		Inlet:      uint32(d.Inlet),
		Device:     uint32(d.Underlay),
		TunnelMac:  d.TunnelMAC,
		LinkHeader: d.LinkHeader,
		PlainSums:  flag(d.PlainSums),
		Catches:    flag(d.Catches),
		OuterFirst: flag(d.OuterFirst),

		Fast: flag(d.Fast), BridgeMac: f.BridgeMAC(), InnerEthernet: flag(d.InnerEthernet), Port: uint32(f.Port),
	}
}

func number(a netip.Addr) uint32 {
	b := a.As4()
	return binary.BigEndian.Uint32(b[:])
}

func flag(on bool) uint8 {
	if on {
		return 1
	}
	return 0
}

func mask(bits int) uint32 { return ^uint32(0) << (32 - bits) }

// numbers returns the constants as fixed-size values, in their order.
func numbers(c Config) []any {
	return []any{c.Underlay, c.UnderlayMask, c.Overlay, c.OverlayMask, c.Slice, c.SliceMask, c.Host, c.Shift,
		c.Vni, c.Mtu, c.Bridge, c.Tunnel, c.Inlet, c.Device, c.TunnelMac, c.LinkHeader, c.PlainSums, c.Catches, c.OuterFirst,
		c.Fast, c.BridgeMac, c.InnerEthernet, c.Port}
}
