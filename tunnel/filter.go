package tunnel

import (
	"errors"
	"fmt"

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
)

// attachment is one program at a device's way in or out.
type attachment struct {
	device  string
	egress  bool
	program string
	foreign bool // the device is not ours
	hot     bool // of all that each packet passes on its way the dearest
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

// same says whether another attachment is of the same program at the same place.
func (a attachment) same(b attachment) bool {
	return a.device == b.device && a.egress == b.egress && a.program == b.program
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
		if f.Link == link.Index && f.Egress == a.egress && !f.TCX {
			taken[f.Priority] = true
		}
	}
	for taken[first] {
		first++
	}
	return first
}

// byTCX says whether a new program is to be attached by tcx and not by clsact,
// where the kernel has it (6.6): on a device that is not ours, because there it does
// not matter what others do with the device's qdiscs; and where it is hot, because a
// packet pays some 80 ns less. Elsewhere the grace period of RCU that each costs
// "up", some 15 ms unless the kernel expedites them (include/net/tcx.h:
// tcx_entry_sync), buys nothing.
func (a attachment) byTCX(s kernel.State) bool { return (a.foreign || a.hot) && s.TCX }

// attachStep attaches the program that the loader has, in place of the filter that
// is there if replaces is not nil.
func attachStep(h *netlink.Handle, a attachment, first uint16, replaces *kernel.Filter, s kernel.State, l *loader) plan.Step {
	if replaces == nil && a.byTCX(s) || replaces != nil && replaces.TCX {
		return tcxStep(h, a, replaces, l)
	}
	return clsactFilterStep(h, a, a.freePriority(first, s), replaces, l)
}

// detachStep takes a filter away.
func detachStep(h *netlink.Handle, a attachment, f kernel.Filter) plan.Step {
	if f.TCX {
		return detachTCXStep(h, a, f)
	}
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
	owner    string
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

// shared returns the map that this loader's programs count in, loaded or attached
// before.
func (l *loader) shared() *ebpf.Map {
	if l.loaded != nil {
		return l.loaded.Counters
	}
	return l.counters()
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
	known := map[string]string{}
	l.fingerprint = map[string]string{}
	for _, name := range l.names {
		l.fingerprint[name] = bpf.Fingerprint(name, config)
		known[name] = programName(l.owner, name, l.fingerprint[name])
	}
	l.loaded, err = bpf.Load(config, old, known)
	return err
}
