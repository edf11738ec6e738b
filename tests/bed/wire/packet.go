package wire

import (
	"fmt"
	"strings"
)

// DefaultVXLANPort is where Decode looks for VXLAN (design: destination port 8472).
const DefaultVXLANPort = 8472

// Packet is a frame with all the headers that Decode understood; those that are
// not there are nil.
type Packet struct {
	Eth   *Eth
	ARP   *ARP
	IP    *IPv4
	UDP   *UDP
	ICMP  *ICMP
	VXLAN *VXLAN
	// Inner is the packet inside a tunnel: begins with IP for ipip, with Eth for
	// vxlan, and is the packet that an ICMP error is about.
	Inner *Packet
	// Payload is what follows the last header that was understood.
	Payload []byte
}

// Decode reads an Ethernet frame as far as it understands it. vxlanPorts are the
// UDP destination ports behind which there is VXLAN; none means the default.
func Decode(frame []byte, vxlanPorts ...uint16) Packet {
	if len(vxlanPorts) == 0 {
		vxlanPorts = []uint16{DefaultVXLANPort}
	}
	e, rest, err := ParseEth(frame)
	if err != nil {
		return Packet{Payload: frame}
	}
	var p Packet
	switch e.Type {
	case TypeIPv4:
		p = DecodeIPv4(rest, vxlanPorts...)
	case TypeARP:
		if a, err := ParseARP(rest); err == nil {
			p.ARP = &a
		}
		p.Payload = rest
	default:
		p.Payload = rest
	}
	p.Eth = &e
	return p
}

// DecodeIPv4 is Decode for a packet that begins with its IPv4 header.
func DecodeIPv4(b []byte, vxlanPorts ...uint16) Packet {
	h, rest, err := ParseIPv4(b)
	if err != nil {
		return Packet{Payload: b}
	}
	p := Packet{IP: &h, Payload: rest}
	if h.Offset != 0 {
		return p // only the first fragment has the next header
	}
	switch h.Proto {
	case ProtoIPIP:
		inner := DecodeIPv4(rest, vxlanPorts...)
		p.Inner = &inner
	case ProtoUDP:
		p.decodeUDP(rest, vxlanPorts)
	case ProtoICMP:
		p.decodeICMP(rest)
	}
	return p
}

func (p *Packet) decodeUDP(b []byte, vxlanPorts []uint16) {
	u, rest, err := ParseUDP(b)
	if err != nil {
		return
	}
	p.UDP, p.Payload = &u, rest
	for _, port := range vxlanPorts {
		if u.Dst != port {
			continue
		}
		v, frame, err := ParseVXLAN(rest)
		if err != nil {
			return
		}
		inner := Decode(frame, vxlanPorts...)
		p.VXLAN, p.Inner, p.Payload = &v, &inner, frame
		return
	}
}

func (p *Packet) decodeICMP(b []byte) {
	i, rest, err := ParseICMP(b)
	if err != nil {
		return
	}
	p.ICMP, p.Payload = &i, rest
	if i.Type == ICMPUnreachable || i.Type == ICMPTimeExceeded {
		inner := DecodeIPv4(rest)
		p.Inner = &inner
	}
}

// Tunnelled says whether the packet carries another one in ipip or vxlan.
func (p Packet) Tunnelled() bool {
	return p.VXLAN != nil || (p.IP != nil && p.IP.Proto == ProtoIPIP)
}

// String describes the packet in one line, outermost header first.
func (p Packet) String() string {
	var words []string
	add := func(format string, args ...any) { words = append(words, fmt.Sprintf(format, args...)) }
	if p.Eth != nil && p.IP == nil && p.ARP == nil {
		add("ethertype %#04x %s > %s", p.Eth.Type, p.Eth.Src, p.Eth.Dst)
	}
	if p.ARP != nil {
		verb := "who-has"
		if p.ARP.Reply {
			verb = "is-at " + p.ARP.SenderMAC.String()
		}
		add("ARP %s: %s %s", p.ARP.Sender, verb, p.ARP.Target)
	}
	if p.IP != nil {
		add("IPv4 %s > %s proto %d len %d ttl %d tos %#02x df %t", p.IP.Src, p.IP.Dst, p.IP.Proto, p.IP.TotalLen,
			p.IP.TTL, p.IP.TOS, p.IP.DF)
		if p.IP.MF || p.IP.Offset > 0 {
			add("fragment at %d more %t", p.IP.Offset, p.IP.MF)
		}
	}
	if p.UDP != nil {
		add("UDP %d > %d", p.UDP.Src, p.UDP.Dst)
	}
	if p.ICMP != nil {
		add("ICMP type %d code %d rest %#x", p.ICMP.Type, p.ICMP.Code, p.ICMP.Rest)
	}
	if p.VXLAN != nil {
		add("VXLAN vni %#x flags %#02x", p.VXLAN.VNI, p.VXLAN.Flags)
	}
	if p.Inner != nil {
		add("[%s]", p.Inner)
	}
	return strings.Join(words, ", ")
}
