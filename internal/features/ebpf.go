package features

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strings"
	"unicode"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/features"
	"golang.org/x/sys/unix"

	"github.com/fanctl/fanctl/internal/sysctl"
	"github.com/fanctl/fanctl/tunnel/bpf"
)

const ebpfGroup = "ebpf"

func ebpfProbes() []probe {
	list := []probe{{ebpfGroup, "sched-cls", "the type of a fan's programs", "there are no fans",
		func(lab) answer { return supported(features.HaveProgramType(ebpf.SchedCLS)) }}}
	for _, h := range bpf.Helpers() {
		list = append(list, probe{ebpfGroup, helperName(h.Function), "programs of " + strings.Join(h.Objects, ", ") + " call it",
			"programs of " + strings.Join(h.Objects, ", ") + " don't load",
			func(lab) answer { return supported(features.HaveProgramHelper(ebpf.SchedCLS, h.Function)) }})
	}
	return append(list,
		probe{ebpfGroup, FixedGSO, "super-packets of QUIC and TCP stay whole in the tunnel", "there are no fans of type ipip", tryFixedGSO},
		probe{ebpfGroup, "outer-source", "what devices wrap goes out with the fan's host address", "what devices wrap goes out with the address of the route to the peer", tryOuterSource},
		probe{ebpfGroup, "clear-gso", "programs could clear what marks a super-packet as in a tunnel; fans do without",
			"by eBPF alone TCP goes past the bridge device, which would cut its super-packets up", tryClearGSO},
		probe{ebpfGroup, "cgroup-memory", "programs and maps count as memory of the cgroup", "programs and maps count as locked memory, whose limit is lifted while they are loaded", tryCgroupMemory},
		probe{ebpfGroup, "jit", "programs run as machine code", "programs are interpreted, which is slow", lab.tryJIT},
		probe{ebpfGroup, "btf", "tools can show what programs and maps have in them; fans do not need it", "tools can't show what programs and maps have in them; fans do not need it", tryBTF},
	)
}

// supported reads what the library's probes answer: only two answers are conclusive.
func supported(err error) answer {
	if errors.Is(err, ebpf.ErrNotSupported) {
		return no("the kernel does not know it")
	}
	return yesOrNo(err)
}

// helperName is what bpf-helpers(7) calls a function: bpf_fib_lookup.
func helperName(f asm.BuiltinFunc) string {
	var name strings.Builder
	name.WriteString("bpf")
	for _, letter := range strings.TrimPrefix(f.String(), "Fn") {
		if unicode.IsUpper(letter) {
			name.WriteByte('_')
		}
		name.WriteRune(unicode.ToLower(letter))
	}
	return name.String()
}

// tried runs a program once on a packet and returns what it returns, which is what
// the function returned that it calls.
func tried(code ...asm.Instruction) (int32, error) {
	program, err := newFilter(append(code, asm.Return())...)
	if err != nil {
		return 0, err
	}
	defer program.Close()
	result, err := program.Run(&ebpf.RunOptions{Data: testFrame()})
	return int32(result), err
}

// testFrame is an Ethernet header and an IPv4 packet of 50 bytes.
func testFrame() []byte {
	frame := make([]byte, 64)
	frame[12], frame[14], frame[17], frame[22], frame[23] = 8, 0x45, 50, 64, 17
	return frame
}

// verdict reads what a function has returned that refuses what it does not know.
func verdict(result int32, err error) answer {
	switch {
	case err != nil:
		return unknown(err)
	case result == -int32(unix.EINVAL):
		return no("the kernel refuses it")
	case result != 0:
		return unknown(fmt.Errorf("a test packet: %w", unix.Errno(-result)))
	}
	return yes("")
}

// Of bpf_skb_adjust_room (include/uapi/linux/bpf.h).
const (
	roomMAC     = 1 // BPF_ADJ_ROOM_MAC
	fixedGSO    = 1 // BPF_F_ADJ_ROOM_FIXED_GSO
	encapL3IPv4 = 2 // BPF_F_ADJ_ROOM_ENCAP_L3_IPV4
)

func tryFixedGSO(lab) answer {
	return verdict(tried(
		asm.Mov.Imm(asm.R2, 20), asm.Mov.Imm(asm.R3, roomMAC), asm.Mov.Imm(asm.R4, fixedGSO|encapL3IPv4),
		asm.FnSkbAdjustRoom.Call()))
}

// keyLength is that of struct bpf_tunnel_key with a source address, and keyRoom what
// it takes on the stack.
const (
	keyLength = 44
	keyRoom   = 48
)

// Linux 6.0 has lengthened the key, and a kernel refuses a length that it does not
// know.
func tryOuterSource(lab) answer {
	code := []asm.Instruction{asm.Mov.Imm(asm.R6, 0)}
	for at := int16(8); at <= keyRoom; at += 8 {
		code = append(code, asm.StoreMem(asm.RFP, -at, asm.R6, asm.DWord))
	}
	return verdict(tried(append(code,
		asm.Mov.Reg(asm.R2, asm.RFP), asm.Add.Imm(asm.R2, -keyRoom), asm.Mov.Imm(asm.R3, keyLength), asm.Mov.Imm(asm.R4, 0),
		asm.FnSkbSetTunnelKey.Call())...))
}

// kernelBTF is what the kernel says of its own types, world-readable.
const kernelBTF = "/sys/kernel/btf/vmlinux"

// No packet shows the marks. But the kernel's own types name the flags that it knows;
// one that every kernel of fans has tells that they are named at all.
func tryClearGSO(lab) answer {
	const known, wanted = "\x00BPF_F_ADJ_ROOM_FIXED_GSO\x00", "\x00BPF_F_ADJ_ROOM_DECAP_IPXIP4\x00"
	types, err := os.ReadFile(kernelBTF)
	switch {
	case err != nil:
		return unknown(fmt.Errorf("only the kernel's types (BTF) would tell: %w", err))
	case bytes.Contains(types, []byte(wanted)):
		return yes("")
	case bytes.Contains(types, []byte(known)):
		return no("BPF_F_ADJ_ROOM_DECAP_IPXIP4 is not among the kernel's flags")
	}
	return unknown(errors.New("the kernel's types (BTF) do not name its flags"))
}

func tryBTF(lab) answer {
	_, err := os.Stat(kernelBTF)
	return yesOrNo(err, unix.ENOENT)
}

// A kernel that counts maps as locked memory makes none where nothing may be locked.
func tryCgroupMemory(lab) answer {
	tryMap := func() error {
		m, err := ebpf.NewMap(&ebpf.MapSpec{Type: ebpf.Array, KeySize: 4, ValueSize: 4, MaxEntries: 1})
		if err == nil {
			m.Close()
		}
		return err
	}
	if err := tryMap(); err != nil {
		return unknown(err)
	}
	var limit unix.Rlimit
	if err := unix.Prlimit(0, unix.RLIMIT_MEMLOCK, nil, &limit); err != nil {
		return unknown(err)
	}
	if err := unix.Prlimit(0, unix.RLIMIT_MEMLOCK, &unix.Rlimit{Cur: 0, Max: limit.Max}, nil); err != nil {
		return unknown(err)
	}
	err := tryMap()
	// Up to the hard limit everybody may go.
	if err := unix.Prlimit(0, unix.RLIMIT_MEMLOCK, &limit, nil); err != nil {
		return unknown(err)
	}
	return yesOrNo(err, unix.EPERM)
}

// Where no program could be loaded the setting has to tell; only the first network
// namespace has it.
func (l lab) tryJIT() answer {
	for _, p := range l.programs.list {
		if p.MachineCode == 0 {
			return no("%s has no machine code", p.Name)
		}
	}
	if len(l.programs.list) > 0 {
		return yes("")
	}
	value, err := sysctl.Read("net/core/bpf_jit_enable")
	switch {
	case err != nil:
		return unknown(errors.New("needs a program that is loaded"))
	case value == "0":
		return no("net.core.bpf_jit_enable=0")
	}
	return yes("net.core.bpf_jit_enable=%s", value)
}
