package tunnel

import (
	"errors"
	"fmt"
	"slices"

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
	crowded bool // the device is a container's port, one of very many
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
		if f.Link != link.Index || f.Egress != a.egress {
			continue
		}
		if program, ours := ownedBy(owner, f); ours && program == a.program {
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
// tcx_entry_sync), buys nothing; with a thousand ports it would be ten seconds, in which
// nobody else can change a device. But when a device gets or loses its clsact qdisc, the
// kernel drops what is sent to it for some 0.1 ms (net/sched/sch_api.c: qdisc_graft).
func (a attachment) byTCX(s kernel.State) bool { return (a.foreign || a.hot) && !a.crowded && s.TCX }

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
// name devices that earlier steps make. One that is attached somewhere with the same
// constants is taken as it is.
type loader struct {
	config func() (bpf.Config, error)
	names  []string
	owner  string
	maps   func() bpf.Maps // of the programs that are replaced, or nil
	state  kernel.State    // with the programs that are attached

	ready       bool
	constants   bpf.Config
	fingerprint map[string]string
	found       map[string]*ebpf.Program // attached somewhere, by name
	loaded      *bpf.Programs
}

// needs adds a program to those that are to be loaded.
func (l *loader) needs(name string) {
	if !slices.Contains(l.names, name) {
		l.names = append(l.names, name)
	}
}

func (l *loader) program(name string) (*ebpf.Program, string, error) {
	if err := l.prepare(); err != nil {
		return nil, "", err
	}
	fingerprint := l.fingerprint[name]
	if l.loaded == nil {
		if program := l.attached(name); program != nil {
			return program, fingerprint, nil
		}
		if err := l.load(); err != nil {
			return nil, "", err
		}
	}
	return l.loaded.ByName[name], fingerprint, nil
}

// prepare works out what is to be loaded.
func (l *loader) prepare() (err error) {
	if l.ready {
		return nil
	}
	if l.constants, err = l.config(); err != nil {
		return err
	}
	l.fingerprint = map[string]string{}
	for _, name := range l.names {
		l.fingerprint[name] = bpf.Fingerprint(name, l.constants)
	}
	l.ready = true
	return nil
}

// attached returns the program as it is attached somewhere, or nil.
func (l *loader) attached(name string) *ebpf.Program {
	program, looked := l.found[name]
	if !looked {
		program = l.find(name)
		if l.found == nil {
			l.found = map[string]*ebpf.Program{}
		}
		l.found[name] = program
	}
	return program
}

func (l *loader) find(name string) *ebpf.Program {
	for _, f := range l.state.Filters {
		if !isNamed(f, l.owner, name, l.fingerprint[name]) {
			continue
		}
		if program, err := ebpf.NewProgramFromID(ebpf.ProgramID(f.Program)); err == nil {
			return program
		}
	}
	return nil
}

// shared returns the maps that this loader's programs share, loaded or attached
// before.
func (l *loader) shared() bpf.Maps {
	if l.loaded != nil {
		return l.loaded.Shared
	}
	return l.maps()
}

func (l *loader) load() (err error) {
	var old bpf.Maps
	if l.maps != nil {
		old = l.maps()
	}
	known := map[string]string{}
	for _, name := range l.names {
		known[name] = programName(l.owner, name, l.fingerprint[name])
	}
	l.loaded, err = bpf.Load(l.constants, old, known)
	return err
}
