package main

import (
	"fmt"

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
			planFlag()),
		OnUsageError: usage,
		Action: func(c *cli.Context) error {
			switch {
			case c.Bool("every"):
				return downList(c, "every", func(fan.Fan) bool { return true })
			case c.Bool("all"):
				return downList(c, "all", func(f fan.Fan) bool { return f.Auto })
			}
			spec, err := specOf(c)
			if err != nil {
				return err
			}
			request := host.DownRequest{Underlay: spec.Underlay, Overlay: spec.Overlay, Force: c.Bool("force")}
			return withHost(func(h *host.Host) error {
				result, err := h.Down(request, c.Bool("dry-run"))
				if err != nil {
					return err
				}
				return reportDown(c, result)
			})
		},
	}
}

func reportDown(c *cli.Context, result host.Result) error {
	if c.Bool("dry-run") {
		return printPlan(c.App.Writer, result.Plan)
	}
	state := "is down"
	if len(result.Plan) == 0 {
		state = "was not up"
	}
	_, err := fmt.Fprintf(c.App.Writer, "%s %s\n", result.Fan.Bridge, state)
	return err
}
