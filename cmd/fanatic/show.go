package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/fanctl/fanctl/internal/command"
	"github.com/fanctl/fanctl/internal/docker"
	"github.com/fanctl/fanctl/internal/setup"
)

func showCommand(usage cli.OnUsageErrorFunc) *cli.Command {
	return &cli.Command{
		Name: "show", Usage: "show the fans of this host and what is on them", UsageText: "fanatic show [--json]",
		Flags: []cli.Flag{command.FileFlag(), command.JSONFlag()}, OnUsageError: usage,
		Action: func(c *cli.Context) error {
			if err := command.NoWords(c); err != nil {
				return err
			}
			return onHost(c, func(s *setup.Setup) error {
				list, err := s.Look(c.Context)
				if list == nil && err != nil {
					return err
				}
				if err != nil {
					command.PrintNote(c.App, command.OneLine(err))
				}
				if c.Bool("json") {
					return showJSON(c.App.Writer, list)
				}
				return showTable(c.App.Writer, list)
			})
		},
	}
}

// showTable prints the columns of the original: scripts read them.
func showTable(out io.Writer, list []setup.Status) error {
	const row = "%-20s %-20s %-8s %-8s %s"
	var text strings.Builder
	fmt.Fprintln(&text, command.PainterOf(out).Bold(fmt.Sprintf(row, "Underlay", "Overlay", "Fan", "Docker", "LXD")))
	for _, s := range list {
		state := "-"
		if s.Fan != nil {
			state = "up"
		}
		fmt.Fprintf(&text, row+"\n", s.Underlay(), s.Spec.Overlay, state, enabled(s.Docker.Mode != docker.Off), enabled(len(s.LXD) > 0))
	}
	_, err := io.WriteString(out, text.String())
	return err
}

func enabled(on bool) string {
	if on {
		return "enabled"
	}
	return "-"
}

// fanJSON is a fan as show --json prints it; its fields are a promise to scripts.
type fanJSON struct {
	Underlay string     `json:"underlay"`
	Overlay  string     `json:"overlay"`
	Bridge   string     `json:"bridge"`
	Up       bool       `json:"up"`
	Slice    string     `json:"slice,omitempty"` // of one that is up
	Listed   bool       `json:"listed"`          // it is up after a reboot
	Ours     bool       `json:"by_fanatic"`      // deconfigure takes it away
	Docker   dockerJSON `json:"docker"`
	LXD      lxdJSON    `json:"lxd"`
}

type dockerJSON struct {
	Mode       string   `json:"mode"` // default, network, or - if it is not on the fan
	Containers []string `json:"containers"`
}

type lxdJSON struct {
	Engines   []string `json:"engines"` // of LXD and Incus those that have the profile
	Instances []string `json:"instances"`
}

func showJSON(out io.Writer, list []setup.Status) error {
	fans := []fanJSON{}
	for _, s := range list {
		f := fanJSON{Underlay: s.Underlay(), Overlay: s.Spec.Overlay.String(), Bridge: s.Bridge(), Up: s.Fan != nil, Listed: s.Listed, Ours: s.Ours,
			Docker: dockerJSON{s.Docker.Mode.String(), append([]string{}, s.Docker.Users...)},
			LXD:    lxdJSON{append([]string{}, s.LXD...), append([]string{}, s.LXDUsers...)}}
		if s.Fan != nil {
			f.Slice = s.Fan.Slice().String()
		}
		fans = append(fans, f)
	}
	return command.PrintJSON(out, map[string]any{"fans": fans})
}
