package bpf_test

import (
	"encoding/binary"
	"math/rand/v2"
	"net/netip"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/fanctl/fanctl/fan"
	"github.com/fanctl/fanctl/tunnel/bpf"
)

// What the scenes of a fast fan have in common, so that flows meet again.
const (
	servicePort = 7777
	onePort     = 31 // bridge ports
	otherPort   = 32
)

// station is the hardware address of a container of this host, or of others.
func station(other byte, n int) []byte { return []byte{2, 0, 0, other, 0, byte(n)} }

// talk is a packet between a container of this host and one of another.
type talk struct {
	own, remote netip.Addr
	remotePort  uint16
	protocol    byte
}

func someTalk(r *rand.Rand, f fan.Fan) talk {
	own := f.BridgeAddr().Next()
	if r.IntN(3) == 0 {
		own = own.Next()
	}
	return talk{own, netip.AddrFrom4([4]byte{250, 0, pick[byte](r, 1, 2), 7}), 40000 + uint16(r.IntN(2)), pick[byte](r, 6, 6, 17, 17, 17, 1)}
}

// packet is one of the talk's, now and then with a flaw.
func (k talk) packet(r *rand.Rand, outward bool) []byte {
	source, target := k.own, k.remote
	ports := binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint16(nil, servicePort), k.remotePort)
	if !outward {
		source, target = target, source
		ports = slices.Concat(ports[2:], ports[:2])
	}
	rest := make([]byte, 16)
	rest[3], rest[7], rest[9] = byte(r.IntN(2)), byte(r.IntN(2)), pick[byte](r, 0x02, 0x02, 0x12, 0x12, 0x10, 0x10, 0x11, 0x04)
	if k.protocol == unix.IPPROTO_UDP {
		rest = rest[:4]
	}
	payload := make([]byte, pick(r, 0, 1, 60, 1400, 1430))
	if seldom(r) {
		rest = rest[:r.IntN(len(rest))]
		payload = nil
	}
	p := ipv4(source, target, k.protocol, byte(r.IntN(4)), slices.Concat(ports, rest, payload))
	if r.IntN(3) == 0 {
		p[6] |= 0x40
	}
	p[8] = pick[byte](r, 64, 64, 64, 64, 2, 1, 0)
	p[10], p[11] = 0, 0
	binary.BigEndian.PutUint16(p[10:], checksum(p[:20]))
	if seldom(r) {
		p[r.IntN(20)] ^= 1 << r.IntN(8)
	}
	return p
}

// improviseFast makes of a scene one that is of the fast way of a program, most times.
func improviseFast(r *rand.Rand, f fan.Fan, d bpf.Devices, program string, s scene) scene {
	k := someTalk(r, f)
	peer, _ := f.Mapping.Host(k.remote)
	own, other, bridge := station(0, r.IntN(4)), station(1, r.IntN(3)), []byte{2, 0xfa, 10, 0, 200, 201}
	ethernet := func(to, from, packet []byte) []byte {
		return slices.Concat(to, from, binary.BigEndian.AppendUint16(nil, unix.ETH_P_IP), packet)
	}
	if seldom(r) {
		own = pick(r, bridge, []byte{3, 0, 0, 0, 0, 1}, make([]byte, 6))
	}
	s.device = pick[uint32](r, onePort, onePort, otherPort)
	s.hash, s.mark = r.Uint32(), uint32(r.IntN(2))
	if seldom(r) {
		s.vlan = 1
	}
	in, out := k.packet(r, false), k.packet(r, true)
	s.untouched = r.IntN(4) > 0
	switch program {
	case bpf.IPIPPort:
		s.frame = ethernet(bridge, own, out)
		if seldom(r) {
			s.frame = ethernet(other, own, out)
		}
	case bpf.VXLANPort:
		s.frame = ethernet(other, own, out)
	case bpf.IPIPSend, bpf.VXLANSend:
		s.frame = ethernet(other, own, out)
	case bpf.IPIPReceive:
		s.frame = ethernet(bridge, other, ipv4(peer, f.Host, 4, byte(r.IntN(4)), in))[14-d.LinkHeader:]
		s.route.device = pick[uint32](r, 11, 11, 11, 13)
		s.cardsOwner = pick[uint32](r, 0, 0, 0, 0, 1, 3)
	case bpf.VXLANReceive:
		s.frame = ethernet(own, pick(r, other, own), in)
		s.key = &tunnelKey{id: 0xfa0000, remote: number(peer), local: number(f.Host), ttl: 64}
	case bpf.VXLANDirect:
		s.frame = ethernet(bridge, other, outerOf(r, f, peer, ethernet(own, other, in)))
		s.cardsOwner = pick[uint32](r, 0, 0, 0, 0, 1, 3)
	case bpf.IPIPDeliver, bpf.VXLANDeliver:
		s.frame = ethernet(own, bridge, in)
	default:
		return s
	}
	s.protocol, s.link = unix.ETH_P_IP, 14
	if program == bpf.IPIPReceive {
		s.link = int(d.LinkHeader)
	}
	s.network = s.link
	if s.gsoSize > 0 && r.IntN(2) == 0 {
		s.gsoSize, s.gsoSegs = 0, 0
	}
	s.linear = len(s.frame)
	if seldom(r) {
		s.linear = r.IntN(len(s.frame) + 1)
	}
	return s
}

// outerOf wraps a frame in vxlan's headers, now and then with a flaw.
func outerOf(r *rand.Rand, f fan.Fan, peer netip.Addr, frame []byte) []byte {
	h := binary.BigEndian.AppendUint16(nil, 40000)
	h = binary.BigEndian.AppendUint16(h, f.Port)
	h = binary.BigEndian.AppendUint16(h, uint16(16+len(frame)))
	h = slices.Concat(h, []byte{0, 0, 8, 0, 0, 0, 0xfa, 0, 0, 0})
	if r.IntN(4) == 0 {
		h[r.IntN(len(h))] ^= 1 << r.IntN(8)
	}
	p := ipv4(peer, f.Host, unix.IPPROTO_UDP, pick[byte](r, 0, 0, 0, 2, 3), slices.Concat(h, frame))
	if r.IntN(8) == 0 {
		p[r.IntN(20)] ^= 1 << r.IntN(8)
	}
	return p
}

// known is what the maps of a fast fan have before a story.
func known(r *rand.Rand, f fan.Fan) (all []entry) {
	mac := func(b []byte) []byte { return slices.Concat(b, []byte{0, 0}) }
	for n := range 3 {
		if r.IntN(4) > 0 {
			all = append(all, entry{bpf.PortsMap, plainBytes(mac(station(0, n))), numbersOf(nil, pick[uint32](r, onePort, onePort, otherPort, gone))})
		}
		all = append(all, entry{"remotes", plainBytes(mac(station(1, n))), numbersOf(nil, 0x0a000000|pick[uint32](r, 1, 1, 2))})
	}
	for range 6 {
		k := someTalk(r, f)
		key := slices.Concat(k.own.AsSlice(), k.remote.AsSlice(), binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint16(nil, servicePort), k.remotePort))
		all = append(all, entry{"flows", numbersOf(key, uint32(k.protocol)), numbersOf(nil, pick[uint32](r, 1, 2, 2, 2), uint32(r.IntN(3)), uint32(r.IntN(2)))})
	}
	return all
}
