package main

import (
	"fmt"
	"io"

	"github.com/urfave/cli/v2"

	"github.com/fanctl/fanctl/fan"
	"github.com/fanctl/fanctl/internal/host"
	"github.com/fanctl/fanctl/internal/plan"
)

func upCommand(usage cli.OnUsageErrorFunc) *cli.Command {
	return &cli.Command{
		Name:      "up",
		Usage:     "bring a fan up; one that is up already stays as it is",
		UsageText: "fanctl up -u UNDERLAY -o OVERLAY [OPTION...]\n\nfanctl up -u eth0/16 -o 250.0.0.0/8",
		Flags: append(networkFlags(),
			&cli.StringFlag{Name: "type", Usage: "`TYPE` of the tunnel, the same on all hosts: ipip or vxlan", Value: fan.IPIP.String()},
			&cli.StringFlag{Name: "bridge", Usage: "`NAME` of the fan bridge (default: after the overlay, fan-250)"},
			&cli.StringFlag{Name: "port", Usage: "UDP `PORT` of a vxlan fan, the same on all hosts (default: 8472)"},
			&cli.BoolFlag{Name: "no-nat", Usage: "let packets leave the overlay with the containers' own addresses"},
			&cli.StringFlag{Name: "mtu", Usage: "`MTU` of overlay packets (default: the underlay device's, less the tunnel's header)"},
			&cli.StringFlag{Name: "datapath", Usage: "how an ipip tunnel is built on this host, `WAY`: auto, device or ebpf", Value: fan.Auto.String()},
			planFlag()),
		OnUsageError: usage,
		Action: func(c *cli.Context) error {
			request, err := upRequest(c)
			if err != nil {
				return err
			}
			return withHost(func(h *host.Host) error {
				result, err := h.Up(request, c.Bool("dry-run"))
				if err != nil {
					return err
				}
				if c.Bool("dry-run") {
					return printPlan(c.App.Writer, result.Plan)
				}
				return printUp(c.App.Writer, result)
			})
		},
	}
}

func upRequest(c *cli.Context) (r host.Request, err error) {
	if err := noWords(c); err != nil {
		return r, err
	}
	if r.Underlay, r.Overlay, err = networks(c); err != nil {
		return r, err
	}
	if r.Type, err = fan.ParseType(c.String("type")); err != nil {
		return r, err
	}
	if r.Datapath, err = fan.ParseDatapath(c.String("datapath")); err != nil {
		return r, err
	}
	if c.IsSet("bridge") {
		if r.Bridge, err = fan.ParseBridgeName(c.String("bridge")); err != nil {
			return r, err
		}
	}
	if c.IsSet("port") {
		if r.Port, err = fan.ParsePort(c.String("port")); err != nil {
			return r, err
		}
	}
	if c.IsSet("mtu") {
		if r.MTU, err = fan.ParseMTU(c.String("mtu")); err != nil {
			return r, err
		}
	}
	r.NoNAT = c.Bool("no-nat")
	return r, nil
}

func printPlan(out io.Writer, p plan.Plan) error {
	for _, step := range p {
		if _, err := fmt.Fprintln(out, step); err != nil {
			return err
		}
	}
	return nil
}

func printUp(out io.Writer, r host.Result) error {
	state := "is up"
	if len(r.Plan) == 0 {
		state = "was up already"
	}
	_, err := fmt.Fprintf(out, "%s %s: this host has %s, bridge address %s, MTU %d, by %s over %s\n"+
		"attach containers to bridge %s; on other hosts run the same command\n",
		r.Fan.Bridge, state, r.Fan.Slice(), r.Fan.BridgePrefix(), r.Fan.MTU, r.Fan.Type, r.Fan.Device, r.Fan.Bridge)
	return err
}
