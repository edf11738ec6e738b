package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/fanctl/fanctl/fan"
	"github.com/fanctl/fanctl/internal/host"
	"github.com/fanctl/fanctl/internal/plan"
)

// Exit codes, a promise to scripts.
const (
	exitFailure = 1
	exitUsage   = 2
)

// run is the program: answers go to out, everything else to errOut.
func run(args []string, out, errOut io.Writer) (code int) {
	app := newApp(out, errOut)
	var noTopic error // the library asks for no answer where help was asked for
	app.CommandNotFound = func(_ *cli.Context, word string) { noTopic = unknownCommand(word) }
	args = wordsLast(args, app.Commands)
	err := app.Run(args)
	if err == nil {
		err = noTopic
	}
	if err == nil {
		return 0
	}
	if _, done := err.(reportedError); !done { //nolint:errorlint // never wrapped
		printError(errOut, err)
	}
	if hookDevice() != "" {
		return 0
	}
	return codeOf(err)
}

// printError tells an error in one line, also if undoing has failed as well, or a
// word has a line's end.
func printError(out io.Writer, err error) {
	fmt.Fprintf(out, "%s %s\n", painterOf(out).red("fanctl:"), oneLine(err))
}

func oneLine(err error) string { return strings.ReplaceAll(strings.TrimSpace(err.Error()), "\n", "; ") }

func codeOf(err error) int {
	if errors.Is(err, fan.ErrUsage) {
		return exitUsage
	}
	return exitFailure
}

// reportedError is an error that has been told already.
type reportedError struct{ error }

func (e reportedError) Unwrap() error { return e.error }

func newApp(out, errOut io.Writer) *cli.App {
	usage := func(_ *cli.Context, err error, _ bool) error {
		if option, unknown := strings.CutPrefix(err.Error(), "flag provided but not defined: -"); unknown {
			return fan.Usagef("option --%s is not known; see fanctl help", strings.TrimLeft(option, "-"))
		}
		return fan.Usagef("%v; see fanctl help", err)
	}
	app := &cli.App{
		Name:  "fanctl",
		Usage: "overlay networking for containers with no database, no consensus and no control plane",
		Description: "A host with the underlay address 10.0.A.B owns the overlay subnet 250.A.B.0/24, and every host\n" +
			"computes from an overlay address alone where to send.",
		UsageText: "fanctl up -u UNDERLAY -o OVERLAY [OPTION...]\nfanctl up -a|-e\nfanctl down -u UNDERLAY -o OVERLAY [OPTION...]\nfanctl down -a|-e\n" +
			"fanctl show [FAN...] [--json]\nfanctl calc [ADDRESS|NAME...] [--json]\nfanctl config list|show|set|delete [OPTION...]\nfanctl completion bash|zsh|fish\nfanctl help [COMMAND]",
		HideVersion:     true,
		HideHelpCommand: false,
		Writer:          out,
		ErrWriter:       errOut,
		OnUsageError:    usage,
		ExitErrHandler:  func(*cli.Context, error) {},
		Flags:           []cli.Flag{versionFlag()},
		Commands: []*cli.Command{upCommand(usage), downCommand(usage), showCommand(usage), calcCommand(usage), configCommand(usage), versionCommand(usage),
			completionCommand(usage), completeCommand()},
		Action: func(c *cli.Context) error {
			if c.Bool("version") {
				return printVersion(c)
			}
			if c.Args().Present() {
				return unknownCommand(c.Args().First())
			}
			return cli.ShowAppHelp(c)
		},
	}
	plainSwitches(app.Commands)
	return app
}

// plainSwitches keeps help from saying of every switch that it is off.
func plainSwitches(commands []*cli.Command) {
	for _, c := range commands {
		for _, f := range c.Flags {
			if b, ok := f.(*cli.BoolFlag); ok {
				b.DisableDefaultText = true
			}
		}
		plainSwitches(c.Subcommands)
	}
}

func unknownCommand(word string) error {
	return fan.Usagef("command %q is unknown; use up, down, show, calc, config, completion, version or help", word)
}

// noWords refuses words that no option takes.
func noWords(c *cli.Context) error {
	if c.Args().Present() {
		return fan.Usagef("word %q is not understood; see fanctl help %s", c.Args().First(), c.Command.Name)
	}
	return nil
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
	if h.Observe, err = faultsFromEnvironment(); err != nil {
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

// networkFlags name a fan.
func networkFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "underlay", Aliases: []string{"u"}, Usage: "network of the hosts: `UNDERLAY` is 10.0.0.0/16, this host's address 10.0.0.45/16, a device eth0/16, or default/16; /16 if no mask is given"},
		&cli.StringFlag{Name: "overlay", Aliases: []string{"o"}, Usage: "network of the containers: `OVERLAY` is 250.0.0.0/8, or 250 for short"},
	}
}

func jsonFlag() cli.Flag {
	return &cli.BoolFlag{Name: "json", Usage: "print all that is known, as JSON"}
}

func printJSON(out io.Writer, what any) error {
	encoder := json.NewEncoder(out)
	encoder.SetIndent("", "  ")
	return encoder.Encode(what)
}

func verboseFlag() cli.Flag {
	return &cli.BoolFlag{Name: "verbose", Aliases: []string{"v"}, Usage: "say why, and print each step that is done"}
}

func planFlag() cli.Flag {
	return &cli.BoolFlag{Name: "dry-run", Usage: "print the steps and change nothing"}
}
