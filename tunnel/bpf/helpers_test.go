package bpf_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/cilium/ebpf/asm"
	"golang.org/x/sys/unix"
)

// scene is a packet, and what the kernel knows about it and answers.
type scene struct {
	frame      []byte
	link       int // bytes of the link layer's header in it
	linear     int // bytes that the program can see; the rest comes when it asks
	protocol   uint16
	cardsOwner uint32 // pkt_type: whose card the frame was for
	ingress    uint32
	gsoSize    uint32
	gsoSegs    uint32
	network    int // where the kernel says that the IP header is
	vlan       uint32
	mark       uint32
	device     uint32 // ifindex
	untouched  bool   // its addresses and ports are those with which it came

	key    *tunnelKey // what a tunnel device has received it by
	old    bool       // a kernel that refuses long keys and does not say a route's MTU
	nested bool       // it is in a tunnel already, and can't be marked as such again
	full   bool       // there is no room to grow
	route  route
	jiffy  uint64
	hash   uint32
}

// gone is the index of a device that has gone.
const gone = 77

// chance stands for a random number. Its lower half is the same in both byte orders.
const chance = 0x12344b4b

// tunnelKey is struct bpf_tunnel_key of linux/bpf.h, as far as fans use it.
type tunnelKey struct {
	id, remote, local uint32
	tos, ttl          uint8
}

// route is what the routing table answers.
type route struct {
	result   uint64 // BPF_FIB_LKUP_RET_…; whether a packet fits comes on top of that
	device   uint32
	mtu      uint16
	source   [6]byte
	target   [6]byte
	overIPv6 bool // its next hop is one of IPv6
	notByLo  bool // the loopback device may not forward
}

// loopback is the loopback device's index.
const loopback = 1

// Offsets in struct __sk_buff.
const (
	ctxLength     = 0
	ctxPacketType = 4
	ctxMark       = 8
	ctxProtocol   = 16
	ctxVLAN       = 20
	ctxIngress    = 36
	ctxDevice     = 40
	ctxEnds       = 44
	ctxData       = 76
	ctxDataEnd    = 80
	ctxSegments   = 164
	ctxGSOSize    = 176
	ctxSize       = 192
)

// host is the kernel around a program: it holds the packet, and writes down all that
// the program asks for. Numbers are written as what they mean, so that two programs
// of different byte orders that do the same have the same to show.
type host struct {
	scene
	said []string
	tell func(i int, key, value []byte) string
	// written is the packet's mark and its tc_index.
	written [2]uint32
}

// show puts the packet, as it is now, into the processor's memory.
func (h *host) show(p *processor) {
	h.linear = min(h.linear, len(h.frame))
	context := make([]byte, ctxSize)
	// A number of 16 bits in network order, in a field of 32 bits.
	protocol := binary.BigEndian.AppendUint16(nil, h.protocol)
	for at, value := range map[int]uint32{
		ctxLength: uint32(len(h.frame)), ctxPacketType: h.cardsOwner, ctxProtocol: uint32(p.order.Uint16(protocol)),
		ctxIngress: h.ingress, ctxData: packetAt, ctxDataEnd: packetAt + uint32(h.linear),
		ctxSegments: h.gsoSegs, ctxGSOSize: h.gsoSize, ctxMark: h.written[0], ctxEnds: h.written[1], ctxVLAN: h.vlan, ctxDevice: h.device,
	} {
		p.order.PutUint32(context[at:], value)
	}
	p.areas[1].data = context
	p.areas[2].data = h.frame[:h.linear]
}

// readBack takes over what the program has written into the packet's description.
func (h *host) readBack(p *processor) {
	context := p.areas[1].data
	h.written = [2]uint32{p.order.Uint32(context[ctxMark:]), p.order.Uint32(context[ctxEnds:])}
}

func (h *host) say(format string, words ...any) {
	h.said = append(h.said, fmt.Sprintf(format, words...))
}

// aboutPacket says whether a helper gets the packet as its first argument.
func aboutPacket(helper asm.BuiltinFunc) bool {
	return !slices.Contains([]asm.BuiltinFunc{asm.FnMapLookupElem, asm.FnJiffies64, asm.FnRedirect, asm.FnRedirectNeigh, asm.FnCsumDiff,
		asm.FnRedirectPeer, asm.FnMapUpdateElem, asm.FnMapDeleteElem, asm.FnGetPrandomU32}, helper)
}

// failed is what a helper returns.
func failed(errno unix.Errno) uint64 { return uint64(-int64(errno)) }

// call does what a helper does, as far as programs can tell.
func (h *host) call(p *processor, helper asm.BuiltinFunc) (uint64, error) {
	a := p.r[1:6]
	if aboutPacket(helper) && a[0] != contextAt {
		return 0, errors.New("the first argument is not the packet")
	}
	switch helper {
	case asm.FnMapLookupElem:
		return h.lookUp(p)
	case asm.FnJiffies64:
		return h.jiffy, nil
	case asm.FnRedirect:
		h.say("redirect to %d flags %#x", uint32(a[0]), a[1])
		return redirect, nil
	case asm.FnRedirectPeer:
		h.say("redirect to the other end of %d flags %#x", uint32(a[0]), a[1])
		return redirect, nil
	case asm.FnMapUpdateElem:
		return h.updateTable(p)
	case asm.FnMapDeleteElem:
		return h.deleteFromTable(p)
	case asm.FnGetPrandomU32:
		return chance, nil
	case asm.FnGetHashRecalc:
		return uint64(h.hash), nil
	case asm.FnRedirectNeigh:
		return h.redirectNeighbour(p)
	case asm.FnFibLookup:
		return h.findRoute(p)
	case asm.FnSkbGetTunnelKey:
		return h.getKey(p)
	case asm.FnSkbSetTunnelKey:
		return h.setKey(p)
	case asm.FnCsumDiff:
		return h.sum(p)
	case asm.FnSkbStoreBytes, asm.FnSkbLoadBytes, asm.FnSkbLoadBytesRelative:
		return h.copyBytes(p, helper)
	case asm.FnSkbAdjustRoom, asm.FnSkbChangeHead, asm.FnSkbChangeTail, asm.FnSkbPullData:
		result := h.resize(helper, a)
		h.readBack(p)
		h.show(p)
		return result, nil
	}
	return 0, fmt.Errorf("unknown helper %v", helper)
}

// structAt returns a struct that a helper gets with its size, which has to be at least so much.
func (p *processor) structAt(at, size uint64, least int) ([]byte, error) {
	if int(uint32(size)) < least {
		return nil, fmt.Errorf("a struct of %d bytes, want at least %d", uint32(size), least)
	}
	return p.part(at, int(uint32(size)))
}

func (h *host) lookUp(p *processor) (uint64, error) {
	i := p.r[1] - handlesAt
	if i >= uint64(len(p.maps)) {
		return 0, errors.New("no map")
	}
	if p.tables[i] != nil {
		i, key, err := p.tableOf()
		if err != nil {
			return 0, err
		}
		h.say("look up %s", h.tell(i, key, nil))
		return p.find(i, key), nil
	}
	key, err := p.load(p.r[2], 4)
	h.say("look up %s %d", p.maps[i], key)
	size := uint64(p.valueSize[i])
	if _, missing := p.part(mapsAt+i*mapApart+key*size, int(size)); missing != nil {
		return 0, err
	}
	return mapsAt + i*mapApart + key*size, err
}

// redirectNeighbour reads struct bpf_redir_neigh.
func (h *host) redirectNeighbour(p *processor) (uint64, error) {
	if p.r[2] == 0 {
		h.say("to the neighbour by device %d flags %#x", uint32(p.r[1]), p.r[4])
		return redirect, nil
	}
	hop, err := p.structAt(p.r[2], p.r[3], 20)
	if err != nil {
		return 0, err
	}
	h.say("to the neighbour %v by device %d flags %#x: family %d", hop[4:], uint32(p.r[1]), p.r[4], p.order.Uint32(hop))
	return redirect, nil
}

// findRoute reads and writes struct bpf_fib_lookup.
func (h *host) findRoute(p *processor) (uint64, error) {
	b, err := p.structAt(p.r[2], p.r[3], 64)
	if err != nil {
		return 0, err
	}
	length, device := p.order.Uint16(b[6:]), p.order.Uint32(b[8:])
	h.say("find route flags %#x: family %d protocol %d ports %x length %d device %d tos %d from %v to %v rest %x",
		uint32(p.r[4]), b[0], b[1], b[2:6], length, device, b[12], b[16:20], b[32:36], b[48:])
	switch {
	case device == gone:
		return failed(unix.ENODEV), nil
	case h.route.notByLo && device == loopback:
		return unix.BPF_FIB_LKUP_RET_FWD_DISABLED, nil
	case h.route.result != 0 && h.route.result != unix.BPF_FIB_LKUP_RET_NO_NEIGH:
		return h.route.result, nil
	case length > h.route.mtu:
		if !h.old {
			p.order.PutUint16(b[6:], h.route.mtu)
		}
		return unix.BPF_FIB_LKUP_RET_FRAG_NEEDED, nil
	}
	p.order.PutUint32(b[8:], h.route.device)
	if h.route.result == 0 {
		copy(b[52:], h.route.source[:])
		copy(b[58:], h.route.target[:])
		if h.route.overIPv6 {
			b[0] = unix.AF_INET6
			copy(b[32:48], "an IPv6 address.")
		}
	}
	return h.route.result, nil
}

func (h *host) getKey(p *processor) (uint64, error) {
	b, err := p.structAt(p.r[2], p.r[3], 28)
	if err != nil {
		return 0, err
	}
	h.say("get key of %d bytes flags %#x", len(b), p.r[4])
	if h.key == nil {
		clear(b)
		return failed(unix.EINVAL), nil
	}
	p.order.PutUint32(b, h.key.id)
	p.order.PutUint32(b[4:], h.key.remote)
	b[20], b[21] = h.key.tos, h.key.ttl
	return 0, nil
}

func (h *host) setKey(p *processor) (uint64, error) {
	b, err := p.structAt(p.r[2], p.r[3], 28)
	if err != nil {
		return 0, err
	}
	k := tunnelKey{id: p.order.Uint32(b), remote: p.order.Uint32(b[4:]), tos: b[20], ttl: b[21]}
	if len(b) >= 32 {
		k.local = p.order.Uint32(b[28:])
	}
	h.say("set key of %d bytes flags %#x: %+v rest %x %x", len(b), p.r[4], k, b[8:20], b[22:28])
	if h.old && len(b) > 28 {
		return failed(unix.EINVAL), nil
	}
	return 0, nil
}

// sum is in the processor's byte order, as checksums may be in either.
func (h *host) sum(p *processor) (uint64, error) {
	from, err := p.part(p.r[1], int(uint32(p.r[2])))
	if uint32(p.r[2]) == 0 {
		from, err = nil, nil
	}
	to, toErr := p.part(p.r[3], int(uint32(p.r[4])))
	if err = errors.Join(err, toErr); err != nil {
		return 0, err
	}
	h.say("sum up %x instead of %x", to, from)
	total := uint64(uint32(p.r[5]))
	for i := 0; i+1 < len(to); i += 2 {
		total += uint64(p.order.Uint16(to[i:]))
	}
	for i := 0; i+1 < len(from); i += 2 {
		total += uint64(^p.order.Uint16(from[i:]))
	}
	return total, nil
}

func (h *host) copyBytes(p *processor, helper asm.BuiltinFunc) (uint64, error) {
	at, size := int(uint32(p.r[2])), int(uint32(p.r[4]))
	b, err := p.part(p.r[3], size)
	if err != nil {
		return 0, err
	}
	switch helper {
	case asm.FnSkbLoadBytesRelative:
		h.say("load %d bytes at %d from header %d on", size, at, uint32(p.r[5]))
		at += h.network
	case asm.FnSkbLoadBytes:
		h.say("load %d bytes at %d", size, at)
	default:
		h.say("store %x at %d flags %#x", b, at, p.r[5])
	}
	if at+size > len(h.frame) {
		return failed(unix.EFAULT), nil
	}
	if helper != asm.FnSkbStoreBytes {
		copy(b, h.frame[at:])
		return 0, nil
	}
	h.linear = max(h.linear, at+size)
	copy(h.frame[at:], b)
	h.readBack(p)
	h.show(p)
	return 0, nil
}

// resize is the helpers that make a packet, or what can be seen of it, longer or shorter.
func (h *host) resize(helper asm.BuiltinFunc, a []uint64) uint64 {
	size := int(int32(a[1]))
	switch helper {
	case asm.FnSkbPullData:
		h.say("%v %d", helper, size)
	case asm.FnSkbAdjustRoom:
		h.say("%v %d mode %d flags %#x", helper, size, uint32(a[2]), a[3])
	default:
		h.say("%v %d flags %#x", helper, size, a[2])
	}
	if size > 1<<16 || size < 0 && (helper != asm.FnSkbAdjustRoom || h.link-size > len(h.frame)) {
		return failed(unix.EINVAL)
	}
	if h.full && size > 0 && helper != asm.FnSkbPullData {
		return failed(unix.ENOMEM)
	}
	switch helper {
	case asm.FnSkbPullData:
		if size > len(h.frame) {
			return failed(unix.ENOMEM)
		}
		h.linear = max(h.linear, size)
	case asm.FnSkbChangeHead:
		h.frame = slices.Concat(make([]byte, size), h.frame)
		h.linear += size
		h.link += size
	case asm.FnSkbChangeTail:
		h.frame = append(h.frame[:min(size, len(h.frame))], make([]byte, max(0, size-len(h.frame)))...)
		h.linear, h.gsoSize, h.gsoSegs = len(h.frame), 0, 0
	case asm.FnSkbAdjustRoom:
		if h.nested && a[3]&unix.BPF_F_ADJ_ROOM_ENCAP_L3_IPV4 != 0 {
			return failed(unix.EALREADY)
		}
		h.frame = slices.Concat(h.frame[:h.link], make([]byte, max(0, size)), h.frame[h.link+max(0, -size):])
		h.linear = max(h.link, h.linear+size)
	}
	return 0
}

// address is a number's in the text of a failure.
func address(n uint32) netip.Addr {
	return netip.AddrFrom4([4]byte(binary.BigEndian.AppendUint32(nil, n)))
}

func (k tunnelKey) String() string {
	return fmt.Sprintf("id %#x from %s to %s tos %#x ttl %d", k.id, address(k.local), address(k.remote), k.tos, k.ttl)
}

func (h *host) String() string { return strings.Join(h.said, "\n") }
