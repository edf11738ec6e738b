package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/fanctl/fanctl/fan"
	"github.com/fanctl/fanctl/internal/host"
	"github.com/fanctl/fanctl/tunnel"
)

func showCommand(usage cli.OnUsageErrorFunc) *cli.Command {
	return &cli.Command{
		Name:         "show",
		Usage:        "show the fans that are up",
		UsageText:    "fanctl show [--json]",
		Flags:        []cli.Flag{&cli.BoolFlag{Name: "json", Usage: "print all that is known, as JSON"}},
		OnUsageError: usage,
		Action: func(c *cli.Context) error {
			if err := noWords(c); err != nil {
				return err
			}
			return withHost(func(h *host.Host) error {
				fans, err := h.List()
				if err != nil {
					return err
				}
				if c.Bool("json") {
					return showJSON(c.App.Writer, fans)
				}
				return showTable(c.App.Writer, fans)
			})
		},
	}
}

// showTable prints the columns of the original tools, in their widths: scripts
// read them.
func showTable(out io.Writer, fans []host.Status) error {
	const row = "%-16s %-20s %-20s %s\n"
	var text strings.Builder
	fmt.Fprintf(&text, row, "Bridge", "Underlay", "Overlay", "Flags")
	for _, s := range fans {
		underlay := fmt.Sprintf("%s/%d", s.Fan.Host, s.Fan.Mapping.Underlay().Bits())
		fmt.Fprintf(&text, row, s.Fan.Bridge, underlay, s.Fan.Mapping.Overlay(), flags(s))
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
	if !f.NAT {
		words = append(words, "no-nat")
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
	NAT      bool             `json:"nat"`
	Counters *tunnel.Counters `json:"counters"`
}

func showJSON(out io.Writer, fans []host.Status) error {
	list := []fanJSON{}
	for _, s := range fans {
		f := s.Fan
		j := fanJSON{
			Bridge: f.Bridge, Underlay: f.Mapping.Underlay().String(), Host: f.Host.String(), Device: f.Device,
			Overlay: f.Mapping.Overlay().String(), Slice: f.Slice().String(), Address: f.BridgePrefix().String(),
			Type: f.Type.String(), Datapath: s.Datapath.String(), Tunnel: s.Tunnel, Port: f.Port,
			MTU: int(f.MTU), NAT: f.NAT, Counters: s.Counters,
		}
		if f.Type == fan.VXLAN {
			j.VNI = fan.VNI(f.Mapping.Overlay())
		}
		list = append(list, j)
	}
	encoder := json.NewEncoder(out)
	encoder.SetIndent("", "  ")
	return encoder.Encode(map[string]any{"fans": list})
}
