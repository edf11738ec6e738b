package tests

import (
	"encoding/binary"
	"slices"

	"github.com/fanctl/fanctl/tests/bed/wire"
)

// sequence is parcels of which each is sent after the one before has been through.
type sequence []parcel

// rounds makes at least count parcels: each round has the next one of many sequences.
func (m *post) rounds(count int, begin func() sequence) [][]parcel {
	const atOnce = 60
	var all [][]parcel
	open := make([]sequence, atOnce)
	for made := 0; made < count; {
		var round []parcel
		for i := range open {
			if len(open[i]) == 0 {
				open[i] = begin()
			}
			round = append(round, open[i][0])
			open[i] = open[i][1:]
		}
		made += len(round)
		all = append(all, round)
	}
	return all
}

// any begins a sequence of any kind. Half of the parcels are odd ones by themselves.
func (m *post) any() sequence {
	switch n := m.r.IntN(100); {
	case n < 6:
		return m.conversation()
	case n < 14:
		return m.exchange()
	case n < 22:
		return m.inPieces()
	case n < 30:
		return m.echoes()
	default:
		return sequence{m.odd()}
	}
}

// conversation is a TCP connection from its first to its last packet, with some that do
// not belong there. The talkers' kernels say nothing to it.
func (m *post) conversation() sequence {
	client := m.r.IntN(2)
	ports := [2]uint16{uint16(20000 + m.r.IntN(20000)), uint16(1 + m.r.IntN(1000))}
	next := [2]uint32{m.r.Uint32(), m.r.Uint32()}
	var s sequence
	say := func(who int, flags byte, options []byte, size int) {
		d := m.draft((client + who) % 2)
		d.tos = pick[byte](m, 0, 0, 0x10, wire.ECT0, wire.CE)
		ack := uint32(0)
		if flags&flagACK != 0 {
			ack = next[1-who]
		}
		d.say("conversation, %d", len(s))
		d.tcp(ports[who], ports[1-who], next[who], ack, flags, options, m.load(d.mark, size))
		s = append(s, m.parcel(d))
		next[who] += uint32(size)
		if flags&(flagSYN|flagFIN) != 0 {
			next[who]++
		}
	}
	mss := []byte{2, 4, 5, 180, 1, 3, 3, 7} // largest segment and window scale (RFC 9293, 7323)
	if m.one(8) {
		say(0, flagACK|flagPSH, nil, 50) // before there is a connection
	}
	say(0, flagSYN, mss, 0)
	if m.one(4) {
		say(1, flagRST|flagACK, nil, 0)
		return s
	}
	say(1, flagSYN|flagACK, mss, 0)
	say(0, flagACK, nil, 0)
	for range 1 + m.r.IntN(5) {
		say(m.r.IntN(2), flagACK|pick[byte](m, 0, flagPSH, 0x20, 0x40, 0x80), nil, pick(m, 0, 1, 100, 1000, m.mtu-40, m.mtu-39))
	}
	if m.one(4) {
		say(m.r.IntN(2), flagRST|flagACK, nil, 0)
	} else {
		say(0, flagFIN|flagACK, nil, 0)
		say(1, flagFIN|flagACK, nil, 0)
		say(0, flagACK, nil, 0)
	}
	if m.one(3) {
		say(1, flagACK, nil, 20) // after the end
	}
	return s
}

// exchange is UDP to and fro. No port is open: the kernels' errors are part of it.
func (m *post) exchange() sequence {
	first := m.r.IntN(2)
	ports := [2]uint16{uint16(20000 + m.r.IntN(20000)), uint16(9 + m.r.IntN(1000))}
	var s sequence
	for i := range 2 + m.r.IntN(6) {
		who := (first + i) % 2
		d := m.draft(who)
		d.tos = pick[byte](m, 0, 0, 0xb8, wire.ECT1, wire.ECT0, wire.CE)
		d.say("exchange, %d", i)
		d.udp(ports[i%2], ports[1-i%2], m.load(d.mark, pick(m, 0, 1, 10, 100, 1000, m.mtu-28, m.mtu-27)))
		s = append(s, m.parcel(d))
	}
	return s
}

// echoes are answered by the other talker's kernel.
func (m *post) echoes() sequence {
	who := m.r.IntN(2)
	var s sequence
	for range 1 + m.r.IntN(4) {
		d := m.draft(who)
		d.tos = byte(m.r.Uint32())
		d.ttl = pick[byte](m, 64, 255, 3, 2)
		d.icmp(wire.ICMPEcho, 0, echoRest(d.mark, d.mark), m.load(d.mark, pick(m, 0, 8, 56, 1000, m.mtu-28, m.mtu-27, m.mtu+20)))
		s = append(s, m.parcel(d))
	}
	return s
}

func echoRest(ident, mark uint16) uint32 { return uint32(ident)<<16 | uint32(mark) }

// inPieces is a datagram in fragments: in and out of order, with one missing, or one that
// overlaps. All have one mark.
func (m *post) inPieces() sequence {
	whole := m.draft(m.r.IntN(2))
	whole.df = false
	m.address(whole)
	if other := m.sides[1-whole.side]; m.path.kind == "vxlan" && slices.Equal(whole.to[1:], other.bridgeMAC[1:]) {
		// The other host's kernel would put the whole together and take it apart again in the
		// very buffers that the taps have not read yet (net/ipv4/ip_output.c: ip_do_fragment).
		whole.to = other.mac
	}
	cut, count := 8*pick(m, 1, 3, 20, 100, 180), 2+m.r.IntN(3)
	whole.udp(2000+whole.mark, 9, m.load(whole.mark, cut*(count-1)+m.r.IntN(cut)))
	var s sequence
	for i := range count {
		piece := *whole
		from := i * cut
		to := min(from+cut, len(whole.body))
		piece.body, piece.offset, piece.more = whole.body[from:to], from, i < count-1
		piece.say("piece %d of %d", i, count)
		s = append(s, m.parcel(&piece))
	}
	switch m.r.IntN(6) {
	case 0:
		s = s[:count-1]
	case 1:
		s = s[1:]
	case 2: // the second begins where the first does not end yet
		frame := s[1].frame
		binary.BigEndian.PutUint16(frame[20:], binary.BigEndian.Uint16(frame[20:])-1)
		binary.BigEndian.PutUint16(frame[24:], 0)
		binary.BigEndian.PutUint16(frame[24:], wire.Checksum(frame[14:34]))
	case 3:
		m.r.Shuffle(len(s), func(i, j int) { s[i], s[j] = s[j], s[i] })
	}
	return s
}
