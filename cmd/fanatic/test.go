package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/fanctl/fanctl/fan"
	"github.com/fanctl/fanctl/internal/command"
	"github.com/fanctl/fanctl/internal/docker"
	"github.com/fanctl/fanctl/internal/selftest"
	"github.com/fanctl/fanctl/internal/setup"
	"github.com/fanctl/fanctl/tunnel"
)

// errTestFailed is the end of a run in which a test has failed, which its lines have told.
var errTestFailed = errors.New("a test has failed")

func testCommand(usage cli.OnUsageErrorFunc) *cli.Command {
	return &cli.Command{
		Name: "test", Usage: "test a fan with a container of this host, or together with another host",
		UsageText: "fanatic test\nfanatic test local-docker|local-lxd [-u UNDERLAY -o OVERLAY]\nfanatic test --serve\nfanatic test HOST\n\n" +
			"fanatic test local-docker -u 10.0.0.0/16 -o 250.0.0.0/8\nfanatic test 10.0.3.4",
		Description: "HOST is the address of another host, on which fanatic test --serve runs. Without a word it asks what to test.\n" +
			"What fails gets a cause.",
		Flags: append(command.NetworkFlags(),
			&cli.BoolFlag{Name: "serve", Usage: "be the other host, until it is interrupted"},
			&cli.StringFlag{Name: "engine", Usage: "test with a container of `ENGINE`, docker or lxd (default: what is on the fan)"},
			&cli.UintFlag{Name: "control-port", Usage: "TCP `PORT` by which the hosts talk", Value: selftest.DefaultPort},
			command.FileFlag(), command.JSONFlag()),
		OnUsageError: usage,
		Action: func(c *cli.Context) error {
			if c.NArg() == 0 && !c.Bool("serve") {
				return wizard(c, wizardSteps{test: true})
			}
			return interrupted(c.Context, onHost(c, func(s *setup.Setup) error { return test(c, s) }))
		},
	}
}

func test(c *cli.Context, s *setup.Setup) error {
	word := c.Args().First()
	if c.Bool("serve") && c.Bool("json") {
		return fan.Usagef("--serve and --json don't go together; the host that calls has the results")
	}
	if c.NArg() > 1 || c.NArg() == 1 && c.Bool("serve") {
		return fan.Usagef("word %q is not understood; see fanatic test --help", c.Args().Get(c.NArg()-1))
	}
	f, err := fanToTest(c, s)
	if err != nil {
		return err
	}
	if engine, here := strings.CutPrefix(word, "local-"); here {
		if err := checkEngine(engine); err != nil {
			return fan.Usagef("test %q is unknown; use local-docker, local-lxd, or the address of another host", word)
		}
		return local(c, s, f, engine).run()
	}
	if c.Bool("serve") {
		return withPeer(c, s, f, func(ctx context.Context, t selftest.Test) (selftest.Outcome, error) {
			return selftest.Outcome{}, t.Serve(ctx)
		})
	}
	peer, err := netip.ParseAddr(word)
	if err != nil {
		return fan.Usagef("%q is neither a test nor an address; use local-docker, local-lxd, or the underlay address of another host such as 10.0.3.4", word)
	}
	return withPeer(c, s, f, func(ctx context.Context, t selftest.Test) (selftest.Outcome, error) { return t.Against(ctx, peer) })
}

func checkEngine(engine string) error {
	if !slices.Contains([]string{setup.EngineDocker, setup.EngineLXD}, engine) {
		return fan.Usagef("engine %q is unknown; use docker or lxd", engine)
	}
	return nil
}

// fanToTest is the fan that is named or, if none is, the one that is up.
func fanToTest(c *cli.Context, s *setup.Setup) (fan.Fan, error) {
	if c.IsSet("underlay") || c.IsSet("overlay") {
		underlay, err := fan.ParseUnderlay(c.String("underlay"))
		if err != nil {
			return fan.Fan{}, err
		}
		overlay, err := fan.ParseOverlay(c.String("overlay"))
		if err != nil {
			return fan.Fan{}, err
		}
		return s.Up(fan.Spec{Underlay: underlay, Overlay: overlay})
	}
	fans, err := s.Host.Fans()
	switch {
	case err != nil:
		return fan.Fan{}, err
	case len(fans) == 0:
		return fan.Fan{}, errors.New("no fan is up on this host; use sudo fanatic, or fanatic enable-fan")
	case len(fans) > 1:
		var names []string
		for _, f := range fans {
			names = append(names, fmt.Sprintf("-u %s -o %s", f.Mapping.Underlay(), f.Mapping.Overlay()))
		}
		return fan.Fan{}, fan.Usagef("several fans are up; name one: %s", strings.Join(names, ", "))
	}
	return fans[0], nil
}

// testAll tests each engine that was wired.
func testAll(c *cli.Context, s *setup.Setup, f fan.Fan, wish setup.Wish) (tests []selftest.Outcome, failed error) {
	var engines []string
	if wish.LXD {
		engines = append(engines, setup.EngineLXD)
	}
	if wish.Docker != docker.Off {
		engines = append(engines, setup.EngineDocker)
	}
	for _, engine := range engines {
		t := local(c, s, f, engine)
		t.outcome = func(o selftest.Outcome) error {
			tests = append(tests, o)
			if c.Bool("json") {
				return verdict(o)
			}
			return tellOutcome(c, o)
		}
		failed = errors.Join(failed, t.run())
	}
	return tests, failed
}

// containerTest is a test with a container of its own.
type containerTest struct {
	c      *cli.Context
	setup  *setup.Setup
	fan    fan.Fan
	engine string
	name   string // in what is told
	do     func(context.Context, selftest.Test) (selftest.Outcome, error)
	// outcome is told how it ended.
	outcome func(selftest.Outcome) error
}

func newContainerTest(c *cli.Context, s *setup.Setup, f fan.Fan, engine, kind string, do func(context.Context, selftest.Test) (selftest.Outcome, error)) containerTest {
	return containerTest{c, s, f, engine, kind + " " + engine, do, func(o selftest.Outcome) error { return tellOutcome(c, o) }}
}

// local is the test of a container against this host.
func local(c *cli.Context, s *setup.Setup, f fan.Fan, engine string) containerTest {
	return newContainerTest(c, s, f, engine, "local", func(ctx context.Context, t selftest.Test) (selftest.Outcome, error) { return t.Local(ctx) })
}

// withPeer tests a container of whatever engine is there against one of another host.
func withPeer(c *cli.Context, s *setup.Setup, f fan.Fan, do func(context.Context, selftest.Test) (selftest.Outcome, error)) error {
	engine := c.String("engine")
	if engine == "" {
		engines, err := s.Engines(c.Context, f)
		if err != nil {
			return err
		}
		if len(engines) == 0 {
			return fmt.Errorf("nothing is on %s that a test could take a container of; use fanatic enable-docker or enable-lxd", f.Bridge)
		}
		engine = engines[0]
	}
	if err := checkEngine(engine); err != nil {
		return err
	}
	return newContainerTest(c, s, f, engine, "host", do).run()
}

// run runs the test with no other one beside it, which would take this one's container
// for one that was left.
func (t containerTest) run() error { return t.setup.Host.Alone("fanatic-test", t.runAlone) }

// runAlone runs the test. Its container is gone before the verdict is told.
func (t containerTest) runAlone() error {
	t.say("creating test container ...")
	container, err := t.setup.Start(t.c.Context, t.fan, t.engine)
	if err != nil {
		return fmt.Errorf("%s test: %w", t.name, err)
	}
	outcome, err := t.do(t.c.Context, t.on(container))
	t.say("destroying test container ...")
	if left := container.Remove(); left != nil {
		err = errors.Join(err, fmt.Errorf("remove the test container: %w", left))
	}
	if err != nil {
		return err
	}
	return t.outcome(outcome)
}

func (t containerTest) say(what string) {
	if !t.c.Bool("json") {
		fmt.Fprintf(t.c.App.Writer, "%s test: %s\n", t.name, what)
	}
}

// on is what selftest has to know of a container.
func (t containerTest) on(container *setup.Container) selftest.Test {
	test := selftest.Test{Fan: t.fan, Container: container.Namespace, Addr: container.Addr, Label: container.Engine, Version: command.Version(version),
		Port: uint16(t.c.Uint("control-port")), Counters: func() (tunnel.Counters, error) { return t.setup.Counters(t.fan) }}
	test.Report = selftest.Text{Writer: t.c.App.Writer}
	if t.c.Bool("json") {
		test.Report = silent{}
	}
	return test
}

// silent reports nothing: with --json all is told at the end.
type silent struct{}

func (silent) Start(selftest.Result) {}
func (silent) Done(selftest.Result)  {}
func (silent) Note(string)           {}

// tellOutcome tells how a test has ended. One of two hosts has been told of already.
func tellOutcome(c *cli.Context, o selftest.Outcome) error {
	if len(o.Results) == 0 {
		return nil // a server's end
	}
	var err error
	if c.Bool("json") {
		err = command.PrintJSON(c.App.Writer, o)
	} else if strings.HasPrefix(o.Name, "local ") {
		_, err = fmt.Fprintln(c.App.Writer, selftest.Complete(o.Name, o.Score))
	}
	if err != nil {
		return err
	}
	return verdict(o)
}

// verdict is the error of a test that has failed.
func verdict(o selftest.Outcome) error {
	if o.Score.Pass() {
		return nil
	}
	return command.ReportedError{Err: errTestFailed}
}
