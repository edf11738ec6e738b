package features

import (
	"errors"
	"fmt"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/link"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/fanctl/fanctl/internal/kernel"
)

const filters = "filters"

func filterProbes() []probe {
	return []probe{
		{filters, Clsact, "fans attach their programs there", "there are no fans", lab.tryClsact},
		{filters, ClsBPF, "fans attach their programs as filters", "there are no fans", lab.tryClsBPF},
		{filters, "tcx", "programs that every packet passes are attached by it", "all programs are attached by clsact, which costs each packet some 80 ns more", lab.tryTCX},
	}
}

// lo is the lab's loopback device.
func (l lab) lo() (netlink.Link, error) {
	if l.err != nil {
		return nil, l.err
	}
	return l.handle.LinkByName("lo")
}

// clsactOf is the place of filters at a device.
func clsactOf(device netlink.Link) netlink.Qdisc {
	return &netlink.GenericQdisc{QdiscType: "clsact", QdiscAttrs: netlink.QdiscAttrs{
		LinkIndex: device.Attrs().Index, Handle: netlink.MakeHandle(0xffff, 0), Parent: netlink.HANDLE_CLSACT}}
}

func (l lab) tryClsact() answer {
	device, err := l.lo()
	if err != nil {
		return unknown(err)
	}
	// For an unknown kind of qdisc rtnetlink answers "no such file".
	if err := l.handle.QdiscAdd(clsactOf(device)); err != nil {
		return yesOrNo(err, unix.ENOENT)
	}
	if err := l.handle.QdiscDel(clsactOf(device)); err != nil {
		return unknown(err)
	}
	return yes("")
}

func (l lab) tryClsBPF() answer {
	device, err := l.lo()
	if err != nil {
		return unknown(err)
	}
	program, err := passing()
	if err != nil {
		return unknown(err)
	}
	defer program.Close()
	return l.withFilter(device, program, func() answer { return yes("") })
}

// withFilter runs do while a program is a filter at a device's way in.
func (l lab) withFilter(device netlink.Link, program *ebpf.Program, do func() answer) answer {
	if err := l.handle.QdiscAdd(clsactOf(device)); err != nil {
		return unknown(fmt.Errorf("add clsact: %w", err))
	}
	// The namespace takes away what can't be deleted.
	defer func() { _ = l.handle.QdiscDel(clsactOf(device)) }()
	err := l.handle.FilterReplace(&netlink.BpfFilter{FilterAttrs: netlink.FilterAttrs{LinkIndex: device.Attrs().Index,
		Parent: netlink.HANDLE_MIN_INGRESS, Handle: 1, Protocol: unix.ETH_P_ALL, Priority: 1}, Fd: program.FD(), Name: "probe", DirectAction: true})
	if err != nil {
		return yesOrNo(err, unix.ENOENT)
	}
	return do()
}

func (l lab) tryTCX() answer {
	device, err := l.lo()
	if err != nil {
		return unknown(err)
	}
	program, err := passing()
	if err != nil {
		return unknown(err)
	}
	defer program.Close()
	index, way := device.Attrs().Index, kernel.TCXType(false)
	// An unknown place for programs is an invalid argument.
	err = link.RawAttachProgram(link.RawAttachProgramOptions{Target: index, Program: program, Attach: way})
	if errors.Is(err, unix.EINVAL) || errors.Is(err, ebpf.ErrNotSupported) {
		return no("the kernel does not take the attachment")
	}
	if err != nil {
		return unknown(err)
	}
	if err := link.RawDetachProgram(link.RawDetachProgramOptions{Target: index, Program: program, Attach: way}); err != nil {
		return unknown(err)
	}
	return yes("")
}

// newFilter loads a program that is made up here.
func newFilter(code ...asm.Instruction) (*ebpf.Program, error) {
	return ebpf.NewProgram(&ebpf.ProgramSpec{Name: "fan_probe", Type: ebpf.SchedCLS, License: "GPL", Instructions: code})
}

// passing is a program that lets everything pass.
func passing() (*ebpf.Program, error) { return newFilter(asm.Mov.Imm(asm.R0, 0), asm.Return()) }
