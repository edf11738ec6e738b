package main

import (
	"cmp"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/fanctl/fanctl/fan"
	"github.com/fanctl/fanctl/internal/command"
	"github.com/fanctl/fanctl/internal/host"
)

func downCommand(usage cli.OnUsageErrorFunc) *cli.Command {
	return &cli.Command{
		Name:      "down",
		Usage:     "take a fan down, or what is left of it; one that is not up is fine",
		UsageText: "fanctl down -u UNDERLAY -o OVERLAY [OPTION...]\nfanctl down OVERLAY UNDERLAY [OPTION...]\nfanctl down -a\nfanctl down -e\n\nfanctl down -u eth0/16 -o 250.0.0.0/8",
		Description: "Links, addresses, routes, rules and settings are as they were before. A bridge that containers are attached\n" +
			"to stays, unless --force detaches them. Leases are kept.",
		Flags: append(command.NetworkFlags(),
			&cli.BoolFlag{Name: "force", Usage: "detach what is still attached to the bridge"},
			&cli.BoolFlag{Name: "all", Aliases: []string{"a"}, Usage: "take down what up -a has brought up"},
			&cli.BoolFlag{Name: "every", Aliases: []string{"e"}, Usage: "take down every fan"},
			command.PlanFlag(), command.VerboseFlag(), command.JSONFlag()),
		OnUsageError: withoutList(usage),
		Action: func(c *cli.Context) error {
			return reported(c, func(r *reporter) error {
				switch {
				case c.Bool("every"):
					return downList(c, r, "every", func(fan.Fan) bool { return true })
				case c.Bool("all"):
					return downList(c, r, "all", func(f fan.Fan) bool { return f.Auto })
				}
				return downOne(c, r)
			})
		},
	}
}

// withoutList says that no list is read to who names one as for up -a: the fans know
// whether a list has brought them up, and one that is off the list has to go, too.
func withoutList(usage cli.OnUsageErrorFunc) cli.OnUsageErrorFunc {
	return func(c *cli.Context, err error, sub bool) error {
		if strings.HasSuffix(err.Error(), "not defined: -file") {
			return fan.Usagef("option --file is not for down: -a takes down what up -a has brought up, of whichever list; leave it out")
		}
		return usage(c, err, sub)
	}
}

func downOne(c *cli.Context, r *reporter) error {
	spec, err := command.SpecOf(c)
	if err != nil {
		return cmp.Or(namedByBridge(c), err)
	}
	request := host.DownRequest{Underlay: spec.Underlay, Overlay: spec.Overlay, Force: c.Bool("force")}
	return explaining(c, func(h *host.Host) error {
		result, err := h.Down(request, c.Bool("dry-run"))
		if err != nil {
			return err
		}
		return r.done(result, downText)
	})
}

// namedByBridge says which networks a fan has that is named by its bridge alone. They
// have to be given: a name is that of several fans, and taking down can't be undone.
func namedByBridge(c *cli.Context) (err error) {
	if c.NArg() != 1 {
		return nil
	}
	failed := withHost(func(h *host.Host) error {
		fans, failed := h.Fans()
		for _, f := range fans {
			if f.Bridge == c.Args().First() {
				err = fan.Usagef("down wants -u UNDERLAY -o OVERLAY: %s is -u %s -o %s", f.Bridge, f.Mapping.Underlay(), f.Mapping.Overlay())
			}
		}
		return failed
	})
	if failed != nil {
		return nil // the words are wrong anyway, which is told
	}
	return err
}

func downText(r host.Result) string {
	if len(r.Plan) == 0 {
		return r.Fan.Bridge + " was not up"
	}
	return r.Fan.Bridge + " is down"
}
