// Package bpf holds the eBPF programs of a fan: the C, the objects compiled from
// it for both byte orders, and what loads them with a fan's constants.
package bpf

import (
	"fmt"

	"github.com/cilium/ebpf"

	"github.com/fanctl/fanctl/internal/kernel"
)

//go:generate go tool bpf2go -cc clang-14 -target bpfel,bpfeb ipip ipip.c -- -O2 -Wall -Werror -mcpu=v2 -I/usr/include/x86_64-linux-gnu
//go:generate go tool bpf2go -cc clang-14 -target bpfel,bpfeb vxlan vxlan.c -- -O2 -Wall -Werror -mcpu=v2 -I/usr/include/x86_64-linux-gnu

// Counters is what a fan's programs count, one record a CPU; the type Counters of
// package tunnel says what the fields mean.
type Counters = ipipFanCounters

// Names of the programs and of their map, as the C has them.
const (
	IPIPSend     = "ipip_send"
	IPIPPort     = "ipip_port"
	IPIPPieces   = "ipip_pieces"
	IPIPReceive  = "ipip_receive"
	IPIPWhole    = "ipip_whole"
	IPIPDeliver  = "ipip_deliver"
	IPIPClose    = "ipip_close"
	Guard        = "guard"
	VXLANSend    = "vxlan_send"
	VXLANReceive = "vxlan_receive"
	VXLANPort    = "vxlan_port"
	VXLANDirect  = "vxlan_direct"
	VXLANDeliver = "vxlan_deliver"

	CountersMap = "counters"
	// PortsMap has the bridge ports of containers, by hardware address.
	PortsMap  = "ports"
	constants = "config"
)

// SharedMaps are what the programs of a fan must have in common, whenever each was loaded.
func SharedMaps() []string { return append([]string{CountersMap}, fastMaps()...) }

// fastMaps are those of the fast path; without it they have room for nothing.
func fastMaps() []string { return []string{"flows", PortsMap, "remotes", "locals"} }

// object is one compiled C file.
type object struct {
	name     string
	load     func() (*ebpf.CollectionSpec, error)
	code     []byte
	programs []string
}

func objects() []object {
	return []object{
		{ObjectIPIP, loadIpip, _IpipBytes, []string{IPIPSend, IPIPPieces, IPIPReceive, IPIPWhole, IPIPDeliver, IPIPClose, IPIPPort, Guard}},
		{ObjectVXLAN, loadVxlan, _VxlanBytes, []string{VXLANSend, VXLANReceive, VXLANPort, VXLANDirect, VXLANDeliver}},
	}
}

// Maps is a fan's maps by name.
type Maps map[string]*ebpf.Map

// Close lets go of the maps.
func (m Maps) Close() {
	for _, one := range m {
		one.Close()
	}
}

// Programs is a fan's loaded programs by name, and the maps that they share.
type Programs struct {
	ByName map[string]*ebpf.Program
	Shared Maps
}

// Close lets go of the programs and the maps; those that are attached stay.
func (p *Programs) Close() {
	for _, program := range p.ByName {
		program.Close()
	}
	p.Shared.Close()
}

// Load loads programs with the constants; names gives the name under which the
// kernel is to know each, of at most 14 letters, digits, points and underscores.
// They share the old maps as far as those are of the kind that they need, so that
// replacing the programs of a fan keeps its counters.
func Load(config Config, old Maps, names map[string]string) (*Programs, error) {
	loaded := &Programs{ByName: map[string]*ebpf.Program{}, Shared: Maps{}}
	for _, o := range objects() {
		if err := loaded.add(o.load, config, old, names); err != nil {
			loaded.Close()
			return nil, err
		}
	}
	return loaded, nil
}

func (p *Programs) add(load func() (*ebpf.CollectionSpec, error), config Config, old Maps, names map[string]string) error {
	spec, err := load()
	if err != nil {
		return fmt.Errorf("read eBPF object: %w", err)
	}
	wanted := map[string]*ebpf.ProgramSpec{}
	for name, known := range names {
		if program, ok := spec.Programs[name]; ok {
			program.Name = known
			wanted[name] = program
		}
	}
	if len(wanted) == 0 {
		return nil
	}
	spec.Programs = wanted
	if err := spec.Variables[constants].Set(config); err != nil {
		return fmt.Errorf("set eBPF constants: %w", err)
	}
	for _, name := range fastMaps() {
		if m, ok := spec.Maps[name]; ok && config.Fast == 0 {
			m.MaxEntries = 1
		}
	}
	options := ebpf.CollectionOptions{MapReplacements: map[string]*ebpf.Map{}}
	for name, m := range old {
		if of, ok := spec.Maps[name]; ok && of.Compatible(m) == nil {
			options.MapReplacements[name] = m
		}
	}
	var collection *ebpf.Collection
	err = WithoutMemlock(func() error {
		collection, err = ebpf.NewCollectionWithOptions(spec, options)
		return err
	})
	if err != nil {
		return fmt.Errorf("load eBPF programs: %w", explain(err))
	}
	defer collection.Close()
	for name := range wanted {
		p.ByName[name] = collection.DetachProgram(name)
	}
	for _, name := range SharedMaps() {
		if m := collection.DetachMap(name); m != nil {
			p.Shared[name] = m
		}
	}
	return nil
}

// explain says that the kernel is too old if it is. The error itself ends with what
// the verifier said last.
func explain(err error) error {
	if release := kernel.Release(); kernel.Older(release, 5, 10) {
		return fmt.Errorf("the kernel (%s) is too old, Linux 5.10 or newer is needed: %w", release, err)
	}
	return err
}
