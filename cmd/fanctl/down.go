package main

import (
	"fmt"
	"net/netip"

	"github.com/urfave/cli/v2"

	"github.com/fanctl/fanctl/fan"
	"github.com/fanctl/fanctl/internal/host"
)

func downCommand(usage cli.OnUsageErrorFunc) *cli.Command {
	return &cli.Command{
		Name:      "down",
		Usage:     "take a fan down, or what is left of it; one that is not up is fine",
		UsageText: "fanctl down -u UNDERLAY -o OVERLAY [OPTION...]\n\nfanctl down -u eth0/16 -o 250.0.0.0/8",
		Flags: append(networkFlags(),
			&cli.BoolFlag{Name: "force", Usage: "detach what is still attached to the bridge"},
			planFlag()),
		OnUsageError: usage,
		Action: func(c *cli.Context) error {
			if err := noWords(c); err != nil {
				return err
			}
			underlay, overlay, err := networks(c)
			if err != nil {
				return err
			}
			request := host.DownRequest{Underlay: underlay, Overlay: overlay, Force: c.Bool("force")}
			return withHost(func(h *host.Host) error {
				result, err := h.Down(request, c.Bool("dry-run"))
				if err != nil {
					return err
				}
				if c.Bool("dry-run") {
					return printPlan(c.App.Writer, result.Plan)
				}
				state := "is down"
				if len(result.Plan) == 0 {
					state = "was not up"
				}
				_, err = fmt.Fprintf(c.App.Writer, "%s %s\n", result.Fan.Bridge, state)
				return err
			})
		},
	}
}

// networks reads the options that name a fan.
func networks(c *cli.Context) (underlay fan.UnderlaySpec, overlay netip.Prefix, err error) {
	word, err := given(c, "underlay", "eth0/16")
	if err != nil {
		return underlay, overlay, err
	}
	if underlay, err = fan.ParseUnderlay(word); err != nil {
		return underlay, overlay, err
	}
	if word, err = given(c, "overlay", "250.0.0.0/8"); err != nil {
		return underlay, overlay, err
	}
	overlay, err = fan.ParseOverlay(word)
	return underlay, overlay, err
}
