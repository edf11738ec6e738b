package features

import (
	"errors"
	"fmt"
	"net/netip"

	"github.com/cilium/ebpf"

	"github.com/fanctl/fanctl/fan"
	"github.com/fanctl/fanctl/internal/kernel"
	"github.com/fanctl/fanctl/tunnel/bpf"
)

// loaded is what the kernel has taken of the fan's programs.
type loaded struct {
	list   []Program
	failed map[string]error // by object
}

// tryObjects loads the programs of every object, and lets go of them.
func tryObjects() loaded {
	l := loaded{failed: map[string]error{}}
	config, err := ordinary()
	for _, o := range bpf.Objects() {
		var programs []Program
		if err == nil {
			programs, l.failed[o.Name] = tryObject(o, config)
		} else {
			l.failed[o.Name] = err
		}
		l.list = append(l.list, programs...)
	}
	return l
}

// ordinary is the constants of an ordinary fan, with Ethernet below it.
func ordinary() (bpf.Config, error) {
	m, err := fan.NewMapping(netip.MustParsePrefix("10.0.0.0/16"), netip.MustParsePrefix("250.0.0.0/8"))
	if err != nil {
		return bpf.Config{}, err
	}
	const someDevice, ethernet = 1, 14
	f := fan.Fan{Mapping: m, Host: netip.MustParseAddr("10.0.0.45"), Type: fan.IPIP, MTU: fan.IPIP.MTU(1500)}
	return bpf.NewConfig(f, bpf.Devices{Bridge: someDevice, Tunnel: someDevice, Underlay: someDevice, Inlet: someDevice,
		LinkHeader: ethernet, OuterFirst: kernel.OuterFirst(kernel.Release())}), nil
}

func tryObject(o bpf.Object, config bpf.Config) ([]Program, error) {
	names := map[string]string{}
	for i, name := range o.Programs {
		names[name] = fmt.Sprintf("fan_probe_%d", i)
	}
	programs, err := bpf.Load(config, nil, names)
	if err != nil {
		return nil, err
	}
	defer programs.Close()
	return describeAll(o, func(name string) (description, error) { return programs.ByName[name].Info() }), nil
}

// description is what the kernel tells of a program.
type description interface {
	TranslatedSize() (int, error)
	JitedSize() (uint32, error)
	VerifiedInstructions() (uint32, bool)
}

// describeAll describes the programs of an object. They were loaded: what can't be
// described is left out, and works all the same.
func describeAll(o bpf.Object, of func(name string) (description, error)) []Program {
	var list []Program
	for _, name := range o.Programs {
		d, err := of(name)
		if err != nil {
			continue
		}
		if p, err := describe(d); err == nil {
			p.Object, p.Name = o.Name, name
			list = append(list, p)
		}
	}
	return list
}

func describe(d description) (Program, error) {
	const instruction = 8 // bytes
	length, err := d.TranslatedSize()
	if err != nil {
		return Program{}, err
	}
	// Without machine code the library has no size, and says "not supported".
	machine, err := d.JitedSize()
	if err != nil && !errors.Is(err, ebpf.ErrNotSupported) {
		return Program{}, err
	}
	verified, _ := d.VerifiedInstructions()
	return Program{Instructions: length / instruction, Verified: int(verified), MachineCode: int(machine)}, nil
}

func objectProbes() []probe {
	means := map[string][2]string{
		bpf.ObjectIPIP:  {"fans of type ipip", "there are no fans of type ipip"},
		bpf.ObjectVXLAN: {"fans of type vxlan", "there are no fans of type vxlan"},
	}
	var list []probe
	for _, o := range bpf.Objects() {
		list = append(list, probe{"programs", objectPrefix + o.Name, means[o.Name][0], means[o.Name][1], func(l lab) answer { return l.programs.answer(o) }})
	}
	return list
}

// answer says whether an object's programs could be loaded. Only the verifier's word is
// a no: a kernel that has no memory left may have all that they need.
func (l loaded) answer(o bpf.Object) answer {
	err := l.failed[o.Name]
	var refused *ebpf.VerifierError
	switch {
	case err == nil:
		return yes("%d programs load", len(o.Programs))
	case privilege(err):
		return unknown(err)
	case errors.As(err, &refused) || errors.Is(err, ebpf.ErrNotSupported):
		return no("%v", err)
	}
	return unknown(err)
}
