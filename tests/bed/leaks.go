package bed

import (
	"errors"
	"os"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
)

// EBPFNames counts the eBPF programs, maps and links of the whole machine by kind and
// name: "program fast_send", "map counters", "link".
func EBPFNames(t testing.TB) map[string]int {
	t.Helper()
	names := map[string]int{}
	for id, err := ebpf.ProgramGetNextID(0); !end(t, err); id, err = ebpf.ProgramGetNextID(id) {
		if program, err := ebpf.NewProgramFromID(id); err == nil { // or it went while we looked
			if info, err := program.Info(); err == nil {
				names["program "+info.Name]++
			}
			program.Close()
		}
	}
	for id, err := ebpf.MapGetNextID(0); !end(t, err); id, err = ebpf.MapGetNextID(id) {
		if m, err := ebpf.NewMapFromID(id); err == nil {
			if info, err := m.Info(); err == nil {
				names["map "+info.Name]++
			}
			m.Close()
		}
	}
	countLinks(t, names)
	return names
}

func countLinks(t testing.TB, names map[string]int) {
	t.Helper()
	var all link.Iterator
	defer all.Close()
	for all.Next() {
		names["link"]++
	}
	// Before Linux 5.8 there are none to ask for.
	if err := all.Err(); err != nil && !errors.Is(err, ebpf.ErrNotSupported) && !errors.Is(err, os.ErrNotExist) {
		t.Fatalf("list eBPF links: %v", err)
	}
}

// GrownNames returns what has grown by a number or more.
func GrownNames(before, after map[string]int, least int) map[string]int {
	grown := map[string]int{}
	for name, n := range after {
		if n-before[name] >= least {
			grown[name] = n - before[name]
		}
	}
	return grown
}
