package features

import (
	"fmt"
	"testing"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"github.com/fanctl/fanctl/tunnel/bpf"
)

// told is what a kernel tells of a program: the sizes as the library gives them.
type told struct {
	length, machine       int
	lengthErr, machineErr error
	verified              uint32
}

func (d told) TranslatedSize() (int, error)         { return d.length, d.lengthErr }
func (d told) JitedSize() (uint32, error)           { return uint32(d.machine), d.machineErr }
func (d told) VerifiedInstructions() (uint32, bool) { return d.verified, d.verified > 0 }

// A program without machine code is described, and says so; one of which the kernel
// tells nothing is left out. Both were loaded.
func TestDescribeAll(t *testing.T) {
	unsupported := fmt.Errorf("JIT compiler disabled: %w", ebpf.ErrNotSupported)
	o := bpf.Object{Name: "ipip", Programs: []string{"one"}}
	for name, test := range map[string]struct {
		tells told
		fails error
		want  []Program
		jit   State // what they tell of the compiler
	}{
		"compiled":         {told{length: 800, machine: 500, verified: 120}, nil, []Program{{"ipip", "one", 100, 120, 500}}, Yes},
		"interpreted":      {told{length: 800, machineErr: unsupported}, nil, []Program{{"ipip", "one", 100, 0, 0}}, No},
		"nothing is told":  {told{lengthErr: unsupported, machineErr: unsupported}, nil, nil, ""},
		"the size is not":  {told{length: 800, machineErr: unix.EPERM}, nil, nil, ""},
		"no such question": {told{}, unix.EINVAL, nil, ""},
	} {
		got := describeAll(o, func(string) (description, error) { return test.tells, test.fails })
		if fmt.Sprint(got) != fmt.Sprint(test.want) {
			t.Errorf("%s: %+v, want %+v", name, got, test.want)
		}
		l := lab{programs: loaded{list: got}}
		if a := l.programs.answer(o); a.state != Yes {
			t.Errorf("%s: the object is %+v", name, a)
		}
		if a := l.tryJIT(); test.jit != "" && a.state != test.jit {
			t.Errorf("%s: the compiler is %+v, want %s", name, a, test.jit)
		}
	}
}
