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
	Bridge     int     // index of the fan bridge; only vxlan needs it, the rest only ipip
	Tunnel     int     // index of the fan tunnel
	Underlay   int     // index of the underlay device
	LinkHeader uint8   // bytes before its IP header: 14, or 0 for layer 3 devices
	PlainSums  bool    // it sums up packets from any byte on
	TunnelMAC  [6]byte // the fan tunnel's hardware address; without an ipip device
	Inlet      int     // index of its other end, the port of the bridge; without an ipip device
}

// NewConfig returns the constants of a fan's programs.
func NewConfig(f fan.Fan, d Devices) Config {
	underlay, overlay, slice := f.Mapping.Underlay(), f.Mapping.Overlay(), f.Slice()
	var plainSums uint8
	if d.PlainSums {
		plainSums = 1
	}
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
		PlainSums:  plainSums,
	}
}

func number(a netip.Addr) uint32 {
	b := a.As4()
	return binary.BigEndian.Uint32(b[:])
}

func mask(bits int) uint32 { return ^uint32(0) << (32 - bits) }

// numbers returns the constants as fixed-size values, in their order.
func numbers(c Config) []any {
	return []any{c.Underlay, c.UnderlayMask, c.Overlay, c.OverlayMask, c.Slice, c.SliceMask, c.Host, c.Shift,
		c.Vni, c.Mtu, c.Bridge, c.Tunnel, c.Inlet, c.Device, c.TunnelMac, c.LinkHeader, c.PlainSums}
}
