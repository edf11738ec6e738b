package tunnel

import (
	"errors"
	"fmt"
	"os"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/fanctl/fanctl/internal/kernel"
	"github.com/fanctl/fanctl/internal/plan"
)

// tcxStep attaches the program that the loader has by tcx, in place of the one that
// is there if replaces is not nil. There is no link to pin: the program stays until
// it is detached or the device goes, as a filter of clsact does
// (kernel/bpf/tcx.c: tcx_prog_attach). It goes before all others, and leaves to
// them what is not the fan's.
func tcxStep(h *netlink.Handle, a attachment, replaces *kernel.Filter, l *loader) plan.Step {
	verb, anchor := "attach", link.Head()
	if replaces != nil {
		verb = "replace"
	}
	var before *ebpf.Program
	return plan.Step{
		Text: fmt.Sprintf("bpftool net %s tcx_%s dev %s # %s", verb, a.direction(), a.device, a.program),
		Do: func() error {
			program, _, err := l.program(a.program)
			if err != nil {
				return err
			}
			if replaces != nil {
				if before, err = ebpf.NewProgramFromID(ebpf.ProgramID(replaces.Program)); err != nil {
					return fmt.Errorf("find the program that is attached: %w", err)
				}
				anchor = link.ReplaceProgram(before)
			}
			return a.putTCX(h, program, anchor)
		},
		Undo: func() error {
			program, _, err := l.program(a.program)
			if err != nil {
				return err
			}
			if replaces != nil {
				return a.putTCX(h, before, link.ReplaceProgram(program))
			}
			return a.removeTCX(h, program)
		},
	}
}

func (a attachment) putTCX(h *netlink.Handle, program *ebpf.Program, anchor link.Anchor) error {
	index, err := linkIndex(h, a.device)
	if err != nil {
		return err
	}
	return link.RawAttachProgram(link.RawAttachProgramOptions{Target: index, Program: program, Attach: kernel.TCXType(a.egress), Anchor: anchor})
}

func (a attachment) removeTCX(h *netlink.Handle, program *ebpf.Program) error {
	index, err := linkIndex(h, a.device)
	if err != nil {
		return err
	}
	return link.RawDetachProgram(link.RawDetachProgramOptions{Target: index, Program: program, Attach: kernel.TCXType(a.egress)})
}

// detachTCXStep takes a program away.
func detachTCXStep(h *netlink.Handle, a attachment, f kernel.Filter) plan.Step {
	return plan.Step{
		Text: fmt.Sprintf("bpftool net detach tcx_%s dev %s # %s", a.direction(), a.device, a.program),
		Do: func() error {
			program, err := ebpf.NewProgramFromID(ebpf.ProgramID(f.Program))
			if errors.Is(err, os.ErrNotExist) {
				return nil
			}
			if err != nil {
				return err
			}
			defer program.Close()
			err = a.removeTCX(h, program)
			if errors.Is(err, unix.ENOENT) || kernel.IsGone(err) {
				return nil
			}
			return err
		},
	}
}
