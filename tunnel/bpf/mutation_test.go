package bpf_test

import (
	"fmt"
	"os"
	"slices"
	"testing"

	"github.com/cilium/ebpf/asm"
)

// everyMutation is the variable that has all instructions changed, and not one in a few:
// with the next run's they would be the same again.
const (
	everyMutation = "FANCTL_EVERY_MUTATION"
	oneIn         = 4
)

// mostUnnoticed is one in so many changes.
const mostUnnoticed = 5

// mutate changes one instruction after the other and sees that it is noticed. What
// may stay unnoticed is of no effect: bytes that nobody reads, the second carry of a
// checksum, masks of bits that are zero anyway.
func mutate(t *testing.T, s *stage, all []story, want [][]string) {
	t.Helper()
	was, ran := s.program, slices.Clone(s.ran)
	var unnoticed []string
	tried, each := 0, oneIn
	if os.Getenv(everyMutation) != "" || len(was) < 200 {
		each = 1
	}
	for i, ins := range was {
		if !ran[i] || i%each != 0 {
			continue
		}
		others := mutations(ins)
		if len(others) == 0 {
			continue
		}
		tried++
		noticed := false
		for _, other := range others {
			s.program = slices.Clone(was)
			s.program[i] = other
			for n := 0; n < len(all) && !noticed; n++ {
				noticed = !slices.Equal(s.play(t, all[n]), want[n])
			}
		}
		if !noticed {
			unnoticed = append(unnoticed, fmt.Sprintf("%d %v", s.at[i], ins))
		}
	}
	t.Logf("%d instructions changed one by one, %d unnoticed: %q", tried, len(unnoticed), unnoticed)
	if len(unnoticed)*mostUnnoticed > tried {
		t.Errorf("%d of %d changes are not noticed, want at most one in %d", len(unnoticed), tried, mostUnnoticed)
	}
}

// mutations are instructions that do something else.
func mutations(ins asm.Instruction) []asm.Instruction {
	op, other := ins.OpCode, ins
	var all []asm.Instruction
	switch op.Class() {
	case asm.JumpClass:
		opposite := map[asm.JumpOp]asm.JumpOp{asm.JEq: asm.JNE, asm.JNE: asm.JEq, asm.JGT: asm.JLE, asm.JLE: asm.JGT, asm.JGE: asm.JLT,
			asm.JLT: asm.JGE, asm.JSGT: asm.JSLE, asm.JSLE: asm.JSGT, asm.JSGE: asm.JSLT, asm.JSLT: asm.JSGE, asm.JSet: asm.JEq}
		if to, ok := opposite[op.JumpOp()]; ok {
			other.OpCode = op.SetJumpOp(to)
			all = append(all, other)
		}
	case asm.LdClass:
		if ins.Src == asm.PseudoMapFD {
			return nil
		}
		other.Constant ^= 1<<34 | 1<<18 | 1 // the upper half is an offset, if it is of data
		all = append(all, other)
	case asm.ALUClass, asm.ALU64Class:
		if op.ALUOp() != asm.Swap && op.Source() == asm.ImmSource {
			other.Constant++
			all = append(all, other)
		}
	default:
		other.Offset++
		all = append(all, other)
	}
	if ins.OpCode.IsDWordLoad() {
		return all // it is as long as two
	}
	return append(all, asm.Instruction{OpCode: asm.OpCode(asm.JumpClass).SetJumpOp(asm.Ja)}) // nothing
}
