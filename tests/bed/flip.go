package bed

import (
	"encoding/binary"
	"errors"
	"net"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/fanctl/fanctl/tests/bed/wire"
)

// Where headers begin in a frame, and fields that tell tunnelled packets.
const (
	AtIPv4  = 14
	AtUDP   = AtIPv4 + 20
	AtVXLAN = AtUDP + 8

	atEtherType = 12
	atProtocol  = AtIPv4 + 9
	atChecksum  = AtIPv4 + 10
	atPort      = AtUDP + 2
)

// Flip changes one byte of all tunnelled packets that the host sends: the bits of mask
// in the byte at that place of the frame are inverted at the switch's port. The IPv4
// header's checksum is put right, unless it is what is changed. kind is the type of the
// tunnel. The function that is returned ends it.
func (b *Bed) Flip(t testing.TB, h *Host, kind string, at int, mask byte) (undo func()) {
	t.Helper()
	program, err := ebpf.NewProgram(&ebpf.ProgramSpec{Type: ebpf.SchedCLS, License: "GPL", Instructions: flipper(kind, at, mask)})
	if err != nil {
		t.Fatalf("load program: %v", err)
	}
	defer program.Close()
	// The switch is none that looks into what it passes on.
	b.switches.Sysctl(t, "bridge/bridge-nf-call-iptables", "0")
	var filter *netlink.BpfFilter
	err = b.switches.Do(func() error {
		port, err := net.InterfaceByName(h.Port)
		if err != nil {
			return err
		}
		filter = &netlink.BpfFilter{
			FilterAttrs: netlink.FilterAttrs{LinkIndex: port.Index, Parent: netlink.HANDLE_MIN_INGRESS, Handle: 1, Priority: 1, Protocol: unix.ETH_P_ALL},
			Fd:          program.FD(), Name: "flip", DirectAction: true}
		place := netlink.QdiscAttrs{LinkIndex: port.Index, Handle: netlink.MakeHandle(0xffff, 0), Parent: netlink.HANDLE_CLSACT}
		if err := netlink.QdiscAdd(&netlink.Clsact{QdiscAttrs: place}); err != nil && !errors.Is(err, unix.EEXIST) {
			return err
		}
		return netlink.FilterReplace(filter)
	})
	if err != nil {
		t.Fatalf("change what %s sends: %v", h, err)
	}
	return func() {
		t.Helper()
		if err := b.switches.Do(func() error { return netlink.FilterDel(filter) }); err != nil {
			t.Fatalf("let what %s sends be as it is: %v", h, err)
		}
	}
}

// flipper is the program of Flip.
func flipper(kind string, at int, mask byte) asm.Instructions {
	const word = -8 // on the stack
	bytes := [2]byte{}
	bytes[at%2] = mask
	program := asm.Instructions{
		asm.Mov.Reg(asm.R6, asm.R1),
		asm.LoadAbs(atEtherType, asm.Half), asm.JNE.Imm(asm.R0, wire.TypeIPv4, "out"),
		asm.LoadAbs(atProtocol, asm.Byte),
	}
	if kind == "vxlan" {
		program = append(program, asm.JNE.Imm(asm.R0, wire.ProtoUDP, "out"),
			asm.LoadAbs(atPort, asm.Half), asm.JNE.Imm(asm.R0, wire.DefaultVXLANPort, "out"))
	} else {
		program = append(program, asm.JNE.Imm(asm.R0, wire.ProtoIPIP, "out"))
	}
	program = append(program,
		asm.Mov.Reg(asm.R1, asm.R6), asm.Mov.Imm(asm.R2, int32(at&^1)),
		asm.Mov.Reg(asm.R3, asm.RFP), asm.Add.Imm(asm.R3, word), asm.Mov.Imm(asm.R4, 2),
		asm.FnSkbLoadBytes.Call(), asm.JNE.Imm(asm.R0, 0, "out"),
		asm.LoadMem(asm.R7, asm.RFP, word, asm.Half),
		asm.Mov.Reg(asm.R8, asm.R7), asm.Xor.Imm(asm.R8, int32(binary.NativeEndian.Uint16(bytes[:]))),
		asm.StoreMem(asm.RFP, word, asm.R8, asm.Half),
		asm.Mov.Reg(asm.R1, asm.R6), asm.Mov.Imm(asm.R2, int32(at&^1)),
		asm.Mov.Reg(asm.R3, asm.RFP), asm.Add.Imm(asm.R3, word), asm.Mov.Imm(asm.R4, 2), asm.Mov.Imm(asm.R5, 0),
		asm.FnSkbStoreBytes.Call())
	if at >= AtIPv4 && at < AtUDP && at&^1 != atChecksum {
		program = append(program,
			asm.Mov.Reg(asm.R1, asm.R6), asm.Mov.Imm(asm.R2, atChecksum),
			asm.Mov.Reg(asm.R3, asm.R7), asm.Mov.Reg(asm.R4, asm.R8), asm.Mov.Imm(asm.R5, 2),
			asm.FnL3CsumReplace.Call())
	}
	const unspecified = -1 // as if there was no program
	return append(program, asm.Mov.Imm(asm.R0, unspecified).WithSymbol("out"), asm.Return())
}

// Field is a part of the headers that a fan puts before a packet: where it begins in
// the frame, and its bytes.
type Field struct {
	Name     string
	At, Size int
}

// Fixed are the fields whose values the RFCs leave no choice about (RFC 2003, section
// 3.1; RFC 7348, section 5). The identification is free where packets are not to be
// fragmented (RFC 6864), and the UDP source port is the sender's choice.
func Fixed(kind string) []Field {
	fields := []Field{
		{"version and header length", AtIPv4, 1}, {"type of service", AtIPv4 + 1, 1}, {"total length", AtIPv4 + 2, 2},
		{"flags and fragment offset", AtIPv4 + 6, 2}, {"time to live", AtIPv4 + 8, 1}, {"protocol", atProtocol, 1},
		{"header checksum", atChecksum, 2}, {"source", AtIPv4 + 12, 4}, {"destination", AtIPv4 + 16, 4},
	}
	if kind != "vxlan" {
		return fields
	}
	return append(fields, Field{"UDP port", atPort, 2}, Field{"UDP length", AtUDP + 4, 2}, Field{"UDP checksum", AtUDP + 6, 2},
		Field{"VXLAN flags", AtVXLAN, 1}, Field{"VXLAN reserved", AtVXLAN + 1, 3},
		Field{"VXLAN network identifier", AtVXLAN + 4, 3}, Field{"VXLAN reserved, last", AtVXLAN + 7, 1})
}
