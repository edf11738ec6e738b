package main

import (
	"context"
	"fmt"
	"slices"

	"github.com/urfave/cli/v2"

	"github.com/fanctl/fanctl/fan"
	"github.com/fanctl/fanctl/internal/command"
	"github.com/fanctl/fanctl/internal/docker"
	"github.com/fanctl/fanctl/internal/setup"
)

const networks = " -u UNDERLAY -o OVERLAY [OPTION...]"

// simple is a command that changes one thing of a fan that is named.
func simple(usage cli.OnUsageErrorFunc, name, text, description string, flags []cli.Flag, action func(*cli.Context, *setup.Setup, fan.Spec) error) *cli.Command {
	return &cli.Command{
		Name: name, Usage: text, UsageText: "fanatic " + name + networks, Description: description,
		Flags:        slices.Concat(command.NetworkFlags(), flags, []cli.Flag{command.FileFlag(), command.PlanFlag(), command.JSONFlag()}),
		OnUsageError: usage,
		Action: func(c *cli.Context) error {
			spec, err := command.SpecOf(c)
			if err != nil {
				return err
			}
			return interrupted(c.Context, onHost(c, func(s *setup.Setup) error { return action(c, s, spec) }))
		},
	}
}

// fanFlags say what a fan is like; DHCP is on here, and switched off.
func fanFlags() []cli.Flag {
	return append(command.FanFlags(), &cli.BoolFlag{Name: "no-dhcp", Usage: "hand out no addresses on the bridge; LXD's containers need them"})
}

// restartFlag stands for commands that may restart Docker.
func restartFlag() cli.Flag {
	return hostFlags()[1]
}

func forceFlag() cli.Flag {
	return &cli.BoolFlag{Name: "force", Usage: "also if containers use it"}
}

func modeFlag() cli.Flag {
	return &cli.StringFlag{Name: "docker-mode", Usage: "`MODE` of Docker: default, for every container, or network, for containers that ask for it", Value: docker.Default.String()}
}

func profileFlag() cli.Flag {
	return &cli.BoolFlag{Name: "default-profile", Usage: "wire the default profile, too, so that every container is on the fan"}
}

func enableFanCommand(usage cli.OnUsageErrorFunc) *cli.Command {
	return simple(usage, "enable-fan", "bring a fan up, now and after each reboot", "It hands out addresses to containers, unless --no-dhcp is given.", fanFlags(),
		func(c *cli.Context, s *setup.Setup, spec fan.Spec) error {
			return change(c, s, func() (setup.Change, error) {
				spec, err := wanted(c, s, spec, true)
				if err != nil {
					return setup.Change{}, err
				}
				return s.PlanFan(spec)
			}, func(made setup.Change) string {
				return fmt.Sprintf("%s is up: this host has %s, bridge address %s", made.Fan.Bridge, made.Fan.Slice(), made.Fan.BridgePrefix())
			})
		})
}

// wanted is the fan to bring up: what the options say, or what is known of it already.
func wanted(c *cli.Context, s *setup.Setup, spec fan.Spec, dhcp bool) (fan.Spec, error) {
	networksOnly := !slices.ContainsFunc(fanFlags(), func(f cli.Flag) bool { return c.IsSet(f.Names()[0]) })
	spec.DHCP = (spec.DHCP || dhcp) && !c.Bool("no-dhcp")
	return s.Wanted(spec, networksOnly)
}

func disableFanCommand(usage cli.OnUsageErrorFunc) *cli.Command {
	return simple(usage, "disable-fan", "take a fan down, now and for good", "Docker, LXD and Incus have to be off it.", []cli.Flag{forceFlag()},
		func(c *cli.Context, s *setup.Setup, spec fan.Spec) error {
			return change(c, s, func() (setup.Change, error) {
				row, there, err := s.Find(spec)
				if err != nil || !there {
					return setup.Change{}, err
				}
				if err := s.NotWired(c.Context, row); err != nil {
					return setup.Change{}, err
				}
				return s.PlanFanAway(row, c.Bool("force"))
			}, doneOr("the fan of "+spec.Overlay.String()+" is gone", "there is no fan of "+spec.Overlay.String()))
		})
}

// doneOr tells whether a change was needed.
func doneOr(done, nothing string) func(setup.Change) string {
	return func(made setup.Change) string {
		if len(made.Plan) == 0 {
			return nothing
		}
		return done
	}
}

func enableDockerCommand(usage cli.OnUsageErrorFunc) *cli.Command {
	return simple(usage, "enable-docker", "give Docker's containers addresses of a fan", "The fan has to be up. In the mode default Docker restarts, which stops its containers and starts them again.",
		[]cli.Flag{modeFlag(), restartFlag()},
		func(c *cli.Context, s *setup.Setup, spec fan.Spec) error {
			mode, err := modeOf(c, s, spec)
			if err != nil {
				return err
			}
			return change(c, s, func() (setup.Change, error) {
				f, err := s.Up(spec)
				if err != nil {
					return setup.Change{}, err
				}
				return s.PlanDocker(c.Context, f, mode)
			}, func(made setup.Change) string { return dockerHint(made.Fan, mode) })
		})
}

// dockerHint says how containers get onto a fan.
func dockerHint(f fan.Fan, mode docker.Mode) string {
	addresses, err := docker.Pool(f)
	if err != nil {
		addresses = f.Slice() // of a fan that Docker is on already, whatever gave it that
	}
	if mode == docker.Network {
		return fmt.Sprintf("containers get addresses of %s by: docker run --network %s IMAGE", addresses, f.Bridge)
	}
	return fmt.Sprintf("containers get addresses of %s by: docker run IMAGE", addresses)
}

// lxdHint says how LXD's containers get onto a fan.
func lxdHint(f fan.Fan, defaultProfile bool) string {
	if defaultProfile {
		return fmt.Sprintf("containers get addresses of %s by: lxc launch IMAGE (Incus: incus launch)", f.Slice())
	}
	return fmt.Sprintf("containers get addresses of %s by: lxc launch -p default -p %s IMAGE (Incus: incus launch)", f.Slice(), f.Bridge)
}

func disableDockerCommand(usage cli.OnUsageErrorFunc) *cli.Command {
	return simple(usage, "disable-docker", "take Docker's containers off a fan", "", []cli.Flag{forceFlag(), restartFlag()}, disableEngine("Docker", (*setup.Setup).PlanDockerAway))
}

func enableLXDCommand(usage cli.OnUsageErrorFunc) *cli.Command {
	return simple(usage, "enable-lxd", "make a profile for a fan in LXD and Incus", "The fan has to be up. The profile is named after the bridge, fan-250; other profiles stay as they are.",
		[]cli.Flag{profileFlag()},
		func(c *cli.Context, s *setup.Setup, spec fan.Spec) error {
			return change(c, s, func() (setup.Change, error) {
				f, err := s.Up(spec)
				if err != nil {
					return setup.Change{}, err
				}
				return s.PlanLXD(c.Context, f, c.Bool("default-profile"))
			}, func(made setup.Change) string { return lxdHint(made.Fan, c.Bool("default-profile")) })
		})
}

func disableLXDCommand(usage cli.OnUsageErrorFunc) *cli.Command {
	return simple(usage, "disable-lxd", "take the profile of a fan out of LXD and Incus", "", []cli.Flag{forceFlag()}, disableEngine("LXD", (*setup.Setup).PlanLXDAway))
}

func disableEngine(name string, away func(*setup.Setup, context.Context, string, bool) (setup.Change, error)) func(*cli.Context, *setup.Setup, fan.Spec) error {
	return func(c *cli.Context, s *setup.Setup, spec fan.Spec) error {
		bridge := fan.BridgeName(spec.Overlay)
		return change(c, s, func() (setup.Change, error) {
			row, there, err := s.Find(spec)
			if err != nil {
				return setup.Change{}, err
			}
			if there {
				bridge = row.Bridge()
			}
			return away(s, c.Context, bridge, c.Bool("force"))
		}, doneOr(name+" is off "+bridge, name+" is not on "+bridge))
	}
}
