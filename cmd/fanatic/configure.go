package main

import (
	"cmp"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/fanctl/fanctl/fan"
	"github.com/fanctl/fanctl/internal/command"
	"github.com/fanctl/fanctl/internal/docker"
	"github.com/fanctl/fanctl/internal/host"
	"github.com/fanctl/fanctl/internal/selftest"
	"github.com/fanctl/fanctl/internal/setup"
)

func yesFlag() cli.Flag {
	return &cli.BoolFlag{Name: "yes", Aliases: []string{"y"}, Usage: "ask nothing"}
}

func configureCommand(usage cli.OnUsageErrorFunc) *cli.Command {
	return &cli.Command{
		Name: "configure", Usage: "set up a fan with what is here of Docker, LXD and Incus",
		UsageText: "fanatic configure\nfanatic configure --yes -u UNDERLAY -o OVERLAY [OPTION...]\n\n" +
			"fanatic configure --yes -u 10.0.0.0/16 -o 250.0.0.0/8\nfanatic configure --yes -u eth0/16 -o 250 --docker-mode network --no-lxd",
		Description: "Without --yes it asks, like fanatic alone, and tests nothing. With --yes what is not installed is left out.\n" +
			"Where something fails, all is as it was before.",
		Flags: slices.Concat([]cli.Flag{yesFlag()}, command.NetworkFlags(), fanFlags(), []cli.Flag{
			modeFlag(), restartFlag(),
			&cli.BoolFlag{Name: "no-docker", Usage: "leave Docker as it is"},
			&cli.BoolFlag{Name: "no-lxd", Usage: "leave LXD and Incus as they are"},
			profileFlag(),
			&cli.BoolFlag{Name: "test", Usage: "test it with a container of each engine"},
			command.FileFlag(), command.PlanFlag(), command.JSONFlag()}),
		OnUsageError: usage,
		Action: func(c *cli.Context) error {
			if !c.Bool("yes") && !c.Bool("dry-run") {
				return wizard(c, wizardSteps{configure: true})
			}
			spec, err := command.SpecOf(c)
			if err != nil {
				return err
			}
			if c.Bool("no-docker") && c.Bool("no-lxd") { // needs no look at the host
				if err := checkTest(c, setup.Wish{}); err != nil {
					return err
				}
			}
			return interrupted(c.Context, onHost(c, func(s *setup.Setup) error { return configure(c, s, spec) }))
		},
	}
}

func configure(c *cli.Context, s *setup.Setup, spec fan.Spec) error {
	if os.Geteuid() != 0 { // before an engine says it in words of its own
		return host.ErrPrivilege
	}
	wish, err := wishOf(c, s, spec)
	if err != nil {
		return err
	}
	if err := checkTest(c, wish); err != nil {
		return err
	}
	made, err := apply(c, s, func() (setup.Change, error) { return s.Plan(c.Context, wish) })
	if err != nil {
		return err
	}
	testing := c.Bool("test") && !c.Bool("dry-run")
	if testing && c.Bool("json") {
		return configuredJSON(c, s, made, wish)
	}
	err = tell(c, made, func(made setup.Change) string {
		lines := []string{fmt.Sprintf("%s is up: this host has %s, bridge address %s", made.Fan.Bridge, made.Fan.Slice(), made.Fan.BridgePrefix())}
		return strings.Join(append(lines, hints(made.Fan, wish)...), "\n")
	})
	if err != nil || !testing {
		return err
	}
	_, err = testAll(c, s, made.Fan, wish)
	return err
}

// checkTest refuses a test for which there would be no container: whoever asks for one
// must not take silence for success.
func checkTest(c *cli.Context, wish setup.Wish) error {
	if !c.Bool("test") || wish.LXD || wish.Docker != docker.Off {
		return nil
	}
	var out []string
	for _, name := range []string{"no-docker", "no-lxd"} {
		if c.Bool(name) {
			out = append(out, "--"+name)
		}
	}
	const needs = "--test needs a container of Docker, LXD or Incus, and none is "
	if len(out) == 0 {
		return fan.Usagef(needs + "installed here; install one first, or leave --test out")
	}
	return fan.Usagef(needs+"to be on this fan; leave --test out, or %s", strings.Join(out, " or "))
}

// configuredJSON tests what was made and tells of both in one answer.
func configuredJSON(c *cli.Context, s *setup.Setup, made setup.Change, wish setup.Wish) error {
	tests, failed := testAll(c, s, made.Fan, wish)
	err := command.PrintJSON(c.App.Writer, struct {
		changeJSON
		Tests []selftest.Outcome `json:"tests"`
	}{changeOf(made, false), append([]selftest.Outcome{}, tests...)})
	return cmp.Or(failed, err)
}

// modeOf is the mode that was asked for or, if none was, the one that Docker is in.
func modeOf(c *cli.Context, s *setup.Setup, spec fan.Spec) (docker.Mode, error) {
	if !c.IsSet("docker-mode") {
		if mode := s.Mode(c.Context, spec); mode != docker.Off {
			return mode, nil
		}
	}
	return docker.ParseMode(c.String("docker-mode"))
}

// wishOf reads what the host is to have. What is not installed is not wished for.
func wishOf(c *cli.Context, s *setup.Setup, spec fan.Spec) (wish setup.Wish, err error) {
	wish.DefaultProfile = c.Bool("default-profile")
	if !c.Bool("no-docker") {
		if wish.Docker, err = modeOf(c, s, spec); err != nil {
			return wish, err
		}
		there, err := s.HasDocker(c.Context)
		if there && err != nil {
			return wish, fmt.Errorf("%w (--no-docker leaves Docker as it is)", err)
		}
		if !there {
			wish.Docker = docker.Off
		}
	}
	if !c.Bool("no-lxd") {
		names, err := s.HasLXD(c.Context)
		if err != nil {
			return wish, fmt.Errorf("%w (--no-lxd leaves LXD and Incus as they are)", err)
		}
		wish.LXD = len(names) > 0
	}
	wish.Spec, err = wanted(c, s, spec, wish.LXD)
	return wish, err
}

func deconfigureCommand(usage cli.OnUsageErrorFunc) *cli.Command {
	return &cli.Command{
		Name: "deconfigure", Usage: "take away all that fanatic has set up", UsageText: "fanatic deconfigure [--yes] [--force] [--no-restart]",
		Description: "Files, networks, profiles and fans are as before. What containers use is named and left, unless --force is given.\n" +
			"Fans that somebody else has listed or brought up stay.",
		Flags: []cli.Flag{yesFlag(), forceFlag(), &cli.BoolFlag{Name: "no-restart", Usage: "leave Docker running; it is off the fan when it starts anew"},
			restartFlag(), command.FileFlag(), command.PlanFlag(), command.JSONFlag()},
		OnUsageError: usage,
		Action: func(c *cli.Context) error {
			if err := command.NoWords(c); err != nil {
				return err
			}
			return interrupted(c.Context, onHost(c, func(s *setup.Setup) error { return deconfigure(c, s) }))
		},
	}
}

// removedJSON is what deconfigure has done with a fan; its fields are a promise to
// scripts.
type removedJSON struct {
	changeJSON
	Error string `json:"error,omitempty"`
}

func deconfigure(c *cli.Context, s *setup.Setup) error {
	if err := confirmed(c, s); err != nil {
		return err
	}
	list := []removedJSON{}
	found := false
	var last error
	remove := func() (err error) {
		found, err = s.Deconfigure(c.Context, howOf(c, c.Bool("dry-run")), func(bridge string, made setup.Change, err error) {
			made.Fan.Bridge = bridge
			removed := removedJSON{changeJSON: changeOf(made, c.Bool("dry-run"))}
			if err != nil {
				last = fmt.Errorf("%s is left as it is: %w", bridge, err)
				removed.Error = command.OneLine(err)
				command.PrintError(c.App, last)
			} else if !c.Bool("json") {
				_ = tell(c, made, gone(bridge))
			}
			list = append(list, removed)
		})
		return err
	}
	alone := s.Alone
	if c.Bool("dry-run") {
		alone = func(do func() error) error { return do() }
	}
	err := alone(remove)
	switch {
	case last != nil:
		err = command.ReportedError{Err: last}
	case err != nil:
		return err
	}
	if c.Bool("json") {
		if failed := command.PrintJSON(c.App.Writer, map[string]any{"fans": list}); err == nil {
			err = failed
		}
	} else if !found && err == nil {
		fmt.Fprintln(c.App.Writer, "nothing is configured by fanatic on this host")
	}
	return err
}

func howOf(c *cli.Context, dryRun bool) setup.Away {
	return setup.Away{Force: c.Bool("force"), NoRestart: c.Bool("no-restart"), DryRun: dryRun}
}

// gone tells what has become of a fan that was taken away.
func gone(bridge string) func(setup.Change) string {
	return func(made setup.Change) string {
		if made.Stays {
			return bridge + " is as it was before fanatic, and what fanatic had put on it is gone"
		}
		return bridge + " is gone, with all that fanatic had put on it"
	}
}

// confirmed shows what would go and asks, unless --yes was given.
func confirmed(c *cli.Context, s *setup.Setup) error {
	if c.Bool("yes") || c.Bool("dry-run") {
		return nil
	}
	if !isTerminal(c.App.Reader) {
		return fan.Usagef("there is no terminal to ask at; use fanatic deconfigure --yes")
	}
	d := newDialog(c.Context, c.App.Reader, c.App.Writer)
	found, err := s.Deconfigure(c.Context, howOf(c, true), func(bridge string, made setup.Change, err error) {
		for _, line := range slices.Concat(made.Effects, made.Notes) {
			d.say("* %s", line)
		}
		if err != nil {
			d.say("* %s stays: %s", bridge, command.OneLine(err))
		}
	})
	if !found {
		return err
	}
	yes, err := d.yes("Take it away")
	if err == nil && !yes {
		err = command.ReportedError{Err: errNotWanted}
	}
	return err
}
