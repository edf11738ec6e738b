package fan

import "net/netip"

// Fan is one fan as this host has it or is to have it.
type Fan struct {
	Mapping  Mapping
	Host     netip.Addr // this host's underlay address
	Device   string     // the underlay device, which has it
	Type     Type
	Bridge   string
	Port     uint16 // UDP port of vxlan; 0 for ipip
	MTU      MTU    // of overlay packets
	FixedMTU bool   // the MTU was given and does not follow the underlay device's
	NAT      bool   // packets that leave the overlay get the address of the device that they leave by
	Datapath Datapath
	Fast     Fast  // whether TCP and UDP go past the host's stack
	Auto     bool  // brought up as one of a list, and goes with the list
	DHCP     bool  // containers get their addresses from this host
	Reserve  uint8 // so many addresses of the slice are the bridge's; 0 is 1
}

// Validate refuses (ErrUsage) a fan that can't be.
func (f Fan) Validate() error {
	if f.Mapping == (Mapping{}) {
		return Usagef("fan has no networks")
	}
	if err := f.Mapping.CheckHost(f.Host); err != nil {
		return err
	}
	if !validName(f.Device) {
		return Usagef("underlay device %q is not a device's name", f.Device)
	}
	if _, err := ParseBridgeName(f.Bridge); err != nil {
		return err
	}
	if err := f.checkReserve(); err != nil {
		return err
	}
	if f.MTU < MinMTU || f.MTU > MaxMTU {
		return Usagef("MTU %d is out of range; a fan's is %d to %d", f.MTU, MinMTU, MaxMTU)
	}
	switch f.Type {
	case IPIP:
		if f.Port != 0 {
			return Usagef("port %d: an ipip fan has no port; use --type vxlan or leave --port out", f.Port)
		}
	case VXLAN:
		if f.Port == 0 {
			return Usagef("port 0 is no port; a vxlan fan's is 1 to 65535, usually %d", DefaultPort)
		}
		if f.Datapath == EBPF {
			return Usagef("datapath ebpf is for ipip fans; leave it out with --type vxlan")
		}
	default:
		return Usagef("type %d is unknown; use ipip or vxlan", f.Type)
	}
	return nil
}

// Slice returns the part of the overlay that this host owns.
func (f Fan) Slice() netip.Prefix {
	slice, _ := f.Mapping.Slice(f.Host)
	return slice
}

// BridgeAddr returns the bridge's address, the first of the slice.
func (f Fan) BridgeAddr() netip.Addr {
	addr, _ := f.Mapping.BridgeAddr(f.Host)
	return addr
}

// BridgePrefix returns the bridge's address with its mask, which both ends must
// agree on: the overlay's for vxlan, one flat layer 2; the slice's for ipip.
func (f Fan) BridgePrefix() netip.Prefix {
	if f.Type == VXLAN {
		return netip.PrefixFrom(f.BridgeAddr(), f.Mapping.Overlay().Bits())
	}
	return netip.PrefixFrom(f.BridgeAddr(), f.Mapping.SliceBits())
}

// Tunnel returns the name of the fan tunnel.
func (f Fan) Tunnel() string { return TunnelName(f.Mapping.Overlay()) }

// Inlet returns the name of the bridge port of an ipip fan by which packets come from
// the fan tunnel.
func (f Fan) Inlet() string { return inletName(f.Mapping.Overlay()) }

// Room returns the name of the bridge port of an ipip fan that is never up and
// only makes room: see package tunnel.
func (f Fan) Room() string { return name(roomPrefix, f.Mapping.Overlay()) }

// BridgeMAC returns the bridge's hardware address, computed from the host's
// address, so that no two hosts have the same: 02:fa:10:0:0:45 in decimal.
func (f Fan) BridgeMAC() [6]byte { return f.mac(0x02) }

// TunnelMAC returns the fan tunnel's hardware address: 06:fa and the host's.
func (f Fan) TunnelMAC() [6]byte { return f.mac(0x06) }

// mac makes a locally administered unicast address (IEEE 802: bits 1 and 0 of
// the first octet are 1 and 0).
func (f Fan) mac(first byte) [6]byte {
	h := f.Host.As4()
	return [6]byte{first, 0xfa, h[0], h[1], h[2], h[3]}
}
