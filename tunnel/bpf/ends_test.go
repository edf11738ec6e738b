package bpf_test

import (
	"slices"

	"golang.org/x/sys/unix"
)

// ends is what the programs leave in tc_index of a packet, as numbers of the processor's
// byte order: with what they can see of ports, and without (ends.h: ends_between,
// ends_with).
func (s *stage) ends(packet []byte) [2]uint16 {
	if len(packet) < 20 {
		return [2]uint16{}
	}
	source, target := s.order.Uint32(packet[12:]), s.order.Uint32(packet[16:])
	if slices.Contains(s.maps, "remotes") { // vxlan
		sum := source&0xffff + source>>16 + target&0xffff + target>>16
		sum = sum&0xffff + sum>>16
		sum = sum&0xffff + sum>>16
		return [2]uint16{uint16(sum), uint16(sum)}
	}
	const mix = 0x9e3779b1
	hash := func(ports uint32) uint16 { return uint16(((source*mix+target)*mix + ports) * mix >> 16) }
	ports := uint32(0)
	plain := packet[0] == 0x45 && packet[6]&0x3f == 0 && packet[7] == 0
	if plain && (packet[9] == unix.IPPROTO_TCP || packet[9] == unix.IPPROTO_UDP) && len(packet) >= 24 {
		ports = s.order.Uint32(packet[20:])
	}
	return [2]uint16{hash(ports), hash(0)}
}

// endsMean says what a packet's tc_index means after a program.
func (s *stage) endsMean(h *host, before uint32) string {
	is := h.written[1]
	of := s.ends(h.frame[min(h.link, len(h.frame)):])
	switch {
	case is == before:
		return "ends as before"
	case is == uint32(of[0]):
		return "ends of the packet"
	case is == uint32(of[1]):
		return "ends of its addresses"
	}
	return "other ends"
}
