package main

import (
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/fanctl/fanctl/fan"
	"github.com/fanctl/fanctl/internal/command"
	"github.com/fanctl/fanctl/internal/docker"
	"github.com/fanctl/fanctl/internal/host"
	"github.com/fanctl/fanctl/internal/setup"
)

// wizardSteps are the parts that a run of the wizard has.
type wizardSteps struct{ configure, test bool }

// wizard asks for what it has to know and does it. Its questions come in the order of
// the original's and mean the same, so that scripts that answered those go on working:
// nothing is asked beside them, and what an answer leads to is told before it.
func wizard(c *cli.Context, parts wizardSteps) error {
	if !isTerminal(c.App.Reader) {
		return fan.Usagef("there is no terminal to ask at; use fanatic configure --yes -u UNDERLAY -o OVERLAY, and fanatic test local-docker, local-lxd or HOST")
	}
	if os.Geteuid() != 0 {
		return host.ErrPrivilege
	}
	w := &wizardRun{c: c, dialog: newDialog(c.Context, c.App.Reader, c.App.Writer)}
	return interrupted(c.Context, onHost(c, func(s *setup.Setup) error {
		w.Setup = s
		if parts.configure {
			if err := w.configure(); err != nil {
				return err
			}
		}
		if parts.test {
			return w.test()
		}
		return nil
	}))
}

// wizardRun is one run of the wizard.
type wizardRun struct {
	*dialog
	*setup.Setup
	c *cli.Context

	before *setup.Status // the fan that is configured already, nil for none
	wish   setup.Wish
	fan    fan.Fan // what the answers so far lead to
	// noLXD and noDocker are answers of no, which take away what was there; what could
	// not be asked for stays as it is.
	noLXD, noDocker bool
}

func (w *wizardRun) configure() error {
	w.say("fanatic gives this host a fan: a network in which its containers and those of the\n" +
		"other hosts reach each other. See fanatic(1). Return takes what stands in brackets.\n")
	if err := w.showBefore(); err != nil {
		return err
	}
	for _, question := range []func() error{w.askUnderlay, w.askOverlay, w.askLXD, w.askDocker} {
		if err := question(); err != nil {
			return err
		}
	}
	return w.Alone(w.apply)
}

// showBefore shows what is configured, if anything is; the questions then offer that.
func (w *wizardRun) showBefore() error {
	list, err := w.Look(w.c.Context)
	if list == nil && err != nil {
		return err
	}
	if len(list) == 0 {
		return nil
	}
	w.before = &list[0]
	w.say("This host has:")
	if err := showTable(w.out, list); err != nil {
		return err
	}
	w.say("")
	return nil
}

func (w *wizardRun) askUnderlay() error {
	candidates, err := w.Underlays()
	if err != nil {
		return err
	}
	question, fallback := "Configure fan underlay (return accepts, or type another)", ""
	switch {
	case w.before != nil:
		question, fallback = "Reconfigure fan underlay (return accepts, or type another)", w.before.Underlay()
	case len(candidates) == 0:
		return fmt.Errorf("this host has no IPv4 address that an underlay could have; connect it to a network first")
	default:
		fallback = candidates[0].Underlay.String()
	}
	if len(candidates) > 1 {
		w.say("Underlays to choose from:")
		for _, candidate := range candidates {
			w.say("  %-18s this host has %s on %s", candidate.Underlay, candidate.Local.Prefix.Addr(), candidate.Local.Device)
		}
	}
	return w.ask(question, fallback, func(answer string) (err error) {
		w.wish.Spec.Underlay, err = fan.ParseUnderlay(answer)
		if err == nil {
			err = w.CheckUnderlay(w.wish.Spec.Underlay)
		}
		return err
	})
}

func (w *wizardRun) askOverlay() error {
	question := "Configure fan overlay (return accepts, or type another)"
	fallback := ""
	if w.before != nil && w.before.Is(fan.Spec{Underlay: w.wish.Spec.Underlay, Overlay: w.before.Spec.Overlay}) {
		question, fallback = "Reconfigure fan overlay (return accepts, or type another)", w.before.Spec.Overlay.String()
	} else {
		overlay, taken, err := w.Overlay(w.wish.Spec.Underlay)
		if err != nil {
			return err
		}
		if taken != "" {
			w.say("%s", taken)
		}
		fallback = overlay.String()
	}
	return w.ask(question, fallback, w.takeOverlay)
}

// takeOverlay accepts an overlay that a fan of this host can have.
func (w *wizardRun) takeOverlay(answer string) error {
	overlay, err := fan.ParseOverlay(answer)
	if err != nil {
		return err
	}
	spec, err := command.SpecWith(w.c, w.wish.Spec.Underlay, overlay)
	if err != nil {
		return err
	}
	if _, _, err = w.Find(spec); err != nil {
		return fmt.Errorf("%w; or take it away by fanatic deconfigure", err)
	}
	if w.wish.Spec, err = wanted(w.c, w.Setup, spec, false); err != nil {
		return err
	}
	would, err := w.PlanFan(w.wish.Spec)
	if err != nil {
		return err
	}
	w.fan = would.Fan
	w.before = w.beforeOf(overlay)
	return nil
}

// beforeOf is what is wired to the fan of an overlay already.
func (w *wizardRun) beforeOf(overlay netip.Prefix) *setup.Status {
	list, _ := w.Look(w.c.Context)
	i := slices.IndexFunc(list, func(s setup.Status) bool { return s.Spec.Overlay == overlay })
	if i < 0 {
		return nil
	}
	return &list[i]
}

// networks names the fan in questions, in the words of the original.
func (w *wizardRun) networks() string {
	return fmt.Sprintf("underlay:%s overlay:%s", w.fan.Mapping.Underlay(), w.fan.Mapping.Overlay())
}

func (w *wizardRun) askLXD() error {
	names, err := w.HasLXD(w.c.Context)
	if err != nil {
		w.say("%s; it is left as it is", command.OneLine(err))
		return nil
	}
	if len(names) == 0 {
		return nil
	}
	if w.wish.LXD, err = w.yes(fmt.Sprintf("Create %s networking for %s", strings.Join(names, " and "), w.networks())); err != nil {
		return err
	}
	if w.noLXD = !w.wish.LXD; w.wish.LXD {
		w.wish.Spec.DHCP = true // LXD's containers have nobody else to ask
	}
	return nil
}

func (w *wizardRun) askDocker() error {
	there, err := w.HasDocker(w.c.Context)
	if !there {
		w.say("Docker is not installed, so it is left out%s", reason(err))
		return nil
	}
	var would setup.Change
	if err == nil {
		would, err = w.PlanDocker(w.c.Context, w.fan, w.mode())
	}
	if err != nil {
		w.say("%s; Docker is left as it is", command.OneLine(err))
		return nil
	}
	for _, effect := range would.Effects {
		w.say("With Docker: %s", effect)
	}
	yes, err := w.yes("Create docker networking for " + w.networks())
	if w.noDocker = !yes; yes {
		w.wish.Docker = w.mode()
	}
	return err
}

// reason is what stands behind a statement that has an error for its reason.
func reason(err error) string {
	if err == nil {
		return ""
	}
	return ": " + command.OneLine(err)
}

// mode is the mode that Docker has on the fan already, or the one to begin with.
func (w *wizardRun) mode() docker.Mode {
	if w.before != nil && w.before.Docker.Mode != docker.Off {
		return w.before.Docker.Mode
	}
	return docker.Default
}

// apply shows the plan and carries it out.
func (w *wizardRun) apply() error {
	away, err := w.unwanted()
	if err != nil {
		return err
	}
	made, err := w.Plan(w.c.Context, w.wish)
	if err != nil {
		return err
	}
	all := away.With(made)
	w.say("")
	for _, line := range slices.Concat(all.Effects, all.Notes) {
		w.say("* %s", line)
	}
	if err := w.Apply(w.c.Context, all); err != nil {
		return err
	}
	w.say("")
	w.say("This host has %s; the bridge %s has %s", w.fan.Slice(), w.fan.Bridge, w.fan.BridgeAddr())
	for _, hint := range hints(w.fan, w.wish) {
		w.say("%s", hint)
	}
	w.say("On the other hosts: sudo fanatic, with the same underlay and overlay\n")
	return nil
}

// unwanted plans away what was on the fan before and is not wished for any more.
func (w *wizardRun) unwanted() (setup.Change, error) {
	var change setup.Change
	if w.before == nil {
		return change, nil
	}
	var err error
	if w.before.Docker.Mode != docker.Off && w.noDocker {
		if change, err = w.PlanDockerAway(w.c.Context, w.fan.Bridge, false); err != nil {
			return change, err
		}
	}
	if len(w.before.LXD) > 0 && w.noLXD {
		lxd, err := w.PlanLXDAway(w.c.Context, w.fan.Bridge, false)
		if err != nil {
			return change, err
		}
		change = change.With(lxd)
	}
	return change, nil
}

// hints say how containers get onto the fan.
func hints(f fan.Fan, wish setup.Wish) []string {
	var list []string
	if wish.Docker != docker.Off {
		list = append(list, "Docker: "+dockerHint(f, wish.Docker))
	}
	if wish.LXD {
		list = append(list, "LXD: "+lxdHint(f, wish.DefaultProfile))
	}
	return list
}
