package command

import (
	"github.com/urfave/cli/v2"

	"github.com/fanctl/fanctl/fan"
	"github.com/fanctl/fanctl/ifupdown"
)

// NetworkFlags name a fan.
func NetworkFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "underlay", Aliases: []string{"u"}, Usage: "network of the hosts: `UNDERLAY` is 10.0.0.0/16, this host's address 10.0.0.45/16, a device eth0/16, or default/16; /16 if no mask is given"},
		&cli.StringFlag{Name: "overlay", Aliases: []string{"o"}, Usage: "network of the containers: `OVERLAY` is 250.0.0.0/8, or 250 for short"},
	}
}

// FanFlags say what a fan is like.
func FanFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "type", Usage: "`TYPE` of the tunnel, the same on all hosts: ipip or vxlan", Value: fan.IPIP.String()},
		&cli.StringFlag{Name: "bridge", Usage: "`NAME` of the fan bridge (default: after the overlay, fan-250)"},
		&cli.StringFlag{Name: "port", Usage: "UDP `PORT` of a vxlan fan, the same on all hosts (default: 8472)"},
		&cli.BoolFlag{Name: "no-nat", Usage: "let packets leave the overlay with the containers' own addresses"},
		&cli.StringFlag{Name: "mtu", Usage: "`MTU` of overlay packets (default: the underlay device's, less the tunnel's header)"},
		&cli.BoolFlag{Name: "dhcp", Usage: "hand out addresses, MTU and names to containers on the bridge, by dnsmasq"},
		&cli.StringFlag{Name: "host-reserve", Usage: "give the bridge the first `N` addresses of the slice; DHCP starts behind (default: 1)"},
		&cli.StringFlag{Name: "datapath", Usage: "how an ipip tunnel receives on this host, `WAY`: auto, device (with the kernel's for fragments) or ebpf", Value: fan.Auto.String()},
		newAttachedFlag("fast", "take containers' TCP and UDP past this host's network stack and firewall; refused if rules are in the way, unless it is --fast=force", fan.FastIfSafe.String()),
	}
}

// FileFlag names the list of fans.
func FileFlag() cli.Flag {
	return &cli.StringFlag{Name: "file", Usage: "the list of fans, `FILE`", Value: ifupdown.Path}
}

// JSONFlag asks for an answer to programs.
func JSONFlag() cli.Flag {
	return &cli.BoolFlag{Name: "json", Usage: "print all that is known, as JSON"}
}

// VerboseFlag asks for reasons.
func VerboseFlag() cli.Flag {
	return &cli.BoolFlag{Name: "verbose", Aliases: []string{"v"}, Usage: "say why, and print each step that is done"}
}

// PlanFlag asks for a plan alone.
func PlanFlag() cli.Flag {
	return &cli.BoolFlag{Name: "dry-run", Usage: "print the steps and change nothing"}
}

// PlainSwitches keeps help from saying of every switch that it is off.
func PlainSwitches(commands []*cli.Command) {
	for _, c := range commands {
		for _, f := range c.Flags {
			if b, ok := f.(*cli.BoolFlag); ok {
				b.DisableDefaultText = true
			}
		}
		PlainSwitches(c.Subcommands)
	}
}
