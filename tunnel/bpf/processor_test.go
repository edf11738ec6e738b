package bpf_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
)

// Where things are in a processor's memory. The kernel tells programs of packets by
// pointers of 32 bits, so all is below 4 GB.
const (
	stackAt   = 0x1000_0000
	contextAt = 0x2000_0000
	packetAt  = 0x3000_0000
	dataAt    = 0x4000_0000 // the programs' constants
	mapsAt    = 0x5000_0000 // the maps' values, mapApart from each other
	handlesAt = 0x7000_0000 // what stands for the maps themselves
	mapApart  = 0x0010_0000

	stackSize = 512
	mostSteps = 10000
)

// area is a part of the memory.
type area struct {
	at   uint64
	data []byte
}

// processor runs a program as Documentation/bpf/standardization/instruction-set.rst
// says, in either byte order, whatever this machine's is. It knows what clang makes
// of ours (-mcpu=v2), and refuses the rest, and all memory that the program has
// not been given.
type processor struct {
	order     binary.ByteOrder
	program   []asm.Instruction
	position  map[asm.RawInstructionOffset]int // of the instructions in program
	at        []asm.RawInstructionOffset       // the other way round
	areas     []*area
	maps      []string // their names, in the order of their handles
	valueSize []uint32
	tables    []*table // nil for arrays
	call      func(p *processor, helper asm.BuiltinFunc) (uint64, error)
	r         [11]uint64
	ran       []bool // the instructions that have run at least once
}

// newProcessor takes a program and the maps that it has been compiled with, among
// them the constants.
func newProcessor(program *ebpf.ProgramSpec, maps map[string]*ebpf.MapSpec) *processor {
	p := &processor{order: program.ByteOrder, program: program.Instructions, position: map[asm.RawInstructionOffset]int{}}
	for iterator := program.Instructions.Iterate(); iterator.Next(); {
		p.position[iterator.Offset] = len(p.at)
		p.at = append(p.at, iterator.Offset)
	}
	p.ran = make([]bool, len(p.at))
	for name := range maps {
		if name[0] != '.' {
			p.maps = append(p.maps, name)
		}
	}
	slices.Sort(p.maps)
	p.areas = []*area{{stackAt, make([]byte, stackSize)}, {contextAt, nil}, {packetAt, nil}, {dataAt, nil}}
	for i, name := range p.maps {
		p.valueSize = append(p.valueSize, maps[name].ValueSize)
		entries := maps[name].MaxEntries
		p.tables = append(p.tables, nil)
		if isTable(maps[name]) {
			p.tables[i], entries = &table{int(maps[name].KeySize), map[string]int{}}, tableSize
		}
		p.areas = append(p.areas, &area{mapsAt + uint64(i)*mapApart, make([]byte, maps[name].ValueSize*entries)})
	}
	return p
}

// values returns what is in a map.
func (p *processor) values(i int) []byte { return p.areas[4+i].data }

// begin gives the program its constants, and empty maps.
func (p *processor) begin(constants []byte) {
	p.areas[3].data = constants
	for i := range p.maps {
		clear(p.values(i))
		if p.tables[i] != nil {
			clear(p.tables[i].places)
		}
	}
}

// part returns the memory from an address on.
func (p *processor) part(at uint64, size int) ([]byte, error) {
	for _, a := range p.areas {
		if at >= a.at && at-a.at+uint64(size) <= uint64(len(a.data)) {
			return a.data[at-a.at:][:size], nil
		}
	}
	return nil, fmt.Errorf("no memory of %d bytes at %#x", size, at)
}

func (p *processor) load(at uint64, size int) (uint64, error) {
	b, err := p.part(at, size)
	if err != nil {
		return 0, err
	}
	switch size {
	case 1:
		return uint64(b[0]), nil
	case 2:
		return uint64(p.order.Uint16(b)), nil
	case 4:
		return uint64(p.order.Uint32(b)), nil
	}
	return p.order.Uint64(b), nil
}

func (p *processor) store(at uint64, size int, value uint64) error {
	b, err := p.part(at, size)
	if err != nil {
		return err
	}
	switch size {
	case 1:
		b[0] = byte(value)
	case 2:
		p.order.PutUint16(b, uint16(value))
	case 4:
		p.order.PutUint32(b, uint32(value))
	default:
		p.order.PutUint64(b, value)
	}
	return nil
}

// run runs the program to its end and returns its verdict.
func (p *processor) run() (uint32, error) {
	p.r = [11]uint64{asm.R1: contextAt, asm.R10: stackAt + stackSize}
	for i := range p.areas[0].data {
		p.areas[0].data[i] = 0xa5 // nobody may go by what is left there
	}
	next := 0
	for range mostSteps {
		if next < 0 || next >= len(p.program) {
			return 0, errors.New("the program has run over its end")
		}
		ins := p.program[next]
		p.ran[next] = true
		jump, done, err := p.step(ins)
		if err != nil {
			return 0, fmt.Errorf("instruction %d, %v: %w", p.at[next], ins, err)
		}
		if done {
			return uint32(p.r[asm.R0]), nil
		}
		next++
		if jump {
			target, ok := p.position[p.at[next-1]+1+asm.RawInstructionOffset(ins.Offset)]
			if !ok {
				return 0, fmt.Errorf("instruction %d, %v: leads into nothing", p.at[next-1], ins)
			}
			next = target
		}
	}
	return 0, errors.New("the program does not end")
}

// step runs one instruction; jump says that the next one is where it leads.
func (p *processor) step(ins asm.Instruction) (jump, done bool, err error) {
	op := ins.OpCode
	size := op.Size().Sizeof()
	switch op.Class() {
	case asm.LdClass:
		return false, false, p.loadConstant(ins)
	case asm.LdXClass:
		if op.Mode() != asm.MemMode {
			return false, false, errors.New("unknown way to load")
		}
		p.r[ins.Dst], err = p.load(p.r[ins.Src]+uint64(int64(ins.Offset)), size)
		return false, false, err
	case asm.StClass, asm.StXClass:
		if op.Mode() != asm.MemMode {
			return false, false, errors.New("unknown way to store")
		}
		value := uint64(ins.Constant)
		if op.Class() == asm.StXClass {
			value = p.r[ins.Src]
		}
		return false, false, p.store(p.r[ins.Dst]+uint64(int64(ins.Offset)), size, value)
	case asm.ALUClass, asm.ALU64Class:
		return false, false, p.calculate(ins)
	case asm.JumpClass:
		return p.jump(ins)
	}
	return false, false, errors.New("unknown class")
}

// loadConstant is the one instruction of 16 bytes. What it says of maps has been
// filled in by the reader of the object.
func (p *processor) loadConstant(ins asm.Instruction) error {
	switch {
	case !ins.OpCode.IsDWordLoad():
		return errors.New("unknown way to load")
	case ins.Src == asm.PseudoMapFD:
		i := slices.Index(p.maps, ins.Reference())
		if i < 0 {
			return fmt.Errorf("no map %q", ins.Reference())
		}
		p.r[ins.Dst] = handlesAt + uint64(i)
	case ins.Src == asm.PseudoMapValue:
		if ins.Reference() != ".rodata" {
			return fmt.Errorf("no data %q", ins.Reference())
		}
		p.r[ins.Dst] = dataAt + uint64(ins.Constant)>>32
	case ins.Src == asm.R0:
		p.r[ins.Dst] = uint64(ins.Constant)
	default:
		return errors.New("unknown constant")
	}
	return nil
}

func (p *processor) jump(ins asm.Instruction) (jump, done bool, err error) {
	switch ins.OpCode.JumpOp() {
	case asm.Ja:
		return true, false, nil
	case asm.Exit:
		return false, true, nil
	case asm.Call:
		if !ins.IsBuiltinCall() {
			return false, false, errors.New("no helper of the kernel's")
		}
		p.r[asm.R0], err = p.call(p, asm.BuiltinFunc(ins.Constant))
		// The kernel leaves nothing in them that a program may use.
		p.r[1], p.r[2], p.r[3], p.r[4], p.r[5] = 0xdead, 0xdead, 0xdead, 0xdead, 0xdead
		return false, false, err
	}
	a, b := p.r[ins.Dst], p.operand(ins)
	switch ins.OpCode.JumpOp() {
	case asm.JEq:
		jump = a == b
	case asm.JNE:
		jump = a != b
	case asm.JGT:
		jump = a > b
	case asm.JGE:
		jump = a >= b
	case asm.JLT:
		jump = a < b
	case asm.JLE:
		jump = a <= b
	case asm.JSet:
		jump = a&b != 0
	case asm.JSGT:
		jump = int64(a) > int64(b)
	case asm.JSGE:
		jump = int64(a) >= int64(b)
	case asm.JSLT:
		jump = int64(a) < int64(b)
	case asm.JSLE:
		jump = int64(a) <= int64(b)
	default:
		err = errors.New("unknown jump")
	}
	return jump, false, err
}

// operand is what an instruction's destination is combined with.
func (p *processor) operand(ins asm.Instruction) uint64 {
	if ins.OpCode.Source() == asm.RegSource {
		return p.r[ins.Src]
	}
	return uint64(ins.Constant)
}

// calculate changes a register. In a class of 32 bits the upper half becomes zero.
func (p *processor) calculate(ins asm.Instruction) error {
	if ins.OpCode.ALUOp() == asm.Swap {
		return p.swap(ins)
	}
	a, b, bits := p.r[ins.Dst], p.operand(ins), uint64(64)
	if ins.OpCode.Class() == asm.ALUClass {
		a, b, bits = uint64(uint32(a)), uint64(uint32(b)), 32
	}
	switch ins.OpCode.ALUOp() {
	case asm.Add:
		a += b
	case asm.Sub:
		a -= b
	case asm.Mul:
		a *= b
	case asm.Or:
		a |= b
	case asm.And:
		a &= b
	case asm.Xor:
		a ^= b
	case asm.LSh:
		a <<= b % bits
	case asm.RSh:
		a >>= b % bits
	case asm.ArSh:
		a = uint64(int64(a<<(64-bits)) >> (64 - bits) >> (b % bits))
	case asm.Mov:
		a = b
	case asm.Neg:
		a = -a
	default:
		return errors.New("unknown calculation")
	}
	if bits == 32 {
		a = uint64(uint32(a))
	}
	p.r[ins.Dst] = a
	return nil
}

// swap converts from this processor's order to another, which changes nothing if
// both are the same; what is above the number goes.
func (p *processor) swap(ins asm.Instruction) error {
	if ins.OpCode.Class() != asm.ALUClass {
		return errors.New("unknown conversion")
	}
	to := binary.ByteOrder(binary.LittleEndian)
	if ins.OpCode.Endianness() == asm.BE {
		to = binary.BigEndian
	}
	var b [8]byte
	value := p.r[ins.Dst]
	switch ins.Constant {
	case 16:
		p.order.PutUint16(b[:], uint16(value))
		value = uint64(to.Uint16(b[:]))
	case 32:
		p.order.PutUint32(b[:], uint32(value))
		value = uint64(to.Uint32(b[:]))
	case 64:
		p.order.PutUint64(b[:], value)
		value = to.Uint64(b[:])
	default:
		return errors.New("unknown size")
	}
	p.r[ins.Dst] = value
	return nil
}
