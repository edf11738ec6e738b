package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/fanctl/fanctl/fan"
	"github.com/fanctl/fanctl/internal/command"
	"github.com/fanctl/fanctl/internal/completion"
	"github.com/fanctl/fanctl/internal/host"
	"github.com/fanctl/fanctl/internal/plan"
)

// version is set by the linker (Makefile).
var version string

// run is the program: answers go to out, everything else to errOut.
func run(args []string, out, errOut io.Writer) (code int) {
	app := newApp(out, errOut)
	code = command.ExitCode(app, command.Run(context.Background(), app, args, unknownCommand))
	if hookDevice() != "" {
		return 0
	}
	return code
}

func newApp(out, errOut io.Writer) *cli.App {
	usage := command.UsageError("fanctl")
	app := &cli.App{
		Name:  "fanctl",
		Usage: "overlay networking for containers with no database, no consensus and no control plane",
		Description: "A host with the underlay address 10.0.A.B owns the overlay subnet 250.A.B.0/24, and every host\n" +
			"computes from an overlay address alone where to send.",
		UsageText: "fanctl up -u UNDERLAY -o OVERLAY [OPTION...]\nfanctl up -a|-e\nfanctl down -u UNDERLAY -o OVERLAY [OPTION...]\nfanctl down -a|-e\n" +
			"fanctl show [FAN...] [--json]\nfanctl calc [ADDRESS|NAME...] [--json]\nfanctl features [--json]\nfanctl watch\nfanctl config list|show|set|delete [OPTION...]\nfanctl completion bash|zsh|fish\nfanctl help [COMMAND]",
		HideVersion:     true,
		HideHelpCommand: false,
		Writer:          out,
		ErrWriter:       errOut,
		OnUsageError:    usage,
		ExitErrHandler:  func(*cli.Context, error) {},
		Flags:           []cli.Flag{command.VersionFlag()},
		Commands: []*cli.Command{upCommand(usage), downCommand(usage), showCommand(usage), calcCommand(usage), featuresCommand(usage), watchCommand(usage), configCommand(usage), command.VersionCommand("fanctl", command.Version(version)),
			command.CompletionCommand("fanctl", completed), command.CompleteCommand(candidates())},
		Action: func(c *cli.Context) error {
			if c.Bool("version") {
				return command.PrintVersion(c, command.Version(version))
			}
			if c.Args().Present() {
				return unknownCommand(c.Args().First())
			}
			return cli.ShowAppHelp(c)
		},
	}
	command.PlainSwitches(app.Commands)
	return app
}

// completed says what completion knows.
const completed = "It completes commands, options and their values, the networks of this host, and the fans that are up."

func candidates() completion.Source {
	return command.Candidates(map[string]command.Takes{"up": command.NewFan, "config set": command.NewFan, "down": command.FanUp,
		"config delete": command.ListedFan, "show": command.Bridge, "calc": command.Bridge}, nil)
}

func unknownCommand(word string) error {
	return fan.Usagef("command %q is unknown; use up, down, show, calc, features, watch, config, completion, version or help", word)
}

// withHost runs a command on this host.
func withHost(do func(*host.Host) error) error {
	h, err := host.Open()
	if err != nil {
		return err
	}
	defer h.Close()
	h.StateDir = os.Getenv("FANCTL_STATE") // of the whole-program tests: they have leases of their own
	if hookDevice() != "" {
		h.Patience = hookWait
	}
	if h.Observe, err = command.Faults(); err != nil {
		return err
	}
	return do(h)
}

// explaining is withHost for a command that, with --verbose, says why it does what,
// and what it has done.
func explaining(c *cli.Context, do func(*host.Host) error) error {
	return withHost(func(h *host.Host) error {
		if c.Bool("verbose") {
			h.Explain = func(reason string) { fmt.Fprintf(c.App.ErrWriter, "# %s\n", reason) }
			h.Observe = tellSteps(c.App.ErrWriter, h.Observe)
		}
		return do(h)
	})
}

// tellSteps tells of each step that was done, before the next observer, if any.
func tellSteps(out io.Writer, next plan.Observer) plan.Observer {
	return func(index int, s plan.Step) error {
		fmt.Fprintf(out, "+ %s\n", strings.ReplaceAll(s.String(), "\n", "\n+ "))
		if next == nil {
			return nil
		}
		return next(index, s)
	}
}
