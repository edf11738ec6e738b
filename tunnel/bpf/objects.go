package bpf

import (
	"slices"

	"github.com/cilium/ebpf/asm"
)

// Names of the objects, each of one C file.
const (
	ObjectIPIP  = "ipip"
	ObjectVXLAN = "vxlan"
)

// Object is what one C file was compiled to.
type Object struct {
	Name     string
	Programs []string
}

// Objects returns the objects that there are.
func Objects() []Object {
	var list []Object
	for _, o := range objects() {
		list = append(list, Object{Name: o.name, Programs: slices.Clone(o.programs)})
	}
	return list
}

// Helper is a function of the kernel's that programs call.
type Helper struct {
	Function asm.BuiltinFunc
	Objects  []string // names of those whose programs call it
}

// Helpers returns the functions that the programs call, in the order of their numbers.
func Helpers() []Helper {
	var list []Helper
	for _, o := range objects() {
		for _, f := range o.calls() {
			i := slices.IndexFunc(list, func(h Helper) bool { return h.Function == f })
			if i < 0 {
				i, list = len(list), append(list, Helper{Function: f})
			}
			list[i].Objects = append(list[i].Objects, o.name)
		}
	}
	slices.SortFunc(list, func(a, b Helper) int { return int(a.Function) - int(b.Function) })
	return list
}

// calls returns the functions that an object's programs call, each once; none of an
// object that can't be read, which loading it will tell.
func (o object) calls() []asm.BuiltinFunc {
	spec, err := o.load()
	if err != nil {
		return nil
	}
	var list []asm.BuiltinFunc
	for _, program := range spec.Programs {
		for _, i := range program.Instructions {
			if f := asm.BuiltinFunc(i.Constant); i.IsBuiltinCall() && !slices.Contains(list, f) {
				list = append(list, f)
			}
		}
	}
	return list
}
