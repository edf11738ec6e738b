package tests

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"

	"github.com/fanctl/fanctl/tests/bed"
	"github.com/fanctl/fanctl/tests/bed/wire"
)

// parcel is a frame that a talker is to send.
type parcel struct {
	side  int // which talker
	mark  uint16
	what  string
	frame []byte
}

// side is what parcels know of a host and its containers.
type side struct {
	host, bridge, talker, idler, nobody netip.Addr
	slice                               netip.Prefix
	mac, idlerMAC, bridgeMAC, next      wire.MAC
}

// post makes parcels, the same from the same seed.
type post struct {
	r     *rand.Rand
	path  path
	mtu   int
	sides [2]side
	// strangers says that addresses that nobody has are among the addresses.
	strangers bool
	last      uint16
	texts     map[uint16]string
}

func newPost(seed uint64, w *twin) *post {
	m := newPostOf(seed, w.fans[0].path, w.fans[0].mtu(w.bed))
	for i, f := range w.fans {
		m.sides[i] = side{host: f.host.Addr, bridge: f.net.Gateway(), talker: w.talkers[i].Addr, idler: w.idlers[i].Addr,
			nobody: bed.Nth(f.net.Slice, 99), slice: f.net.Slice,
			mac: card(3, i, 0), idlerMAC: card(3, i, 1), bridgeMAC: bridgeMAC(f.host.Addr), next: w.nextMAC(i)}
	}
	return m
}

// newPostOf makes parcels between hosts that have no names.
func newPostOf(seed uint64, p path, mtu int) *post {
	m := &post{r: rand.New(rand.NewPCG(seed, 1)), path: p, mtu: mtu, texts: map[uint16]string{}}
	for i, host := range []string{"10.0.0.11", "10.0.3.4"} {
		a := netip.MustParseAddr(host)
		slice := bed.Slice(netip.MustParsePrefix("10.0.0.0/16"), overlayPrefix(), a)
		m.sides[i] = side{host: a, bridge: bed.Nth(slice, 1), talker: bed.Nth(slice, 2), idler: bed.Nth(slice, 3), nobody: bed.Nth(slice, 99), slice: slice}
	}
	return m
}

// draft is a parcel that is being written.
type draft struct {
	side     int
	mark     uint16
	words    []string
	to, from wire.MAC
	src, dst netip.Addr
	tos, ttl byte
	df, more bool
	offset   int
	protocol byte
	options  []byte
	body     []byte
}

// draft begins a parcel from one talker to the other.
func (m *post) draft(from int) *draft {
	m.last++
	own, other := m.sides[from], m.sides[1-from]
	return &draft{side: from, mark: m.last, to: own.next, from: own.mac, src: own.talker, dst: other.talker,
		ttl: 64, df: m.one(2), protocol: wire.ProtoUDP}
}

// one says yes once in n times.
func (m *post) one(n int) bool { return m.r.IntN(n) == 0 }

func pick[T any](m *post, of ...T) T { return of[m.r.IntN(len(of))] }

func (d *draft) say(format string, args ...any) {
	d.words = append(d.words, fmt.Sprintf(format, args...))
}

// packet is the draft's IPv4 packet, as it ought to be.
func (d *draft) packet() []byte {
	b := make([]byte, 20, 20+len(d.options)+len(d.body))
	b[0], b[1] = byte(0x45+len(d.options)/4), d.tos
	binary.BigEndian.PutUint16(b[2:], uint16(20+len(d.options)+len(d.body)))
	binary.BigEndian.PutUint16(b[4:], d.mark)
	flags := uint16(d.offset / 8)
	if d.df {
		flags |= 0x4000
	}
	if d.more {
		flags |= 0x2000
	}
	binary.BigEndian.PutUint16(b[6:], flags)
	b[8], b[9] = d.ttl, d.protocol
	src, dst := d.src.As4(), d.dst.As4()
	copy(b[12:], src[:])
	copy(b[16:], dst[:])
	b = append(b, d.options...)
	binary.BigEndian.PutUint16(b[10:], wire.Checksum(b))
	return append(b, d.body...)
}

// parcel ends the draft.
func (m *post) parcel(d *draft) parcel {
	return m.seal(d, wire.Eth{Dst: d.to, Src: d.from, Type: wire.TypeIPv4}.Build(d.packet()))
}

// seal ends the draft with a frame of its own.
func (m *post) seal(d *draft, frame []byte) parcel {
	what := fmt.Sprintf("talker %d, %s > %s to %s, protocol %d, ttl %d tos %#02x df %t: %s", d.side, d.src, d.dst, d.to,
		d.protocol, d.ttl, d.tos, d.df, strings.Join(d.words, ", "))
	if _, ok := m.texts[d.mark]; !ok {
		m.texts[d.mark] = what
	}
	return parcel{d.side, d.mark, what, frame}
}

// text tells a parcel.
func (m *post) text(mark uint16) string { return m.texts[mark] }

// load is what a packet carries: the mark, and bytes up to a size.
func (m *post) load(mark uint16, size int) []byte {
	b := make([]byte, max(size, 0))
	for i := range b {
		b[i] = byte(m.r.Uint32())
	}
	copy(b, binary.BigEndian.AppendUint16([]byte(markWord), mark))
	return b
}

// sum is the checksum of TCP and UDP (RFC 793, section 3.1): over a header of addresses,
// protocol and length, and the segment.
func (d *draft) sum(segment []byte) uint16 {
	src, dst := d.src.As4(), d.dst.As4()
	b := slices.Concat(src[:], dst[:], []byte{0, d.protocol})
	b = binary.BigEndian.AppendUint16(b, uint16(len(segment)))
	return wire.Checksum(append(b, segment...))
}

func (d *draft) udp(from, to uint16, load []byte) {
	d.protocol = wire.ProtoUDP
	d.body = wire.UDP{Src: from, Dst: to}.Build(load)
	binary.BigEndian.PutUint16(d.body[6:], d.sum(d.body))
	d.say("UDP %d > %d, %d bytes", from, to, len(load))
}

// TCP's flags (RFC 793 and 3168).
const (
	flagFIN = 1 << iota
	flagSYN
	flagRST
	flagPSH
	flagACK
)

func (d *draft) tcp(from, to uint16, seq, ack uint32, flags byte, options, load []byte) {
	d.protocol = wire.ProtoTCP
	b := binary.BigEndian.AppendUint16(nil, from)
	b = binary.BigEndian.AppendUint16(b, to)
	b = binary.BigEndian.AppendUint32(b, seq)
	b = binary.BigEndian.AppendUint32(b, ack)
	b = append(b, byte(5+len(options)/4)<<4, flags, 0x20, 0, 0, 0, 0, 0)
	b = slices.Concat(b, options, load)
	binary.BigEndian.PutUint16(b[16:], d.sum(b))
	d.body = b
	d.say("TCP %d > %d flags %#02x seq %#x, %d bytes", from, to, flags, seq, len(load))
}

func (d *draft) icmp(kind, code byte, rest uint32, load []byte) {
	d.protocol = wire.ProtoICMP
	d.body = wire.ICMP{Type: kind, Code: code, Rest: rest}.Build(load)
	d.say("ICMP type %d code %d, %d bytes", kind, code, len(load))
}
