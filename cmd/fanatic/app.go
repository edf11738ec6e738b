package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/fanctl/fanctl/fan"
	"github.com/fanctl/fanctl/internal/command"
	"github.com/fanctl/fanctl/internal/completion"
	"github.com/fanctl/fanctl/internal/docker"
	"github.com/fanctl/fanctl/internal/host"
	"github.com/fanctl/fanctl/internal/plan"
	"github.com/fanctl/fanctl/internal/setup"
)

// version is set by the linker (Makefile).
var version string

// terminal is what the program talks by: answers go to out, everything else to errOut.
type terminal struct {
	in          io.Reader
	out, errOut io.Writer
}

func run(ctx context.Context, args []string, t terminal) (code int) {
	app := newApp(t)
	return command.ExitCode(app, command.Run(ctx, app, args, unknownCommand))
}

func newApp(t terminal) *cli.App {
	usage := command.UsageError("fanatic")
	app := &cli.App{
		Name:  "fanatic",
		Usage: "set up fan networking on this host, with Docker, LXD and Incus, and test it",
		Description: "Without a command it asks what it has to know, sets everything up and tests it.\n" +
			"On each host it is run once; the hosts need not know of each other.",
		UsageText: "fanatic\nfanatic configure [OPTION...]\nfanatic deconfigure [OPTION...]\nfanatic show [--json]\n" +
			"fanatic enable-fan|enable-docker|enable-lxd -u UNDERLAY -o OVERLAY [OPTION...]\nfanatic disable-fan|disable-docker|disable-lxd -u UNDERLAY -o OVERLAY [OPTION...]\n" +
			"fanatic test [TEST|HOST] [OPTION...]\nfanatic completion bash|zsh|fish\nfanatic help [COMMAND]",
		HideVersion:    true,
		Reader:         t.in,
		Writer:         t.out,
		ErrWriter:      t.errOut,
		OnUsageError:   usage,
		ExitErrHandler: func(*cli.Context, error) {},
		Flags:          append(hostFlags(), command.VersionFlag()),
		Commands: []*cli.Command{configureCommand(usage), deconfigureCommand(usage), showCommand(usage),
			enableFanCommand(usage), disableFanCommand(usage), enableDockerCommand(usage), disableDockerCommand(usage), enableLXDCommand(usage), disableLXDCommand(usage),
			testCommand(usage), command.VersionCommand("fanatic", command.Version(version)),
			command.CompletionCommand("fanatic", completed), command.CompleteCommand(candidates())},
		Before: onlyAlone,
		Action: func(c *cli.Context) error {
			switch {
			case c.Bool("version"):
				return command.PrintVersion(c, command.Version(version))
			case c.Args().Present():
				return unknownCommand(c.Args().First())
			}
			return wizard(c, wizardSteps{configure: true, test: true})
		},
	}
	command.PlainSwitches(app.Commands)
	return app
}

// onlyAlone refuses the wizard's options before a command, which would not see them.
func onlyAlone(c *cli.Context) error {
	for _, f := range hostFlags() {
		if name := f.Names()[0]; c.Args().Present() && c.IsSet(name) {
			return fan.Usagef("--%s stands before the command; write it behind: fanatic %s --%s %s", name, c.Args().First(), name, c.String(name))
		}
	}
	return nil
}

func unknownCommand(word string) error {
	return fan.Usagef("command %q is unknown; use configure, deconfigure, show, enable-fan, disable-fan, enable-docker, disable-docker, enable-lxd, disable-lxd, test, completion, version or help", word)
}

// completed says what completion knows.
const completed = "It completes commands, options and their values, the networks of this host, and the fans that are up."

func candidates() completion.Source {
	takes := map[string]command.Takes{"configure": command.NewFan, "enable-fan": command.NewFan, "disable-fan": command.ListedFan}
	for _, engine := range []string{"docker", "lxd"} {
		takes["enable-"+engine], takes["disable-"+engine] = command.FanUp, command.FanUp
	}
	return command.Candidates(takes, map[string][]completion.Candidate{
		"test":        {{Word: "local-docker", Help: "a container of Docker against this host"}, {Word: "local-lxd", Help: "a container of LXD or Incus against this host"}},
		"engine":      {{Word: setup.EngineDocker}, {Word: setup.EngineLXD}},
		"docker-mode": {{Word: docker.Default.String(), Help: "every container, after a restart of Docker"}, {Word: docker.Network.String(), Help: "containers that ask for it"}},
	})
}

// hostFlags say where things are on this host.
func hostFlags() []cli.Flag {
	return []cli.Flag{
		command.FileFlag(),
		&cli.StringFlag{Name: "docker-restart", Usage: "restart Docker by `PROGRAM` and its words, not by systemctl or service"},
	}
}

// onHost runs a command on this host.
func onHost(c *cli.Context, do func(*setup.Setup) error) error {
	h, err := host.Open()
	if err != nil {
		return err
	}
	defer h.Close()
	h.StateDir = os.Getenv("FANCTL_STATE") // of the whole-program tests: they have leases of their own
	s := &setup.Setup{Host: h, List: c.String("file"),
		Docker: docker.Options{Host: os.Getenv("DOCKER_HOST"), Restart: strings.Fields(c.String("docker-restart"))}}
	defer s.Close()
	if s.Observe, err = command.Faults(); err != nil {
		return err
	}
	if !c.Bool("json") {
		s.Announce = func(step plan.Step) {
			first, _, _ := strings.Cut(step.Text, "\n")
			fmt.Fprintf(c.App.Writer, "+ %s\n", first)
		}
	}
	return do(s)
}

// change applies a change, or shows it with --dry-run, and tells of it.
func change(c *cli.Context, s *setup.Setup, planned func() (setup.Change, error), done func(setup.Change) string) error {
	made, err := apply(c, s, planned)
	if err != nil {
		return err
	}
	return tell(c, made, done)
}

// apply applies a change, unless there is --dry-run.
func apply(c *cli.Context, s *setup.Setup, planned func() (setup.Change, error)) (made setup.Change, err error) {
	if c.Bool("dry-run") {
		return planned()
	}
	return made, s.Alone(func() error {
		if made, err = planned(); err != nil {
			return err
		}
		foretell(c, made)
		return s.Apply(c.Context, made)
	})
}

// foretell says what a change leads to, before it is made.
func foretell(c *cli.Context, made setup.Change) {
	if c.Bool("json") {
		return
	}
	for _, effect := range made.Effects {
		fmt.Fprintf(c.App.Writer, "# %s\n", effect)
	}
}

// changeJSON is a change as --json prints it; its fields are a promise to scripts.
type changeJSON struct {
	Bridge  string   `json:"bridge"`
	Changed bool     `json:"changed"`
	Steps   []string `json:"steps"`
	Effects []string `json:"effects"`
	Notes   []string `json:"notes"`
	DryRun  bool     `json:"dry_run"`
}

func changeOf(made setup.Change, dryRun bool) changeJSON {
	j := changeJSON{Bridge: made.Fan.Bridge, Changed: len(made.Plan) > 0, Steps: []string{}, Effects: append([]string{}, made.Effects...),
		Notes: append([]string{}, made.Notes...), DryRun: dryRun}
	for _, step := range made.Plan {
		j.Steps = append(j.Steps, step.Text)
	}
	return j
}

func tell(c *cli.Context, made setup.Change, done func(setup.Change) string) error {
	if c.Bool("json") {
		return command.PrintJSON(c.App.Writer, changeOf(made, c.Bool("dry-run")))
	}
	for _, note := range made.Notes {
		command.PrintNote(c.App, note)
	}
	if !c.Bool("dry-run") {
		_, err := fmt.Fprintln(c.App.Writer, done(made))
		return err
	}
	foretell(c, made)
	var text strings.Builder
	for _, step := range made.Plan {
		fmt.Fprintln(&text, step.Text)
	}
	_, err := io.WriteString(c.App.Writer, text.String())
	return err
}

// interrupted is the error of a run that was ended, in place of what that led to.
func interrupted(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); err != nil && errors.Is(cause, errInterrupted) && !errors.Is(err, errInterrupted) {
		return fmt.Errorf("%w (%w)", errInterrupted, err)
	}
	return err
}
