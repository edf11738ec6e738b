package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/fanctl/fanctl/fan"
	"github.com/fanctl/fanctl/internal/command"
	"github.com/fanctl/fanctl/internal/host"
)

// lookupTime is how long a name may take to be found.
const lookupTime = 10 * time.Second

func calcCommand(usage cli.OnUsageErrorFunc) *cli.Command {
	return &cli.Command{
		Name:  "calc",
		Usage: "say who owns an address, or what this host owns",
		UsageText: "fanctl calc [-u UNDERLAY -o OVERLAY] [ADDRESS|NAME...]\n\n" +
			"fanctl calc 250.0.45.7\nfanctl calc -u 10.0.0.0/16 -o 250.0.0.0/8 10.0.0.45",
		Description: "ADDRESS is one of the overlay or of the underlay, NAME a host's or a fan's. Without -u and -o it is\n" +
			"looked for in the fans that are up here.",
		Flags:        append(command.NetworkFlags(), command.VerboseFlag(), command.JSONFlag()),
		OnUsageError: usage,
		Action: func(c *cli.Context) error {
			named, err := namedNetworks(c)
			if err != nil {
				return err
			}
			return explaining(c, func(h *host.Host) error {
				ctx, cancel := context.WithTimeout(context.Background(), lookupTime)
				defer cancel()
				places, err := h.Calc(ctx, c.Args().Slice(), named)
				if err != nil && len(places) == 0 {
					return eachTold(c, err)
				}
				show := calcTable
				if c.Bool("json") {
					show = calcJSON
				}
				return cmp.Or(show(c.App.Writer, places), eachTold(c, err))
			})
		},
	}
}

// eachTold tells errors that were joined in a line each.
func eachTold(c *cli.Context, err error) error {
	var joined interface{ Unwrap() []error }
	if !errors.As(err, &joined) {
		return err
	}
	for _, err := range joined.Unwrap() {
		command.PrintError(c.App, err)
	}
	return command.ReportedError{Err: err}
}

// namedNetworks reads the options that name a fan, if they are there; words are
// something else here.
func namedNetworks(c *cli.Context) (fan.Spec, error) {
	var words []string
	for _, name := range []string{"underlay", "overlay"} {
		if c.IsSet(name) {
			words = append(words, "--"+name+"="+c.String(name))
		}
	}
	if len(words) == 0 {
		return fan.Spec{}, nil
	}
	return fan.ParseSpec(words)
}

func calcTable(out io.Writer, places []host.Place) error {
	const row = "%-16s %-16s %-20s %-16s %s"
	var text strings.Builder
	line := func(a ...any) { fmt.Fprintln(&text, strings.TrimRight(fmt.Sprintf(row, a...), " ")) }
	fmt.Fprintln(&text, command.PainterOf(out).Bold(fmt.Sprintf(row, "Address", "Host", "Slice", "Bridge address", "Fan")))
	for _, p := range places {
		name := cmp.Or(p.Bridge, "-")
		if p.Here {
			name += ", this host"
		}
		line(p.Address, p.Owner.Host, p.Owner.Slice, p.Owner.Bridge, name)
	}
	_, err := io.WriteString(out, text.String())
	return err
}

// placeJSON is a place as calc --json prints it; its fields are a promise to
// scripts.
type placeJSON struct {
	Asked    string `json:"asked"`
	Address  string `json:"address"`
	Fan      string `json:"fan"` // "" where another fan has its name
	Underlay string `json:"underlay"`
	Overlay  string `json:"overlay"`
	Host     string `json:"host"`
	Slice    string `json:"slice"`
	Bridge   string `json:"bridge_address"`
	Here     bool   `json:"this_host"`
}

func calcJSON(out io.Writer, places []host.Place) error {
	list := []placeJSON{}
	for _, p := range places {
		list = append(list, placeJSON{Asked: p.Asked, Address: p.Address.String(), Fan: p.Bridge,
			Underlay: p.Mapping.Underlay().String(), Overlay: p.Mapping.Overlay().String(), Host: p.Owner.Host.String(),
			Slice: p.Owner.Slice.String(), Bridge: p.Owner.Bridge.String(), Here: p.Here})
	}
	return command.PrintJSON(out, map[string]any{"addresses": list})
}
