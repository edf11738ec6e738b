package tunnel

import (
	"errors"
	"fmt"

	"github.com/cilium/ebpf"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/fanctl/fanctl/internal/kernel"
	"github.com/fanctl/fanctl/internal/plan"
)

// clsactStep makes the place where filters go.
func clsactStep(h *netlink.Handle, device string) plan.Step {
	qdisc := func() (*netlink.GenericQdisc, error) {
		index, err := linkIndex(h, device)
		return &netlink.GenericQdisc{QdiscType: "clsact", QdiscAttrs: netlink.QdiscAttrs{
			LinkIndex: index, Handle: netlink.MakeHandle(0xffff, 0), Parent: netlink.HANDLE_CLSACT}}, err
	}
	return plan.Step{
		Text: fmt.Sprintf("tc qdisc add dev %s clsact", device),
		Do: func() error {
			q, err := qdisc()
			if err != nil {
				return err
			}
			if err := h.QdiscAdd(q); !errors.Is(err, unix.EEXIST) {
				return kernel.Clsact().Explain(err)
			}
			return nil
		},
		Undo: func() error {
			q, err := qdisc()
			if err != nil {
				return err
			}
			return h.QdiscDel(q)
		},
	}
}

// clsactFilterStep attaches the program that the loader has as a filter of clsact, in place
// of the one that is there if replaces is not nil. The swap is atomic in the kernel
// (net/sched/cls_bpf.c): no packet finds no program.
func clsactFilterStep(h *netlink.Handle, a attachment, priority uint16, replaces *kernel.Filter, l *loader) plan.Step {
	verb := "add"
	if replaces != nil {
		verb, priority = "replace", replaces.Priority
	}
	put := func(fd int, name string) error {
		index, err := linkIndex(h, a.device)
		if err != nil {
			return err
		}
		return kernel.Filters().Explain(h.FilterReplace(&netlink.BpfFilter{
			FilterAttrs: netlink.FilterAttrs{LinkIndex: index, Parent: a.parent(), Handle: filterHandle,
				Protocol: unix.ETH_P_ALL, Priority: priority},
			Fd: fd, Name: name, DirectAction: true,
		}))
	}
	var before *ebpf.Program
	return plan.Step{
		Text: fmt.Sprintf("tc filter %s dev %s %s pref %d handle %d bpf direct-action # %s",
			verb, a.device, a.direction(), priority, filterHandle, a.program),
		Do: func() error {
			if replaces != nil {
				// Kept for Undo; without it the new program simply stays.
				before, _ = ebpf.NewProgramFromID(ebpf.ProgramID(replaces.Program))
			}
			program, fingerprint, err := l.program(a.program)
			if err != nil {
				return err
			}
			return put(program.FD(), filterName(l.owner, a.program, fingerprint))
		},
		Undo: func() error {
			if replaces == nil {
				return deleteFilter(h, a, priority)
			}
			if before == nil {
				return nil
			}
			return put(before.FD(), replaces.Name)
		},
	}
}

func deleteFilter(h *netlink.Handle, a attachment, priority uint16) error {
	index, err := linkIndex(h, a.device)
	if err != nil {
		return err
	}
	return h.FilterDel(&netlink.BpfFilter{FilterAttrs: netlink.FilterAttrs{LinkIndex: index,
		Parent: a.parent(), Handle: filterHandle, Protocol: unix.ETH_P_ALL, Priority: priority}})
}
