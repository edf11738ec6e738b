package tests

import (
	"bytes"
	"encoding/binary"
	"slices"

	"github.com/fanctl/fanctl/tests/bed/wire"
)

// sightings are the frames that were seen in one twin, by the parcel that they came of
// and by place; in each such list they are in order.
//
// What is not compared, and why:
//   - ARP but for the parcels': who asks for whom, and when, goes by the clock.
//   - the identification of packets that a kernel made (echo replies, ICMP errors, resets):
//     it is drawn by lot, or counted over all that the kernel has sent.
//   - of vxlan, the UDP source port and the outer identification: the first is a hash that
//     only has to be the same for a flow, the second is drawn by lot where packets may be
//     fragmented. The outer identification of ipip is compared with the inner one.
//   - the echoes that are sent to know that all has been through.
//
// Checksums over what is not compared are replaced by what is wrong with them.
type sightings struct {
	kind    string
	by      map[spot][][]byte
	pieces  map[piece]origin
	answers [2]int
}

// spot is a parcel and a place. Parcel 0 has the frames that do not say what they came of.
type spot struct {
	mark  uint16
	place string
}

// piece tells the fragments of one packet.
type piece struct {
	addresses [8]byte
	id        uint16
	protocol  byte
}

// origin is what a packet came of.
type origin struct {
	mark   uint16
	kernel bool // made by a kernel: its identification says nothing
}

func newSightings(p path) *sightings {
	return &sightings{kind: p.kind, by: map[spot][][]byte{}, pieces: map[piece]origin{}}
}

// nextRound forgets what fragments belong together: identifications may come again.
func (s *sightings) nextRound() { clear(s.pieces) }

// note adds something that is no frame.
func (s *sightings) note(mark uint16, place string, what []byte) {
	at := spot{mark, place}
	s.by[at] = append(s.by[at], what)
}

// add adds a frame.
func (s *sightings) add(place string, frame []byte) {
	if mark, comparable, ok := s.comparable(frame); ok {
		s.note(mark, place, comparable)
	}
}

// The parcels' marks: a word and their number, early in what they carry. The
// identification of their IPv4 headers is their number, too.
const (
	markWord = "\xfa\x9c\x5a\x77"
	markSize = len(markWord) + 2
	// quotedTTL is in the headers that ICMP errors among the parcels quote, and
	// replyIdent in the parcels that are echo replies: no kernel makes such.
	quotedTTL  = 238
	replyIdent = 0x7777
)

func markOf(b []byte) (uint16, bool) {
	at := bytes.Index(b, []byte(markWord))
	if at < 0 || at+markSize > len(b) {
		return 0, false
	}
	return binary.BigEndian.Uint16(b[at+len(markWord):]), true
}

// countAnswer counts answers to the echoes that say that all has been through.
func (s *sightings) countAnswer(side int, frame []byte) {
	if h, ok := ipv4At(frame, 14); ok && isSentinel(h) && h.body()[0] == wire.ICMPEchoReply {
		s.answers[side]++
	}
}

func isSentinel(h header) bool {
	return h.protocol() == wire.ProtoICMP && h.offset() == 0 && len(h.body()) >= 8 && (h.body()[0] == 0 || h.body()[0] == 8) &&
		binary.BigEndian.Uint16(h.body()[4:]) == sentinelIdent
}

// header is an IPv4 header, and what follows it, in a frame.
type header []byte

// ipv4At returns the header at some place of a frame, if it is one.
func ipv4At(b []byte, at int) (header, bool) {
	if len(b) < at+20 || b[at]>>4 != 4 || b[at]&0xf < 5 || len(b) < at+4*int(b[at]&0xf) {
		return nil, false
	}
	return header(b[at:]), true
}

func (h header) size() int      { return 4 * int(h[0]&0xf) }
func (h header) body() []byte   { return h[h.size():] }
func (h header) protocol() byte { return h[9] }
func (h header) id() uint16     { return binary.BigEndian.Uint16(h[4:]) }
func (h header) offset() int    { return int(binary.BigEndian.Uint16(h[6:])&0x1fff) * 8 }
func (h header) whole() bool    { return binary.BigEndian.Uint16(h[6:])&0x3fff == 0 }
func (h header) piece() piece {
	return piece{[8]byte(h[12:20]), h.id(), h.protocol()}
}

// setID changes the identification, and makes of the checksum what is wrong with it.
func (h header) setID(id uint16) {
	wrong := wire.Checksum(h[:h.size()])
	binary.BigEndian.PutUint16(h[4:], id)
	binary.BigEndian.PutUint16(h[10:], wrong)
}

// comparable returns the parcel that a frame came of and the frame without what is not
// compared; false if nothing is.
func (s *sightings) comparable(frame []byte) (uint16, []byte, bool) {
	b := slices.Clone(frame)
	if len(b) < 14 {
		return 0, b, true
	}
	switch h, ok := ipv4At(b, 14); {
	case binary.BigEndian.Uint16(b[12:]) != wire.TypeIPv4:
		return s.notIPv4(b)
	case !ok:
		mark, marked := markOf(b)
		if !marked && len(b) >= 20 {
			mark = binary.BigEndian.Uint16(b[18:])
		}
		return mark, b, true
	case s.isTunnelled(h):
		return s.tunnelled(b, h)
	case isSentinel(h):
		return 0, nil, false
	default:
		return s.plain(h), b, true
	}
}

func (s *sightings) notIPv4(b []byte) (uint16, []byte, bool) {
	mark, marked := markOf(b)
	return mark, b, marked || binary.BigEndian.Uint16(b[12:]) != wire.TypeARP
}

// isTunnelled says whether a packet is from host to host in the fan's tunnel.
func (s *sightings) isTunnelled(h header) bool {
	between := h[12] == 10 && h[16] == 10
	if s.kind == "ipip" {
		return between && h.protocol() == wire.ProtoIPIP
	}
	return between && h.protocol() == wire.ProtoUDP &&
		(h.offset() > 0 || len(h.body()) >= 16 && binary.BigEndian.Uint16(h.body()[2:]) == wire.DefaultVXLANPort)
}

// tunnelled makes a packet of the tunnel comparable.
func (s *sightings) tunnelled(b []byte, h header) (mark uint16, comparable []byte, ok bool) {
	if h.offset() > 0 {
		mark = s.pieces[h.piece()].mark
		h.setID(0)
		return mark, b, true
	}
	outer := h.piece()
	if s.kind == "ipip" {
		inner, ok := ipv4At(h.body(), 0)
		if !ok {
			return 0, b, true
		}
		same := h.id() == inner.id()
		if isSentinel(inner) {
			return 0, nil, false
		}
		mark = s.plain(inner)
		if same {
			h.setID(0)
		}
	} else {
		binary.BigEndian.PutUint16(h.body(), 0)
		var inside []byte
		mark, inside, ok = s.comparable(h.body()[16:])
		if !ok {
			return 0, nil, false
		}
		copy(h.body()[16:], inside)
		h.setID(0)
	}
	s.pieces[outer] = origin{mark: mark}
	return mark, b, true
}

// plain finds out what an IPv4 packet came of, and takes the identification away that a
// kernel has given it.
func (s *sightings) plain(h header) uint16 {
	piece := h.piece()
	from, known := s.pieces[piece]
	if h.offset() == 0 || !known {
		from = s.origin(h)
	}
	if !h.whole() && h.offset() == 0 {
		s.pieces[piece] = from
	}
	if from.kernel {
		h.setID(0)
	}
	return from.mark
}

func (s *sightings) origin(h header) origin {
	from := origin{mark: h.id()}
	body := h.body()
	switch {
	case h.offset() > 0 || len(body) < 8:
	case h.protocol() == wire.ProtoICMP && (body[0] == wire.ICMPEcho || body[0] == wire.ICMPEchoReply):
		from.mark = binary.BigEndian.Uint16(body[6:])
		from.kernel = body[0] == wire.ICMPEchoReply && binary.BigEndian.Uint16(body[4:]) != replyIdent
	case h.protocol() == wire.ProtoICMP && isICMPError(body[0]):
		if quoted, ok := ipv4At(body, 8); ok && quoted[8] != quotedTTL {
			about := s.origin(quoted)
			if about.kernel {
				binary.BigEndian.PutUint16(body[2:], wire.Checksum(body))
				quoted.setID(0)
			}
			from = origin{about.mark, true}
		}
	case h.protocol() == wire.ProtoTCP && from.mark == 0:
		// A reset has the number that the parcel's answer should have had, or one more.
		number := binary.BigEndian.Uint32(body)
		if len(body) >= 12 {
			number = binary.BigEndian.Uint32(body[4:])
			if number == 0 {
				number = binary.BigEndian.Uint32(body[8:])
			}
		}
		from = origin{uint16(number >> 16), true}
	}
	if mark, ok := markOf(h); ok {
		from.mark = mark
	}
	return from
}

// isICMPError says whether messages of a type quote a packet (RFC 792).
func isICMPError(kind byte) bool {
	return kind == wire.ICMPUnreachable || kind == wire.ICMPTimeExceeded || kind == 12
}
