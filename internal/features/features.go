// Package features tries what this kernel can do for a fan: what a fan needs is done
// once, in a network namespace that is gone afterwards, and what can't be tried is
// unknown. What is tried does not go by the kernel's version; only a constant of the
// programs does that are loaded, as for a fan (kernel.OuterFirst).
//
// The kernel may load a module of its own when a device or a filter is tried; it is
// the one that a fan would have loaded.
package features

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"

	"github.com/fanctl/fanctl/internal/kernel"
	"github.com/fanctl/fanctl/tunnel/bpf"
)

// State says whether the kernel has a feature.
type State string

// The states, as scripts read them.
const (
	Yes     State = "yes"
	No      State = "no"
	Unknown State = "unknown" // it could not be tried, or the attempt proves nothing
)

// Names of features that others ask for; they are a promise to scripts, as all names
// are.
const (
	IPIPDevice   = "ipip-device"
	VXLANDevice  = "vxlan-device"
	Veth         = "veth"
	Bridge       = "bridge"
	Clsact       = "clsact"
	ClsBPF       = "cls-bpf"
	FixedGSO     = "fixed-gso"
	IPTables     = "iptables"
	NFTables     = "nftables"
	LegacyTables = "legacy-tables"
	ObjectIPIP   = objectPrefix + bpf.ObjectIPIP
	ObjectVXLAN  = objectPrefix + bpf.ObjectVXLAN

	objectPrefix = "object-"
)

// Feature is something that the kernel, or the host, has or has not.
type Feature struct {
	Group  string // "devices", "filters", "ebpf", "programs", "firewall" or "host"
	Name   string
	State  State
	Detail string // what was found, or why the state is not known; may be empty
	Means  string // what follows for a fan
}

// Program is a program of the fan's as the kernel has taken it. Its constants are
// those of an ordinary fan; others may leave more or less of it.
type Program struct {
	Object, Name string
	// Instructions is the program's length once the kernel has rewritten it and
	// dropped what can't be reached.
	Instructions int
	// Verified is how many instructions the verifier has looked at, on all ways
	// through the program; 0 where the kernel does not say (before Linux 5.16).
	Verified int
	// MachineCode is the bytes of machine code, 0 if the kernel interprets.
	MachineCode int
}

// Report is what was found.
type Report struct {
	Kernel   string // as uname -r prints it
	Features []Feature
	Programs []Program
}

// State returns the state of the feature of that name.
func (r Report) State(name string) State {
	f, _ := r.Feature(name)
	return f.State
}

// Feature returns the feature of that name.
func (r Report) Feature(name string) (Feature, bool) {
	for _, f := range r.Features {
		if f.Name == name {
			return f, true
		}
	}
	return Feature{State: Unknown}, false
}

// Probe tries everything. It takes a tenth of a second and leaves nothing behind but
// modules that the kernel has loaded.
func Probe() Report {
	r := Report{Kernel: kernel.Release()}
	programs := tryObjects()
	r.Programs = programs.list
	// With the limit gone, as fans load their programs: before Linux 5.11 it would be
	// in the way of those tried here.
	_ = bpf.WithoutMemlock(func() error {
		inside(func(l lab) {
			l.programs = programs
			r.Features = l.run(deviceProbes(), filterProbes(), ebpfProbes(), objectProbes())
		})
		return nil
	})
	r.Features = append(r.Features, lab{}.run(firewallProbes(), hostProbes())...)
	return r
}

// HasIPIP says whether the kernel can make the ipip device. A module that is only
// listed is tried, for the kernel may refuse it; where that can't be tried, the list
// has to do.
func HasIPIP() bool {
	return hasModule(kernel.Loaded("ipip"), kernel.Listed("ipip"), func() (has State) {
		inside(func(l lab) { has = l.tryIPIP().state })
		return has
	})
}

// hasModule says whether a module that is loaded, or listed, can be had.
func hasModule(loaded, listed bool, try func() State) bool {
	return loaded || listed && try() != No
}

// probe is one feature and how it is tried.
type probe struct {
	group, name string
	yes, no     string // what follows for a fan
	try         func(l lab) answer
}

// answer is what an attempt has shown.
type answer struct {
	state  State
	detail string
}

func yes(format string, a ...any) answer { return answer{Yes, fmt.Sprintf(format, a...)} }
func no(format string, a ...any) answer  { return answer{No, fmt.Sprintf(format, a...)} }

// unknown is the answer of an attempt that has failed for a reason that does not say
// whether the kernel has the feature.
func unknown(err error) answer {
	switch {
	case privilege(err) && os.Geteuid() != 0:
		return answer{Unknown, "needs root"}
	case privilege(err):
		return answer{Unknown, "root may not try that here, as in a container"}
	}
	return answer{Unknown, err.Error()}
}

// privilege says whether the kernel refused because of who asks. The verifier refuses
// a program with EACCES, which has nothing to do with that; a file does not.
func privilege(err error) bool {
	var file *fs.PathError
	return errors.Is(err, unix.EPERM) || errors.As(err, &file) && errors.Is(err, fs.ErrPermission)
}

// yesOrNo is yes without an error, and no for one of the errors that mean it.
func yesOrNo(err error, meansNo ...error) answer {
	if err == nil {
		return yes("")
	}
	for _, m := range meansNo {
		if errors.Is(err, m) {
			return no("the kernel answers %q", m)
		}
	}
	return unknown(err)
}

// run tries the probes one after the other.
func (l lab) run(lists ...[]probe) []Feature {
	var list []Feature
	for _, probes := range lists {
		for _, p := range probes {
			a := p.try(l)
			means := p.yes
			if a.state == No {
				means = p.no
			}
			list = append(list, Feature{Group: p.group, Name: p.name, State: a.state, Detail: a.detail, Means: means})
		}
	}
	return list
}
