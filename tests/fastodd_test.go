package tests

import (
	"encoding/binary"
	"net/netip"
	"slices"

	"github.com/fanctl/fanctl/tests/bed/wire"
)

// odd is a packet of which anything may be out of the ordinary: where it is from and
// where it is sent to, what it carries, how long it is, its header, the frame around it.
func (m *post) odd() parcel {
	d := m.draft(m.r.IntN(2))
	m.address(d)
	m.header(d)
	m.fill(d, m.size())
	return m.spoil(d)
}

// address chooses addresses: half the time those of the talkers.
func (m *post) address(d *draft) {
	own, other := m.sides[d.side], m.sides[1-d.side]
	if m.one(2) {
		return
	}
	if m.one(3) {
		d.src = pick(m, m.sources(own, other)...)
	}
	if m.one(2) {
		d.dst = pick(m, m.targets(own, other)...)
		if m.path.kind == "vxlan" && !other.slice.Contains(d.dst) {
			d.to = own.bridgeMAC
		}
	}
	if m.one(3) {
		d.to = pick(m, own.bridgeMAC, own.mac, own.idlerMAC, other.mac, other.idlerMAC, other.bridgeMAC,
			wire.Broadcast(), wire.MAC{0x01, 0, 0x5e, 0, 0, 0xfb}, wire.MAC{0x01, 0x80, 0xc2, 0, 0, 0x0e},
			wire.MAC{0x06, 0xfa, 10, 0, 3, 4}, wire.MAC{0x02, 0x11, 0x22, 0x33, 0x44, 0x55}, wire.MAC{})
	}
	if m.one(30) {
		d.from = pick(m, wire.MAC{0x02, 0x66, 0, 0, 0, 1}, wire.MAC{0x02, 0x66, 0, 0, 0, 2}, wire.Broadcast(), wire.MAC{})
	}
}

func (m *post) sources(own, other side) []netip.Addr {
	all := []netip.Addr{own.idler, own.idler, other.idler, other.talker, own.bridge, other.bridge, own.host,
		netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("203.0.113.2"), netip.MustParseAddr("0.0.0.0"),
		netip.MustParseAddr("127.0.0.1"), netip.MustParseAddr("224.0.0.1"), netip.MustParseAddr("255.255.255.255")}
	if m.strangers {
		all = append(all, own.nobody, own.nobody, other.nobody, own.slice.Addr(), netip.MustParseAddr("250.0.77.7"))
	}
	if m.strangers || m.path.kind == "ipip" {
		all = append(all, netip.MustParseAddr("250.0.0.5"))
	}
	return all
}

func (m *post) targets(own, other side) []netip.Addr {
	world := netip.MustParseAddr("203.0.113.2")
	all := []netip.Addr{world, world, world, world, other.bridge, other.bridge, other.host, other.idler, other.idler,
		own.bridge, own.idler, own.talker, other.host, own.host,
		netip.MustParseAddr("203.0.113.1"), netip.MustParseAddr("192.0.2.9"), netip.MustParseAddr("250.255.255.255"),
		netip.MustParseAddr("255.255.255.255"), netip.MustParseAddr("224.0.0.251"), netip.MustParseAddr("239.1.2.3"),
		netip.MustParseAddr("0.0.0.0"), netip.MustParseAddr("127.0.0.1"), netip.MustParseAddr("251.0.3.2")}
	if m.strangers {
		// Since Linux 5.14 a network's own address is like any other.
		all = append(all, other.nobody, other.nobody, other.nobody, own.nobody, other.slice.Addr(), own.slice.Addr(),
			netip.MustParseAddr("250.0.77.7"))
	}
	// These nobody has either; a network that is routed knows so without asking.
	if m.strangers || m.path.kind == "ipip" {
		all = append(all, bedLast(other.slice), bedLast(own.slice),
			netip.MustParseAddr("250.0.0.5"), netip.MustParseAddr("250.255.255.5"))
	}
	return all
}

// bedLast is a prefix's broadcast address.
func bedLast(p netip.Prefix) netip.Addr {
	a := p.Masked().Addr().As4()
	a[3] |= byte(1<<(32-p.Bits()) - 1)
	return netip.AddrFrom4(a)
}

// header chooses what stands in the IPv4 header.
func (m *post) header(d *draft) {
	if m.one(3) {
		d.ttl = pick[byte](m, 0, 1, 1, 2, 3, 255)
	}
	if m.one(2) {
		d.tos = byte(m.r.Uint32())
	}
	if m.one(12) {
		d.options = pick(m, m.options()...)
		d.say("options %x", d.options)
	}
	if m.one(20) {
		d.more = true
		d.say("a fragment without others")
	}
	if m.one(30) {
		d.offset = 8 * m.r.IntN(8000)
		d.say("a fragment at %d", d.offset)
	}
}

// options are some of RFC 791, section 3.1, none of which has the time in it.
func (m *post) options() [][]byte {
	return [][]byte{
		{1, 1, 1, 1}, {0, 0, 0, 0}, {1, 0, 7, 9},
		{7, 7, 4, 0, 0, 0, 0, 0},                             // record the route
		{7, 3, 4, 0}, {7, 7, 8, 1, 2, 3, 4, 0}, {7, 0, 0, 0}, // no room, full, of no length
		{148, 4, 0, 0}, {148, 4, 0, 9}, // router alert
		{131, 7, 4, 250, 0, 3, 1, 0}, {137, 7, 4, 10, 0, 3, 4, 0}, // source routes
		{130, 11, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}, {134, 4, 0, 0}, // security
		{200, 4, 1, 2}, {200, 60, 1, 2}, {7}, // unknown, too long, cut off
	}
}

// size is the length of a packet: mostly around where something changes.
func (m *post) size() int {
	if m.one(3) {
		return m.mtu + pick(m, -60, -9, -8, -1, 0, 1, 2, 8, 19, 20, 21, 28, 49, 50, 51, 60)
	}
	if m.one(4) {
		return 20 + m.r.IntN(30)
	}
	return 20 + m.r.IntN(m.mtu-20)
}

// fill chooses what the packet carries; size is the whole packet's.
func (m *post) fill(d *draft, size int) {
	room := max(size-20-len(d.options), 0)
	outside := !overlayPrefix().Contains(d.dst)
	from, to := 2000+d.mark, pick[uint16](m, 1, 9, 53, 80, 443, 5000, 40000)
	number := uint32(d.mark)<<16 | uint32(m.r.IntN(1<<8))
	switch n := m.r.IntN(100); {
	case n < 35:
		flags := pick(m, flagSYN, flagSYN, flagACK, flagACK|flagPSH, flagACK|flagFIN, flagRST, byte(m.r.Uint32()))
		d.tcp(from, to, number, number, flags, nil, m.load(d.mark, room-20))
	case n < 65:
		d.udp(from, to, m.load(d.mark, room-8))
		if m.one(5) {
			d.body[6], d.body[7] = 0, 0
			d.say("no checksum")
		}
	case n < 75:
		m.message(d, room)
	case n < 85 && !outside:
		m.own(d, room)
	default:
		// Not IGMP (2) or PIM (103): bridges learn from these who wants groups.
		d.protocol = pick[byte](m, 0, 41, 47, 50, 51, 89, 115, 132, 136, 253, 255)
		d.body = m.load(d.mark, room)
		d.say("%d bytes", room)
	}
	if len(d.body) > room {
		d.body = d.body[:room]
		d.say("its header cut off at %d bytes", room)
	}
}

// message is ICMP.
func (m *post) message(d *draft, room int) {
	switch kind := pick[byte](m, 0, 3, 3, 4, 8, 8, 11, 12, 17, 40); kind {
	case 0:
		d.icmp(kind, 0, echoRest(replyIdent, d.mark), m.load(d.mark, room-8))
	case 8:
		d.icmp(kind, pick[byte](m, 0, 0, 1), echoRest(d.mark, d.mark), m.load(d.mark, room-8))
	case 3, 11, 12:
		about := *d
		about.src, about.dst, about.ttl, about.options, about.words = d.dst, d.src, quotedTTL, nil, nil
		about.udp(9, 9, m.load(d.mark, 20))
		d.icmp(kind, pick[byte](m, 0, 1, 3), 0, about.packet())
	default:
		d.icmp(kind, 0, 0, m.load(d.mark, room-8))
	}
}

// own is a container's own tunnel.
func (m *post) own(d *draft, room int) {
	inside := *d
	inside.src, inside.dst = netip.MustParseAddr("192.168.7.1"), netip.MustParseAddr("192.168.7.2")
	if m.one(3) { // or one that looks like the fan's
		inside.src, inside.dst = d.src, d.dst
	}
	inside.options, inside.words, inside.offset, inside.more = nil, nil, 0, false
	frame := func(size int) []byte {
		inside.udp(5, 9, m.load(d.mark, size-28-14))
		return wire.Eth{Dst: d.to, Src: d.from, Type: wire.TypeIPv4}.Build(inside.packet())
	}
	switch m.r.IntN(4) {
	case 0:
		inside.udp(5, 9, m.load(d.mark, room-28))
		d.protocol, d.body = wire.ProtoIPIP, inside.packet()
		d.say("ipip of its own")
	case 1:
		d.protocol, d.body = 47, append([]byte{0, 0, 0x65, 0x58}, frame(room-4)...) // RFC 1701 of Ethernet
		d.say("GRE of its own")
	default:
		port, vni := pick[uint16](m, 8472, 8472, 4789), pick[uint32](m, 7, overlayVNI)
		d.udp(2000+d.mark, port, wire.VXLAN{Flags: 8, VNI: vni}.Build(frame(room-16)))
		d.say("vxlan %#x of its own", vni)
	}
}

// spoil makes the frame, and breaks one in four.
func (m *post) spoil(d *draft) parcel {
	packet := d.packet()
	eth := wire.Eth{Dst: d.to, Src: d.from, Type: wire.TypeIPv4}
	whole := eth.Build(packet)
	if !m.one(4) {
		return m.seal(d, whole)
	}
	setLength := func(n int) {
		binary.BigEndian.PutUint16(packet[2:], uint16(max(n, 0)))
		resum(packet)
	}
	switch m.r.IntN(14) {
	case 0:
		packet[10] ^= byte(1 + m.r.IntN(255))
		d.say("wrong header checksum")
	case 1:
		setLength(len(packet) + 1 + m.r.IntN(100))
		d.say("longer than the frame")
	case 2:
		setLength(len(packet) - 1 - m.r.IntN(40))
		d.say("shorter than the frame")
	case 3:
		setLength(pick(m, 0, 1, 19, 20))
		d.say("of an impossible length")
	case 4:
		d.say("cut off")
		return m.seal(d, whole[:14+m.r.IntN(min(60, len(packet)))])
	case 5:
		packet[0] = pick[byte](m, 0x40, 0x44, 0x4f, 0x55, 0x65, 0x05)
		resum(packet)
		d.say("first byte %#x", packet[0])
	case 6:
		if len(d.body) > 18 {
			d.body[pick(m, 6, 16)] ^= 0x55
			packet = d.packet()
		}
		d.say("wrong checksum inside")
	case 7:
		d.say("in a VLAN")
		eth.Type = 0x8100
		return m.seal(d, eth.Build(append([]byte{pick[byte](m, 0, 0x20), pick[byte](m, 0, 7), 8, 0}, packet...)))
	case 8:
		return m.seal(d, m.ipv6(d, eth))
	case 9:
		return m.seal(d, m.arp(d, eth))
	case 10:
		packet = append(packet, make([]byte, m.r.IntN(40))...)
		d.say("padded")
	case 11:
		eth.Type = pick[uint16](m, 0x88b5, 0x8847, 0x8864, 100)
		d.say("of another type")
	case 12:
		d.say("frame of a few bytes")
		return m.seal(d, whole[:m.r.IntN(20)])
	case 13:
		packet[6] |= 0x80 // the reserved bit (RFC 791, section 3.1)
		resum(packet)
		d.say("reserved bit")
	}
	return m.seal(d, eth.Build(packet))
}

// resum puts the checksum of a header right.
func resum(packet []byte) {
	packet[10], packet[11] = 0, 0
	end := min(max(int(packet[0]&0xf)*4, 20), len(packet))
	binary.BigEndian.PutUint16(packet[10:], wire.Checksum(packet[:end]))
}

func (m *post) ipv6(d *draft, eth wire.Eth) []byte {
	eth.Type = wire.TypeIPv6
	d.say("IPv6")
	load := m.load(d.mark, 20)
	header := slices.Concat([]byte{0x60, 0, 0, 0, 0, byte(len(load)), 59, 64}, make([]byte, 32))
	header[8], header[24], header[23], header[39] = 0xfd, 0xfd, 1, 2
	return eth.Build(append(header, load...))
}

// arp is padded to what a wire carries, with the mark behind it.
func (m *post) arp(d *draft, eth wire.Eth) []byte {
	eth.Type = wire.TypeARP
	// From an address that nobody talks to: who hears it learns where it is.
	asker := d.src
	if m.sides[d.side].slice.Contains(asker) {
		asker = bedLast(m.sides[d.side].slice).Prev()
	}
	message := wire.ARP{Reply: m.one(4), SenderMAC: d.from, Sender: asker, Target: d.dst}
	d.say("ARP for %s", d.dst)
	return eth.Build(append(message.Build(), m.load(d.mark, 18)...))
}
