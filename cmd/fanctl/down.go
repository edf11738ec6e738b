package main

import (
	"github.com/urfave/cli/v2"

	"github.com/fanctl/fanctl/fan"
	"github.com/fanctl/fanctl/internal/host"
)

func downCommand(usage cli.OnUsageErrorFunc) *cli.Command {
	return &cli.Command{
		Name:      "down",
		Usage:     "take a fan down, or what is left of it; one that is not up is fine",
		UsageText: "fanctl down -u UNDERLAY -o OVERLAY [OPTION...]\nfanctl down OVERLAY UNDERLAY [OPTION...]\nfanctl down -a\nfanctl down -e\n\nfanctl down -u eth0/16 -o 250.0.0.0/8",
		Description: "Links, addresses, routes, rules and settings are as they were before. A bridge that containers are attached\n" +
			"to stays, unless --force detaches them. Leases are kept.",
		Flags: append(networkFlags(),
			&cli.BoolFlag{Name: "force", Usage: "detach what is still attached to the bridge"},
			&cli.BoolFlag{Name: "all", Aliases: []string{"a"}, Usage: "take down what up -a has brought up"},
			&cli.BoolFlag{Name: "every", Aliases: []string{"e"}, Usage: "take down every fan"},
			planFlag(), verboseFlag(), jsonFlag()),
		OnUsageError: usage,
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

func downOne(c *cli.Context, r *reporter) error {
	spec, err := specOf(c)
	if err != nil {
		return err
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

func downText(r host.Result) string {
	if len(r.Plan) == 0 {
		return r.Fan.Bridge + " was not up"
	}
	return r.Fan.Bridge + " is down"
}
