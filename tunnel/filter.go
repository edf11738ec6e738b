package tunnel

import (
	"errors"
	"fmt"
	"strings"

	"github.com/cilium/ebpf"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/fanctl/fanctl/internal/kernel"
	"github.com/fanctl/fanctl/internal/plan"
	"github.com/fanctl/fanctl/tunnel/bpf"
)

const (
	// priorityOnForeign is where our filters start on a device that is not ours,
	// so that filters at the usual low numbers come first.
	priorityOnForeign = 250
	priorityOnOwn     = 1
	// priorityOfGuard comes after every fan's.
	priorityOfGuard = 60000
	filterHandle    = 1
	// guardOwner stands in the names of filters that belong to no single fan.
	guardOwner = "fan"
)

// attachment is one program at a device's way in or out.
type attachment struct {
	device  string
	egress  bool
	program string
	foreign bool // the device is not ours
}

func (a attachment) direction() string {
	if a.egress {
		return "egress"
	}
	return "ingress"
}

func (a attachment) parent() uint32 {
	if a.egress {
		return netlink.HANDLE_MIN_EGRESS
	}
	return netlink.HANDLE_MIN_INGRESS
}

// A filter's name says whose it is, which program it is, and by the fingerprint
// whether it is this version of it with these constants:
// "fan-250/vxlan_send/0123abcd".
func filterName(owner, program, fingerprint string) string {
	return owner + "/" + program + "/" + fingerprint
}

// ownedBy says whether a filter is the owner's, and which program it is.
func ownedBy(owner string, f kernel.Filter) (program string, ok bool) {
	rest, ok := strings.CutPrefix(f.Name, owner+"/")
	if !ok {
		return "", false
	}
	program, _, ok = strings.Cut(rest, "/")
	return program, ok
}

// attachedAs returns the filter that the owner has for the attachment.
func (a attachment) attachedAs(owner string, s kernel.State) (kernel.Filter, bool) {
	link, ok := s.Link(a.device)
	if !ok {
		return kernel.Filter{}, false
	}
	for _, f := range s.Filters {
		program, ours := ownedBy(owner, f)
		if ours && program == a.program && f.Link == link.Index && f.Egress == a.egress {
			return f, true
		}
	}
	return kernel.Filter{}, false
}

// freePriority returns the first priority from first on that no filter has there.
func (a attachment) freePriority(first uint16, s kernel.State) uint16 {
	link, ok := s.Link(a.device)
	if !ok {
		return first
	}
	taken := map[uint16]bool{}
	for _, f := range s.Filters {
		if f.Link == link.Index && f.Egress == a.egress {
			taken[f.Priority] = true
		}
	}
	for taken[first] {
		first++
	}
	return first
}

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

// attachStep attaches the program that the loader has, in place of the filter
// that is there if replaces is not nil. The swap is atomic in the kernel
// (net/sched/cls_bpf.c): no packet finds no program.
func attachStep(h *netlink.Handle, a attachment, owner string, priority uint16, replaces *kernel.Filter, l *loader) plan.Step {
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
			return put(program.FD(), filterName(owner, a.program, fingerprint))
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

// detachStep takes a filter away.
func detachStep(h *netlink.Handle, a attachment, f kernel.Filter) plan.Step {
	return plan.Step{
		Text: fmt.Sprintf("tc filter del dev %s %s pref %d # %s", a.device, a.direction(), f.Priority, a.program),
		Do: func() error {
			if err := deleteFilter(h, a, f.Priority); err != nil && !errors.Is(err, unix.ENOENT) && !kernel.IsGone(err) {
				return err
			}
			return nil
		},
	}
}

// loader loads a fan's programs when the first step needs one: their constants
// name devices that earlier steps make.
type loader struct {
	config   func() (bpf.Config, error)
	names    []string
	counters func() *ebpf.Map // of the programs that are replaced, or nil

	loaded      *bpf.Programs
	fingerprint map[string]string
}

func (l *loader) program(name string) (*ebpf.Program, string, error) {
	if l.loaded == nil {
		if err := l.load(); err != nil {
			return nil, "", err
		}
	}
	return l.loaded.ByName[name], l.fingerprint[name], nil
}

func (l *loader) load() error {
	config, err := l.config()
	if err != nil {
		return err
	}
	var old *ebpf.Map
	if l.counters != nil {
		old = l.counters()
	}
	if l.loaded, err = bpf.Load(config, old, l.names...); err != nil {
		return err
	}
	l.fingerprint = map[string]string{}
	for _, name := range l.names {
		l.fingerprint[name] = bpf.Fingerprint(name, config)
	}
	return nil
}
