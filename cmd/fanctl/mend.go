package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/fanctl/fanctl/fan"
	"github.com/fanctl/fanctl/internal/host"
	"github.com/fanctl/fanctl/internal/plan"
)

// upEvery puts every fan right that is up. It says only what was wrong, for a timer
// runs it again and again.
func upEvery(c *cli.Context, r *reporter) error {
	if err := noFan(c, "every"); err != nil {
		return err
	}
	for _, option := range []string{"wait", "file"} {
		if c.IsSet(option) {
			return fan.Usagef("--every and --%s don't go together; leave one out", option)
		}
	}
	return explaining(c, func(h *host.Host) error {
		return h.Mend(c.Bool("dry-run"), func(result host.Result, err error) {
			switch {
			case err == nil && len(result.Plan) > 0:
				err = r.done(result, mended)
			case result.Fan.Bridge == "":
				r.note(result) // of no fan
			}
			if err != nil {
				r.failed(err)
			}
		})
	})
}

// mended says in one line what was put right.
func mended(r host.Result) string {
	steps := fmt.Sprintf("%d steps", len(r.Plan))
	if len(r.Plan) == 1 {
		steps = "1 step"
	}
	line := fmt.Sprintf("%s is put right in %s (%s)", r.Fan.Bridge, steps, strings.Join(commands(r.Plan), ", "))
	if r.Was == nil {
		return line
	}
	if r.Was.Device != r.Fan.Device {
		line += fmt.Sprintf("; the underlay device was %s and is %s", r.Was.Device, r.Fan.Device)
	}
	if r.Was.MTU != r.Fan.MTU {
		line += fmt.Sprintf("; the MTU was %d and is %d", r.Was.MTU, r.Fan.MTU)
	}
	if r.Was.Slice() != r.Fan.Slice() {
		line += "; " + movedSlice(r) + "; what is attached stays so, and needs an address of the new slice"
	}
	return line
}

// movedSlice says that a host has another address and so another slice.
func movedSlice(r host.Result) string {
	return fmt.Sprintf("this host's address was %s and is %s, so its slice was %s and is %s", r.Was.Host, r.Fan.Host, r.Was.Slice(), r.Fan.Slice())
}

// commands returns the commands of a plan, each once: "ip link", "iptables".
func commands(p plan.Plan) []string {
	var list []string
	for _, step := range p {
		words := strings.Fields(step.Text)
		name := words[0]
		if slices.Contains([]string{"ip", "tc", "bpftool", "bridge"}, name) {
			name += " " + words[1]
		}
		if !slices.Contains(list, name) {
			list = append(list, name)
		}
	}
	return list
}
