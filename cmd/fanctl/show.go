package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/fanctl/fanctl/fan"
	"github.com/fanctl/fanctl/internal/command"
	"github.com/fanctl/fanctl/internal/host"
	"github.com/fanctl/fanctl/tunnel"
)

func showCommand(usage cli.OnUsageErrorFunc) *cli.Command {
	return &cli.Command{
		Name:         "show",
		Usage:        "show the fans that are up, or everything about one",
		UsageText:    "fanctl show [--json]\nfanctl show FAN... [--json]\n\nfanctl show fan-250",
		Description:  "FAN is a bridge or an overlay; with it, all that is known of the fan is shown.",
		Flags:        []cli.Flag{&cli.BoolFlag{Name: "verbose", Aliases: []string{"v"}, Usage: "show all of every fan"}, command.JSONFlag()},
		OnUsageError: usage,
		Action: func(c *cli.Context) error {
			return withHost(func(h *host.Host) error {
				fans, err := h.List()
				if err != nil {
					return err
				}
				named := c.Args().Present()
				if named {
					if fans, err = selectFans(fans, c.Args().Slice()); err != nil {
						return err
					}
				}
				switch {
				case c.Bool("json"):
					return showJSON(c.App.Writer, fans)
				case named || c.Bool("verbose"):
					return showDetail(c.App.Writer, fans)
				}
				if err := showTable(c.App.Writer, fans); err != nil || len(fans) > 0 || !command.IsTerminal(c.App.Writer) {
					return err
				}
				command.PrintNote(c.App, "no fan is up")
				return nil
			})
		},
	}
}

// showTable prints the columns of the original tools, in their widths: scripts
// read them.
func showTable(out io.Writer, fans []host.Status) error {
	const row = "%-16s %-20s %-20s %s"
	var text strings.Builder
	fmt.Fprintln(&text, command.PainterOf(out).Bold(fmt.Sprintf(row, "Bridge", "Underlay", "Overlay", "Flags")))
	for _, s := range fans {
		underlay := fmt.Sprintf("%s/%d", s.Fan.Host, s.Fan.Mapping.Underlay().Bits())
		fmt.Fprintf(&text, row+"\n", s.Fan.Bridge, underlay, s.Fan.Mapping.Overlay(), flags(s))
	}
	_, err := io.WriteString(out, text.String())
	return err
}

func flags(s host.Status) string {
	f := s.Fan
	words := []string{"type=" + f.Type.String()}
	if f.Type == fan.IPIP {
		words = append(words, "datapath="+s.Datapath.String())
	}
	if f.Bridge != fan.BridgeName(f.Mapping.Overlay()) {
		words = append(words, "bridge="+f.Bridge)
	}
	if f.Port != 0 && f.Port != fan.DefaultPort {
		words = append(words, fmt.Sprintf("port=%d", f.Port))
	}
	if f.FixedMTU {
		words = append(words, fmt.Sprintf("mtu=%d", f.MTU))
	}
	switch f.Fast {
	case fan.FastIfSafe:
		words = append(words, "fast")
	case fan.FastAnyway:
		words = append(words, "fast=force")
	}
	if !f.NAT {
		words = append(words, "no-nat")
	}
	if f.DHCP {
		words = append(words, "dhcp")
	}
	if f.Reserve > 1 {
		words = append(words, fmt.Sprintf("host-reserve=%d", f.Reserve))
	}
	if f.Auto {
		words = append(words, "auto")
	}
	return strings.Join(words, " ")
}

// fanJSON is a fan as show --json prints it; its fields are a promise to
// scripts.
type fanJSON struct {
	Bridge   string           `json:"bridge"`
	Underlay string           `json:"underlay"`
	Host     string           `json:"host"`
	Device   string           `json:"device"`
	Overlay  string           `json:"overlay"`
	Slice    string           `json:"slice"`
	Address  string           `json:"address"`
	Type     string           `json:"type"`
	Datapath string           `json:"datapath"`
	Tunnel   string           `json:"tunnel"`
	Port     uint16           `json:"port,omitempty"`
	VNI      uint32           `json:"vni,omitempty"`
	MTU      int              `json:"mtu"`
	MTUFixed bool             `json:"mtu_fixed"`            // it was given, and does not follow the device's
	Fast     string           `json:"fast,omitempty"`       // "on" or "force", as it was asked for
	Ports    *int             `json:"fast_ports,omitempty"` // of containers that have the program of a fast fan
	Past     []string         `json:"fast_off,omitempty"`   // what packets would go past, so that the fan is not fast now
	NAT      bool             `json:"nat"`
	Auto     bool             `json:"auto"`
	DHCP     *dhcpJSON        `json:"dhcp"` // null without
	Reserve  uint8            `json:"host_reserve"`
	Counters *tunnel.Counters `json:"counters"`
}

type dhcpJSON struct {
	First   string `json:"first"`
	Last    string `json:"last"`
	Process *int   `json:"process"` // 0 if it does not run, null if that is not known
}

func showJSON(out io.Writer, fans []host.Status) error {
	list := []fanJSON{}
	for _, s := range fans {
		list = append(list, jsonOf(s))
	}
	return command.PrintJSON(out, map[string]any{"fans": list})
}

func jsonOf(s host.Status) fanJSON {
	f := s.Fan
	j := fanJSON{
		Bridge: f.Bridge, Underlay: f.Mapping.Underlay().String(), Host: f.Host.String(), Device: f.Device,
		Overlay: f.Mapping.Overlay().String(), Slice: f.Slice().String(), Address: f.BridgePrefix().String(),
		Type: f.Type.String(), Datapath: s.Datapath.String(), Tunnel: s.Tunnel, Port: f.Port,
		MTU: int(f.MTU), MTUFixed: f.FixedMTU, Fast: f.Fast.String(), NAT: f.NAT, Auto: f.Auto, Reserve: max(f.Reserve, 1),
		Counters: s.Counters, Ports: s.FastPorts, Past: s.SlowBecause,
	}
	if f.Type == fan.VXLAN {
		j.VNI = fan.VNI(f.Mapping.Overlay())
	}
	if f.DHCP {
		first, last := f.Leases()
		j.DHCP = &dhcpJSON{first.String(), last.String(), s.Server}
	}
	return j
}
