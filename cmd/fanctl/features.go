package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/fanctl/fanctl/fan"
	"github.com/fanctl/fanctl/internal/command"
	"github.com/fanctl/fanctl/internal/features"
	"github.com/fanctl/fanctl/internal/host"
)

func featuresCommand(usage cli.OnUsageErrorFunc) *cli.Command {
	return &cli.Command{
		Name:      "features",
		Usage:     "try what this kernel can do, and say how it would build a fan's tunnel",
		UsageText: "fanctl features [--json]",
		Description: "What is tried does not go by the kernel's version. Devices are made in a network namespace that is gone\n" +
			"afterwards; the kernel may load their modules. Without root most is unknown.",
		Flags:        []cli.Flag{command.JSONFlag()},
		OnUsageError: usage,
		Action: func(c *cli.Context) error {
			if c.Args().Present() {
				return fan.Usagef("%q is too many; features takes no words", c.Args().First())
			}
			return withHost(func(h *host.Host) error {
				f, err := h.Features()
				if err != nil {
					return err
				}
				if c.Bool("json") {
					return featuresJSON(c.App.Writer, f)
				}
				return featuresTable(c.App.Writer, f)
			})
		},
	}
}

// featuresTable prints the features by groups, for people, and what comes of them.
func featuresTable(out io.Writer, f host.Features) error {
	bold := command.PainterOf(out).Bold
	var text strings.Builder
	fmt.Fprintln(&text, bold("kernel "+f.Kernel))
	group := ""
	for _, x := range f.Features {
		if x.Group != group {
			group = x.Group
			fmt.Fprintln(&text, "\n"+bold(group))
		}
		fmt.Fprintf(&text, "  %-27s %-8s %s\n", x.Name, x.State, meaning(x))
	}
	if len(f.Programs) > 0 {
		fmt.Fprintf(&text, "\n%s\n", bold(fmt.Sprintf("  %-27s %12s %9s %13s", "program", "instructions", "verified", "machine code")))
	}
	for _, p := range f.Programs {
		fmt.Fprintf(&text, "  %-27s %12d %9s %13s\n", p.Name, p.Instructions, orDash(p.Verified), orDash(p.MachineCode))
	}
	fmt.Fprintln(&text, "\n"+bold("what up would do"))
	for _, p := range f.Paths {
		fmt.Fprintf(&text, "  %-27s %-8s %s\n", fmt.Sprintf("%s by %s", p.Type, p.Datapath), p.State, because(p))
	}
	_, err := io.WriteString(out, text.String())
	return err
}

// meaning is what follows from a feature, and what was found; of one that is not known
// only why not.
func meaning(x features.Feature) string {
	switch {
	case x.State == features.Unknown:
		return x.Detail
	case x.Detail == "":
		return x.Means
	}
	return fmt.Sprintf("%s (%s)", x.Means, x.Detail)
}

func orDash(n int) string {
	if n == 0 {
		return "-"
	}
	return fmt.Sprint(n)
}

func because(p host.Path) string {
	text := p.Why
	if len(p.Lacks) > 0 {
		text += "; lacks " + strings.Join(p.Lacks, ", ")
	}
	if len(p.Unsure) > 0 {
		text += "; not known: " + strings.Join(p.Unsure, ", ")
	}
	return text
}

// reportJSON is what features --json prints; its fields, and the names of features, are
// a promise to scripts.
type reportJSON struct {
	Kernel   string        `json:"kernel"`
	Features []featureJSON `json:"features"`
	Programs []programJSON `json:"programs"`
	Paths    []pathJSON    `json:"paths"`
}

type featureJSON struct {
	Group  string         `json:"group"`
	Name   string         `json:"name"`
	State  features.State `json:"state"`
	Detail string         `json:"detail"`
	Means  string         `json:"means"`
}

type programJSON struct {
	Object       string `json:"object"`
	Name         string `json:"name"`
	Instructions int    `json:"instructions"`
	Verified     *int   `json:"verified"`     // null where the kernel does not say
	MachineCode  int    `json:"machine_code"` // bytes; 0 if the program is interpreted
}

type pathJSON struct {
	Type     string         `json:"type"`
	Datapath string         `json:"datapath"`
	State    features.State `json:"state"`
	Why      string         `json:"why"`
	Lacks    []string       `json:"lacks"`
	Unsure   []string       `json:"unsure"`
}

func featuresJSON(out io.Writer, f host.Features) error {
	r := reportJSON{Kernel: f.Kernel, Features: []featureJSON{}, Programs: []programJSON{}, Paths: []pathJSON{}}
	for _, x := range f.Features {
		r.Features = append(r.Features, featureJSON(x))
	}
	for _, p := range f.Programs {
		j := programJSON{Object: p.Object, Name: p.Name, Instructions: p.Instructions, MachineCode: p.MachineCode}
		if p.Verified != 0 {
			j.Verified = &p.Verified
		}
		r.Programs = append(r.Programs, j)
	}
	for _, p := range f.Paths {
		r.Paths = append(r.Paths, pathJSON{p.Type.String(), p.Datapath.String(), p.State, p.Why,
			append([]string{}, p.Lacks...), append([]string{}, p.Unsure...)})
	}
	return command.PrintJSON(out, r)
}
