package bpf_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/btf"

	"github.com/fanctl/fanctl/fan"
	"github.com/fanctl/fanctl/tunnel/bpf"
)

// pair is one C file compiled for both byte orders.
type pair struct {
	name string
	both [2]*ebpf.CollectionSpec // little endian, big endian
}

// pairs reads all objects that are there. It needs no kernel.
func pairs(t testing.TB) []pair {
	t.Helper()
	files, err := filepath.Glob("*_bpfel.o")
	if err != nil || len(files) == 0 {
		t.Fatalf("no objects here: %v", err)
	}
	var all []pair
	for _, file := range files {
		p := pair{name: strings.TrimSuffix(file, "_bpfel.o")}
		for i, order := range []string{"el", "eb"} {
			object, err := os.ReadFile(p.name + "_bpf" + order + ".o")
			if err != nil {
				t.Fatal(err)
			}
			if p.both[i], err = ebpf.LoadCollectionSpecFromReader(bytes.NewReader(object)); err != nil {
				t.Fatalf("%s: %v", file, err)
			}
		}
		if p.both[0].ByteOrder != binary.LittleEndian || p.both[1].ByteOrder != binary.BigEndian {
			t.Fatalf("%s: byte orders %v and %v", p.name, p.both[0].ByteOrder, p.both[1].ByteOrder)
		}
		all = append(all, p)
	}
	return all
}

// What is around the instructions of both byte orders is the same: programs, maps,
// constants, types, and which of the kernel's functions are called how often. The
// instructions are not one for one: a compiler knows that a conversion does nothing
// in one byte order and goes on from there. That they do the same, TestSameBehaviour
// shows.
func TestSameShape(t *testing.T) {
	for _, p := range pairs(t) {
		t.Run(p.name, func(t *testing.T) {
			little, big := shape(t, p.both[0]), shape(t, p.both[1])
			if !slices.Equal(little, big) {
				t.Errorf("little endian:\n%s\nbig endian:\n%s", strings.Join(little, "\n"), strings.Join(big, "\n"))
			}
			if len(little) < 5 {
				t.Errorf("there is hardly anything in it: %q", little)
			}
		})
	}
}

// shape describes a collection without its instructions and byte order.
func shape(t *testing.T, spec *ebpf.CollectionSpec) []string {
	t.Helper()
	var lines []string
	for _, name := range slices.Sorted(maps.Keys(spec.Programs)) {
		program := spec.Programs[name]
		calls := map[string]int{}
		for _, ins := range program.Instructions {
			if ins.IsBuiltinCall() {
				calls[asm.BuiltinFunc(ins.Constant).String()]++
			}
		}
		lines = append(lines, fmt.Sprintf("program %s: %v %s %q calls %v", name, program.Type, program.SectionName, program.License, calls))
		lines = append(lines, describe(btf.FuncMetadata(&program.Instructions[0])))
	}
	for _, name := range slices.Sorted(maps.Keys(spec.Maps)) {
		m := spec.Maps[name]
		lines = append(lines, fmt.Sprintf("map %s: %v key %d value %d entries %d flags %#x", name, m.Type, m.KeySize, m.ValueSize, m.MaxEntries, m.Flags))
		if m.Contents != nil && name != ".rodata" { // its contents are the variables' and the compiler's
			lines = append(lines, fmt.Sprintf("  contents %v", m.Contents))
		}
		if m.Key != nil {
			lines = append(lines, describe(m.Key))
		}
		lines = append(lines, describe(m.Value))
	}
	for _, name := range slices.Sorted(maps.Keys(spec.Variables)) {
		v := spec.Variables[name]
		lines = append(lines, fmt.Sprintf("variable %s: %s at %d, %d bytes, constant %v", name, v.SectionName, v.Offset, v.Size(), v.Constant()))
		lines = append(lines, describe(v.Type))
	}
	return lines
}

// describe writes a type down with all that is in it.
func describe(of btf.Type) string {
	var lines []string
	seen := map[btf.Type]bool{}
	var walk func(of btf.Type, depth int)
	walk = func(of btf.Type, depth int) {
		if of == nil || reflect.ValueOf(of).IsNil() || seen[of] {
			return
		}
		seen[of] = true
		size, _ := btf.Sizeof(of) // what has none is told by its name
		lines = append(lines, fmt.Sprintf("%*s%T %q %d bytes", depth, "", of, of.TypeName(), size))
		switch inner := of.(type) {
		case *btf.Struct:
			for _, m := range inner.Members {
				lines = append(lines, fmt.Sprintf("%*s%s at bit %d", depth+1, "", m.Name, m.Offset))
				walk(m.Type, depth+2)
			}
		case *btf.Union:
			for _, m := range inner.Members {
				lines = append(lines, fmt.Sprintf("%*s%s at bit %d", depth+1, "", m.Name, m.Offset))
				walk(m.Type, depth+2)
			}
		case *btf.FuncProto:
			for _, a := range inner.Params {
				lines = append(lines, fmt.Sprintf("%*s%s", depth+1, "", a.Name))
				walk(a.Type, depth+2)
			}
			walk(inner.Return, depth+1)
		case *btf.Func:
			walk(inner.Type, depth+1)
		case *btf.Var:
			walk(inner.Type, depth+1)
		case *btf.Pointer:
			walk(inner.Target, depth+1)
		case *btf.Array:
			lines = append(lines, fmt.Sprintf("%*s%d times", depth+1, "", inner.Nelems))
			walk(inner.Type, depth+1)
		case *btf.Typedef:
			walk(inner.Type, depth+1)
		case *btf.Const:
			walk(inner.Type, depth+1)
		case *btf.Volatile:
			walk(inner.Type, depth+1)
		case *btf.Datasec:
			for _, v := range inner.Vars {
				lines = append(lines, fmt.Sprintf("%*sat %d, %d bytes", depth+1, "", v.Offset, v.Size))
				walk(v.Type, depth+2)
			}
		}
	}
	walk(of, 1)
	return strings.Join(lines, "\n")
}

// read returns the members of a struct by name, as C in that byte order reads them:
// numbers, and byte arrays as their bytes.
func read(t testing.TB, order binary.ByteOrder, of btf.Type, data []byte) map[string]any {
	t.Helper()
	fields := map[string]any{}
	s, ok := btf.UnderlyingType(of).(*btf.Struct)
	if !ok {
		t.Fatalf("%v is no struct", of)
	}
	for _, m := range s.Members {
		size, err := btf.Sizeof(m.Type)
		if err != nil {
			t.Fatal(err)
		}
		b := data[m.Offset.Bytes():][:size]
		if _, array := btf.UnderlyingType(m.Type).(*btf.Array); array {
			fields[m.Name] = fmt.Sprintf("%x", b)
			continue
		}
		order := order
		if named, ok := m.Type.(*btf.Typedef); ok && strings.HasPrefix(named.Name, "__be") {
			order = binary.BigEndian
		}
		switch size {
		case 1:
			fields[m.Name] = uint64(b[0])
		case 2:
			fields[m.Name] = uint64(order.Uint16(b))
		case 4:
			fields[m.Name] = uint64(order.Uint32(b))
		case 8:
			fields[m.Name] = order.Uint64(b)
		default:
			t.Fatalf("%s has %d bytes", m.Name, size)
		}
	}
	return fields
}

// constants returns the constants as the programs of that byte order are to find them.
func constants(t testing.TB, spec *ebpf.CollectionSpec, c bpf.Config) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := binary.Write(&b, spec.ByteOrder, c); err != nil {
		t.Fatal(err)
	}
	data := slices.Clone(spec.Maps[".rodata"].Contents[0].Value.([]byte))
	v := spec.Variables["config"]
	if b.Len() != int(v.Size()) {
		t.Fatalf("the constants have %d bytes, in C %d", b.Len(), v.Size())
	}
	copy(data[v.Offset:], b.Bytes())
	return data
}

// The constants are where C has them and read there as what they were, in both byte
// orders; and what is given to this machine's kernel is in this machine's.
func TestConstantsAreReadAsTheyAreWritten(t *testing.T) {
	f := testFan(t, "10.0.200.201", fan.VXLAN)
	f.Port = 0x1234
	c := bpf.NewConfig(f, bpf.Devices{Fast: true, InnerEthernet: true, Bridge: 0x01020304, Tunnel: 0x05060708, Underlay: 0x090a0b0c, LinkHeader: 14, OuterFirst: true, Catches: true,
		TunnelMAC: [6]byte{2, 0xfa, 1, 2, 3, 4}, Inlet: 0x0d0e0f10})
	want := map[string]any{
		"underlay": uint64(0x0a000000), "underlay_mask": uint64(0xffff0000), "overlay": uint64(0xfa000000), "overlay_mask": uint64(0xff000000),
		"slice": uint64(0xfac8c900), "slice_mask": uint64(0xffffff00), "host": uint64(0x0a00c8c9), "shift": uint64(8), "vni": uint64(0xfa0000),
		"mtu": uint64(f.MTU), "bridge": uint64(0x01020304), "tunnel": uint64(0x05060708), "inlet": uint64(0x0d0e0f10), "device": uint64(0x090a0b0c),
		"tunnel_mac": "02fa01020304", "link_header": uint64(14), "plain_sums": uint64(0), "catches": uint64(1), "outer_first": uint64(1),
		"fast": uint64(1), "inner_ethernet": uint64(1), "bridge_mac": "02fa0a00c8c9", "port": uint64(0x1234),
	}
	for _, p := range pairs(t) {
		for _, spec := range p.both {
			v := spec.Variables["config"]
			got := read(t, spec.ByteOrder, v.Type.Type, constants(t, spec, c)[v.Offset:])
			if !maps.Equal(got, want) {
				t.Errorf("%s, %v: C reads\n%v, want\n%v", p.name, spec.ByteOrder, got, want)
			}
			// Set goes by this machine's order, and so does the object that is in a
			// program for it.
			if err := v.Set(c); err != nil {
				t.Fatal(err)
			}
			if native := spec.ByteOrder == nativeOrder(); native != maps.Equal(read(t, spec.ByteOrder, v.Type.Type, v.Value), want) {
				t.Errorf("%s, %v: what is given to this machine's kernel (%v) reads %v", p.name, spec.ByteOrder, nativeOrder(), v.Value)
			}
		}
	}
}

// nativeOrder is that of the processor that this runs on.
func nativeOrder() binary.ByteOrder {
	if binary.NativeEndian.Uint16([]byte{1, 0}) == 1 {
		return binary.LittleEndian
	}
	return binary.BigEndian
}
