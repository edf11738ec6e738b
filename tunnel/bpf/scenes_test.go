package bpf_test

import (
	"encoding/binary"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/fanctl/fanctl/fan"
	"github.com/fanctl/fanctl/tunnel/bpf"
)

// story is scenes one after the other on one host: maps stay between them.
type story struct {
	config bpf.Config
	known  []entry
	scenes []scene
}

const (
	storiesEach   = 400
	scenesOfStory = 6
)

// stories are the same in each run and on each processor.
func stories(t *testing.T, program string) []story {
	t.Helper()
	r := rand.New(rand.NewPCG(uint64(len(program)), 0xfa))
	all := make([]story, storiesEach)
	for i := range all {
		f := testFan(t, "10.0.200.201", fan.IPIP)
		f.MTU = fan.MTU(pick(r, 1480, 1450, 8980))
		d := bpf.Devices{Bridge: 11, Tunnel: 12, Underlay: 13, Inlet: 14, TunnelMAC: [6]byte{2, 0xfa, 10, 0, 200, 201},
			LinkHeader: pick[uint8](r, 14, 14, 0), PlainSums: pick(r, true, false), Catches: pick(r, true, false), OuterFirst: pick(r, false, true)}
		if d.Fast = i%2 == 1 || onlyFast(program); d.Fast {
			d.InnerEthernet, f.Port = pick(r, true, false), fan.DefaultPort
			all[i].known = known(r, f)
		}
		all[i].config = bpf.NewConfig(f, d)
		for range scenesOfStory {
			s := improvise(r, f, d, program)
			if d.Fast && (r.IntN(2) > 0 || onlyFast(program) && r.IntN(4) > 0) {
				s = improviseFast(r, f, d, program, s)
			}
			all[i].scenes = append(all[i].scenes, s)
		}
	}
	return all
}

// onlyFast says whether a program is attached for fast fans alone.
func onlyFast(program string) bool {
	return slices.Contains([]string{bpf.IPIPPort, bpf.VXLANPort, bpf.VXLANDirect, bpf.VXLANDeliver}, program)
}

// pick takes one of the values.
func pick[T any](r *rand.Rand, values ...T) T { return values[r.IntN(len(values))] }

// seldom is what most scenes are not.
func seldom(r *rand.Rand) bool { return r.IntN(12) == 0 }

// improvise makes a packet of a kind that some program is for, now and then with
// something wrong, and the kernel's answers.
func improvise(r *rand.Rand, f fan.Fan, d bpf.Devices, program string) scene {
	s := scene{link: 14, protocol: unix.ETH_P_IP, ingress: pick[uint32](r, 12, 12, 13, 1), jiffy: 1 + uint64(r.IntN(5)/4),
		old: seldom(r), nested: seldom(r), full: seldom(r)}
	switch program { // which of them see packets without a link layer's header
	case bpf.IPIPWhole:
		s.link = 0
		if d.OuterFirst {
			s.link = int(d.LinkHeader)
		}
	case bpf.IPIPReceive:
		s.link = int(d.LinkHeader)
	}
	if seldom(r) {
		s.cardsOwner = uint32(r.IntN(5))
	}
	if r.IntN(6) == 0 {
		s.gsoSize, s.gsoSegs = 1400+uint32(r.IntN(100)), uint32(r.IntN(40))
	}
	s.route = someRoute(r)
	packet, peer := someTraffic(r, f, !strings.HasSuffix(program, "receive") && program != bpf.IPIPWhole)
	if r.IntN(8) > 0 {
		s.key = &tunnelKey{id: pick(r, uint32(0xfa0000), 0xfa0000, 0xfa0000, 0xfa), remote: number(peer), local: number(f.Host), tos: 0, ttl: 64}
	}
	header := slices.Concat([]byte{2, 0xfa, 10, 0, 200, 201, 2, 0, 0, 0, 0, 7}, binary.BigEndian.AppendUint16(nil, unix.ETH_P_IP))
	if most := map[bool]int{true: 3, false: 16}; r.IntN(most[strings.HasPrefix(program, "vxlan")]) == 0 {
		packet = arp(r, someAddress(r), someAddress(r))
		s.protocol = unix.ETH_P_ARP
	}
	if seldom(r) {
		s.protocol = uint16(r.IntN(1 << 16))
	}
	if seldom(r) {
		header[0] |= 1
	}
	binary.BigEndian.PutUint16(header[12:], s.protocol)
	s.frame = slices.Concat(header[:s.link], packet)
	if program == bpf.IPIPWhole && d.OuterFirst {
		s.frame = slices.Concat(header[:s.link], flawed(r, ipv4(peer, f.Host, 4, 0, packet)))
		s.link += 20
	}
	s.network = s.link
	if seldom(r) {
		s.frame = s.frame[:r.IntN(len(s.frame)+1)]
	}
	s.link = min(s.link, len(s.frame))
	s.linear = len(s.frame)
	if seldom(r) {
		s.linear = r.IntN(len(s.frame) + 1)
	}
	return s
}

func someRoute(r *rand.Rand) route {
	return route{result: pick[uint64](r, 0, 0, 0, 0, 0, unix.BPF_FIB_LKUP_RET_NO_NEIGH, unix.BPF_FIB_LKUP_RET_UNREACHABLE),
		device: pick[uint32](r, 13, 13, 13, 15), mtu: uint16(pick(r, 1500, 1500, 9000, 1400, 100, 60)),
		source: [6]byte{2, 0, 0, 0, 0, 1}, target: [6]byte{2, 0, 0, 0, 0, byte(r.IntN(4))}, overIPv6: seldom(r), notByLo: seldom(r)}
}

// someTraffic is a packet between containers, one in a tunnel, an ICMP error about
// one, or something else, and the host that it has come from.
func someTraffic(r *rand.Rand, f fan.Fan, outward bool) (packet []byte, peer netip.Addr) {
	source, target := someAddress(r), someAddress(r)
	own := f.BridgeAddr().Next()
	payload := make([]byte, pick(r, 0, 8, 20, 30, 60, 1420, 1440, 1460, 1500)+r.IntN(3))
	for i := range payload {
		payload[i] = byte(r.Uint32())
	}
	protocol := pick[byte](r, 1, 6, 17, 4)
	out := flawed(r, ipv4(own, target, protocol, byte(r.Uint32()), payload))
	in := flawed(r, ipv4(source, own, protocol, byte(r.Uint32()), payload))
	peer, _ = f.Mapping.Host(source)
	if !peer.IsValid() || seldom(r) {
		peer = someAddress(r)
	}
	kind := r.IntN(8)
	if outward && r.IntN(4) > 0 {
		kind = 0
	}
	switch kind {
	case 0:
		return out, peer
	case 1, 2:
		return in, peer
	case 3, 4, 5:
		return flawed(r, ipv4(peer, f.Host, pick[byte](r, 4, 4, 4, 1, 17), byte(r.Uint32()), in)), peer
	}
	to, _ := f.Mapping.Host(target)
	if !to.IsValid() {
		to = peer
	}
	about := flawed(r, ipv4(f.Host, to, 4, 0, out))
	icmp := []byte{pick[byte](r, 3, 3, 3, 11), pick[byte](r, 4, 4, 1, 3), byte(r.Uint32()), byte(r.Uint32()), 0, 0, byte(pick(r, 0, 2, 5, 40)), byte(r.Uint32())}
	return flawed(r, ipv4(peer, f.Host, 1, 0, append(icmp, about[:min(len(about), pick(r, 28, 40, 60, 128))]...))), peer
}

// someAddress is one of those that programs have to tell from each other.
func someAddress(r *rand.Rand) netip.Addr {
	switch r.IntN(8) {
	case 0:
		return netip.AddrFrom4([4]byte{192, 0, 2, byte(r.Uint32())})
	case 1:
		return netip.AddrFrom4([4]byte{10, 0, byte(r.Uint32()), byte(r.Uint32())})
	case 2:
		return netip.AddrFrom4([4]byte{250, 200, 201, byte(r.Uint32())})
	case 3:
		return netip.AddrFrom4([4]byte{250, pick[byte](r, 0, 255), pick[byte](r, 0, 255), byte(r.Uint32())})
	}
	return netip.AddrFrom4([4]byte{250, 0, pick[byte](r, 1, 2, 65, byte(r.Uint32())), byte(r.Uint32())})
}

// flawed changes something in a header now and then.
func flawed(r *rand.Rand, packet []byte) []byte {
	if r.IntN(3) == 0 {
		packet[6] |= 0x40 // not to be fragmented
	}
	if seldom(r) {
		packet[r.IntN(20)] = byte(r.Uint32())
	}
	if seldom(r) {
		packet[0] = pick[byte](r, 0x46, 0x44, 0x65, 0x4f)
	}
	if seldom(r) {
		packet[6+r.IntN(2)] |= 1 << r.IntN(8)
	}
	packet[4], packet[5] = byte(r.Uint32()), byte(r.Uint32())
	return packet
}

// arp is a request, or something like it.
func arp(r *rand.Rand, sender, target netip.Addr) []byte {
	b := []byte{0, 1, 8, 0, 6, 4, 0, 1}
	if seldom(r) {
		b[r.IntN(len(b))] ^= 1 << r.IntN(8)
	}
	if seldom(r) {
		sender = netip.IPv4Unspecified()
	}
	return slices.Concat(b, []byte{2, 0, 0, 0, 0, 9}, sender.AsSlice(), make([]byte, 6), target.AsSlice(), make([]byte, r.IntN(20)))
}

func number(a netip.Addr) uint32 { return binary.BigEndian.Uint32(a.AsSlice()) }
