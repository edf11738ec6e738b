package image

import (
	"encoding/binary"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// machine is what a processor's program and image are made of.
type machine struct {
	lxd     string           // the architecture in the words of LXD and Incus
	wide    bool             // a 64-bit ELF file
	order   binary.ByteOrder // of the file and the instructions
	elf     uint16           // e_machine, of elf(5)
	flags   uint32           // e_flags
	waiting []byte           // machine code that waits for ever
}

// machineFor returns the processor of that name, which is GOARCH's. The code of each is
// an endless loop around one system call that blocks: pause, or ppoll of nothing
// where the processor has no pause. A signal that is caught would end the call,
// hence the loop. The numbers are those of the kernel's tables, by the way in which
// each processor is asked:
//
//	amd64    arch/x86/entry/syscalls/syscall_64.tbl      34 pause
//	386      arch/x86/entry/syscalls/syscall_32.tbl      29 pause
//	arm64    include/uapi/asm-generic/unistd.h           73 ppoll
//	arm      arch/arm/tools/syscall.tbl                  29 pause
//	ppc64le  arch/powerpc/kernel/syscalls/syscall.tbl    29 pause
//	s390x    arch/s390/kernel/syscalls/syscall.tbl       29 pause
func machineFor(arch string) (machine, error) {
	machines := map[string]machine{
		"amd64": {lxd: "x86_64", wide: true, order: binary.LittleEndian, elf: 62, waiting: []byte{
			0xb8, 34, 0, 0, 0, // mov $34, %eax
			0x0f, 0x05, // syscall
			0xeb, 0xf7, // jmp to the first instruction
		}},
		"386": {lxd: "i686", order: binary.LittleEndian, elf: 3, waiting: []byte{
			0xb8, 29, 0, 0, 0, // mov $29, %eax
			0xcd, 0x80, // int $0x80
			0xeb, 0xf7, // jmp to the first instruction
		}},
		"arm64": {lxd: "aarch64", wide: true, order: binary.LittleEndian, elf: 183, waiting: words(binary.LittleEndian,
			0xd2800000, // mov x0, #0: no files
			0xd2800001, // mov x1, #0
			0xd2800002, // mov x2, #0: no end
			0xd2800003, // mov x3, #0: the mask of signals as it is
			0xd2800004, // mov x4, #0
			0xd2800928, // mov x8, #73
			0xd4000001, // svc #0
			0x17fffff9, // b to the first instruction
		)},
		"arm": {lxd: "armv7l", order: binary.LittleEndian, elf: 40, flags: 0x05000000 /* EABI 5 */, waiting: words(binary.LittleEndian,
			0xe3a0701d, // mov r7, #29
			0xef000000, // svc #0
			0xeafffffc, // b to the first instruction
		)},
		"ppc64le": {lxd: "ppc64le", wide: true, order: binary.LittleEndian, elf: 21, flags: 2 /* ELFv2 */, waiting: words(binary.LittleEndian,
			0x3800001d, // li r0, 29
			0x44000002, // sc
			0x4bfffff8, // b to the first instruction
		)},
		"s390x": {lxd: "s390x", wide: true, order: binary.BigEndian, elf: 22, waiting: []byte{
			0x0a, 29, // svc 29
			0xa7, 0xf4, 0xff, 0xff, // j to the instruction before
		}},
	}
	m, known := machines[arch]
	if !known {
		return machine{}, fmt.Errorf("make a test container's image: there is none for the processor %q, only for %s",
			arch, strings.Join(slices.Sorted(maps.Keys(machines)), ", "))
	}
	return m, nil
}

// words are instructions of 32 bits each.
func words(order binary.AppendByteOrder, instructions ...uint32) []byte {
	var code []byte
	for _, w := range instructions {
		code = order.AppendUint32(code, w)
	}
	return code
}

// What elf(5) calls the parts of a file, in numbers.
const (
	ptLoad     = 1
	ptGNUStack = 0x6474e551
	readable   = 4
	writable   = 2
	executable = 1
	// base is where the program is put in memory; a multiple of the largest page.
	base  = 0x400000
	align = 0x10000
)

// segment is one entry of a program's header.
type segment struct {
	kind, flags uint32
	address     uint64
	size        uint64
	align       uint64
}

// program returns the machine's program as an ELF file: header, two segments, code.
// The whole file is the first segment; the second one says that the stack is not
// executed.
func (m machine) program() []byte {
	header, entry := 52, 32
	if m.wide {
		header, entry = 64, 56
	}
	start := header + 2*entry
	segments := []segment{
		{ptLoad, readable | executable, base, uint64(start + len(m.waiting)), align},
		{ptGNUStack, readable | writable, 0, 0, 16},
	}
	b := &builder{order: m.order, wide: m.wide}
	m.header(b, start, header, entry, len(segments))
	for _, s := range segments {
		s.write(b)
	}
	return append(b.bytes, m.waiting...)
}

// header writes the ELF header of a program whose code begins at start.
func (m machine) header(b *builder, start, header, entry, segments int) {
	class, data := byte(1), byte(1)
	if m.wide {
		class = 2
	}
	if m.order == binary.BigEndian {
		data = 2
	}
	b.bytes = append(b.bytes, 0x7f, 'E', 'L', 'F', class, data, 1 /* version */, 0, 0, 0, 0, 0, 0, 0, 0, 0)
	b.half(2) // ET_EXEC
	b.half(m.elf)
	b.word(1) // version
	b.address(base + uint64(start))
	b.address(uint64(header)) // where the segments are
	b.address(0)              // there are no sections
	b.word(m.flags)
	b.half(uint16(header))
	b.half(uint16(entry))
	b.half(uint16(segments))
	b.half(0)
	b.half(0)
	b.half(0)
}

// write writes the segment; the flags are at another place in a 32-bit file.
func (s segment) write(b *builder) {
	b.word(s.kind)
	if b.wide {
		b.word(s.flags)
	}
	b.address(0) // from the file's first byte on
	b.address(s.address)
	b.address(s.address)
	b.address(s.size)
	b.address(s.size)
	if !b.wide {
		b.word(s.flags)
	}
	b.address(s.align)
}

// builder puts an ELF file together.
type builder struct {
	order binary.ByteOrder
	wide  bool
	bytes []byte
}

func (b *builder) half(v uint16) {
	var raw [2]byte
	b.order.PutUint16(raw[:], v)
	b.bytes = append(b.bytes, raw[:]...)
}

func (b *builder) word(v uint32) {
	var raw [4]byte
	b.order.PutUint32(raw[:], v)
	b.bytes = append(b.bytes, raw[:]...)
}

// address writes what has 64 bits in a wide file and 32 in another.
func (b *builder) address(v uint64) {
	if !b.wide {
		b.word(uint32(v))
		return
	}
	var raw [8]byte
	b.order.PutUint64(raw[:], v)
	b.bytes = append(b.bytes, raw[:]...)
}
