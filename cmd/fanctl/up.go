package main

import (
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/urfave/cli/v2"

	"github.com/fanctl/fanctl/fan"
	"github.com/fanctl/fanctl/internal/command"
	"github.com/fanctl/fanctl/internal/host"
	"github.com/fanctl/fanctl/internal/plan"
)

// errDebug keeps a fan with the word debug from counting as up.
var errDebug = errors.New("debug: nothing was done; leave the word out to bring the fan up")

func upCommand(usage cli.OnUsageErrorFunc) *cli.Command {
	return &cli.Command{
		Name:  "up",
		Usage: "bring a fan up; one that is up already stays as it is",
		UsageText: "fanctl up -u UNDERLAY -o OVERLAY [OPTION...]\nfanctl up OVERLAY UNDERLAY [OPTION...]\nfanctl up -a\nfanctl up -e\n\n" +
			"fanctl up -u eth0/16 -o 250.0.0.0/8\nfanctl up -u 10.0.0.0/16 -o 250 --type vxlan --dhcp\nfanctl up 250.0.0.0/8 eth0/16 dhcp",
		Description: "Run again, it changes what is asked for otherwise and puts right what is wrong, and no packet is lost.\n" +
			"Another type, port or bridge needs a down first. Where it fails it undoes what it did.",
		Flags: append(slices.Concat(command.NetworkFlags(), command.FanFlags()),
			&cli.BoolFlag{Name: "all", Aliases: []string{"a"}, Usage: "bring up every fan that the list has"}, command.FileFlag(),
			&cli.BoolFlag{Name: "every", Aliases: []string{"e"}, Usage: "put every fan right that is up, and say only what was wrong"},
			waitFlag(),
			&cli.BoolFlag{Name: "enable", Usage: "bring it up, as always; a word of lists"},
			&cli.BoolFlag{Name: "disable", Aliases: []string{"off"}, Usage: "do nothing; a word of lists"},
			&cli.BoolFlag{Name: "debug", Usage: "show what would be done and why, do nothing, and fail"},
			command.PlanFlag(), command.VerboseFlag(), command.JSONFlag()),
		OnUsageError: usage,
		Action: func(c *cli.Context) error {
			return reported(c, func(r *reporter) error {
				switch {
				case c.Bool("every"):
					return upEvery(c, r)
				case c.Bool("all"):
					return upList(c, r)
				}
				return upOne(c, r)
			})
		},
	}
}

func upOne(c *cli.Context, r *reporter) error {
	spec, err := command.SpecOf(c)
	if err != nil {
		return err
	}
	if spec.Off {
		return nil // a line of a list, switched off
	}
	if spec.Debug {
		return debugUp(c, r, spec)
	}
	end, err := deadlineOf(c)
	if err != nil {
		return err
	}
	return explaining(c, func(h *host.Host) error {
		if !end.over() {
			if err := h.Await(end.wait, spec.Underlay); err != nil {
				return err
			}
		}
		h.Patience = end.patience()
		result, err := h.Up(spec, c.Bool("dry-run"))
		if err != nil {
			return err
		}
		return r.done(result, upText)
	})
}

// debugUp does what the word of 2015 did: it shows what it would do, does nothing, and
// that is a failure.
func debugUp(c *cli.Context, r *reporter, spec fan.Spec) error {
	return withHost(func(h *host.Host) error {
		if !c.Bool("json") {
			h.Explain = func(reason string) { fmt.Fprintf(c.App.Writer, "# %s\n", reason) }
		}
		result, err := h.Up(spec, true)
		if err != nil {
			return err
		}
		if err := r.planned(result); err != nil {
			return err
		}
		return errDebug
	})
}

func printPlan(out io.Writer, p plan.Plan) error {
	for _, step := range p {
		if _, err := fmt.Fprintln(out, step); err != nil {
			return err
		}
	}
	return nil
}

// upText says in two lines what exists and what to do next.
func upText(r host.Result) string {
	state := "is up"
	if len(r.Plan) == 0 {
		state = "was up already"
	}
	moved := ""
	if r.Was != nil && r.Was.Slice() != r.Fan.Slice() {
		moved = fmt.Sprintf("%s has moved: %s\nwhat is attached stays so, and needs an address of the new slice\n", r.Fan.Bridge, movedSlice(r))
	}
	return fmt.Sprintf("%s%s %s: this host has %s, bridge address %s, MTU %d, by %s over %s\n"+
		"attach containers to bridge %s; on other hosts run the same command",
		moved, r.Fan.Bridge, state, r.Fan.Slice(), r.Fan.BridgePrefix(), r.Fan.MTU, r.Fan.Type, r.Fan.Device, r.Fan.Bridge)
}
