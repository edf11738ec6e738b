package dnsmasq

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/fanctl/fanctl/internal/plan"
)

// Plan returns the steps that bring the dnsmasq of a bridge from those that run to
// the one that is wanted. before is what ran before as far as that is known from
// elsewhere than the processes; nil for nothing.
func Plan(c Config, before *Config, running []Process) (plan.Plan, error) {
	args := c.Args()
	if len(running) == 1 && slices.Equal(running[0].Args, args) {
		return nil, nil
	}
	program, err := Program()
	if err != nil {
		return nil, err
	}
	p := planStop(program, before, running)
	if dir := filepath.Dir(c.Leases); !exists(dir) {
		p = append(p, plan.Step{Text: "mkdir -p " + dir, Do: func() error { return os.MkdirAll(dir, 0o755) },
			Undo: func() error { return os.Remove(dir) }})
	}
	return append(p, plan.Step{
		Text: "dnsmasq " + strings.Join(args, " "),
		Do:   func() error { return c.start(program) },
		Undo: func() error {
			started, err := Find(c.Fan.Bridge)
			if err != nil {
				return err
			}
			for _, s := range started {
				if err := Stop(s); err != nil {
					return err
				}
			}
			return nil
		},
	}), nil
}

// start runs dnsmasq. A server that has the host's addresses one by one may take the
// bridge's as soon as it is there, which could not be seen before; names are that
// server's then. What dnsmasq has begun to keep goes with a failure.
func (c Config) start(program string) error {
	fresh := !exists(c.Leases)
	err := Start(program, c.Args())
	if err != nil && !c.NoDNS {
		if taken, lookErr := anyTaken(c.Fan.BridgeAddr().As4()); taken && lookErr == nil {
			c.NoDNS = true
			err = Start(program, c.Args())
		}
	}
	if err != nil && fresh {
		return errors.Join(err, removeIfThere(c.Leases))
	}
	return err
}

func removeIfThere(path string) error {
	if err := os.Remove(path); !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// PlanStop returns the steps that end processes, of which before is said to be one.
func PlanStop(before *Config, running []Process) plan.Plan {
	program, err := Program()
	if err != nil {
		program = "" // it has been uninstalled while it ran: then an undo can't start it
	}
	return planStop(program, before, running)
}

// planStop starts again, to undo it, only what the fan before says that it was: the
// arguments of a process are whoever's who has started it, and dnsmasq runs scripts.
func planStop(program string, before *Config, running []Process) plan.Plan {
	var p plan.Plan
	for _, r := range running {
		step := plan.Step{Text: fmt.Sprintf("kill %d # dnsmasq %s", r.PID, marker(r.Bridge)), Do: func() error { return Stop(r) }}
		if program != "" && before != nil {
			was := *before
			was.NoDNS = slices.Contains(r.Args, noDNS)
			if slices.Equal(was.Args(), r.Args) {
				step.Undo = func() error { return Start(program, was.Args()) }
			}
		}
		p = append(p, step)
	}
	return p
}
