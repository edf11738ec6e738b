package docker

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/fanctl/fanctl/fan"
	"github.com/fanctl/fanctl/internal/plan"
)

// settingsOf returns what makes a fan bridge the default bridge. The fan translates
// addresses itself, so Docker must not.
func settingsOf(f fan.Fan, half netip.Prefix) []setting {
	return []setting{
		{"bridge", strconv.Quote(f.Bridge)},
		{"fixed-cidr", strconv.Quote(half.String())},
		{"mtu", strconv.Itoa(int(f.MTU))},
		{"ip-masq", "false"},
	}
}

// isDefaultOf says whether the daemon's default bridge is as a fan wants it.
func (l look) isDefaultOf(want shape) bool {
	for _, n := range l.on(want.Name) {
		if !isDefault(n) {
			continue
		}
		have := shapeFrom(n)
		mtu, _ := strconv.Atoi(n.Options[optionMTU])
		return have.Subnet == want.Subnet && have.Range == want.Range && mtu == want.MTU && n.Options[optionMasquerade] == "false"
	}
	return false
}

// planDefault returns the steps that make the fan bridge the daemon's default bridge.
func (d *Daemon) planDefault(ctx context.Context, l look, f fan.Fan) (Change, error) {
	want, err := shapeOf(f)
	if err != nil {
		return Change{}, err
	}
	path, named := l.process.config()
	if err := checkFlags(l.process.flags, path); err != nil {
		return Change{}, err
	}
	have, was, err := readBoth(path)
	if err != nil {
		return Change{}, err
	}
	if named && !have.exists() {
		return Change{}, fan.Usagef("dockerd was started with --config-file %s, and that file is gone; make it again, with {} in it if it is to say nothing", path)
	}
	if err := refuse(have.text); err != nil {
		return Change{}, usageIn(path, err)
	}
	settings := settingsOf(f, want.Range)
	text, replaced, err := edit(have.text, settings)
	if err != nil {
		return Change{}, usageIn(path, err)
	}
	if err := checkOther(f.Bridge, path, replaced, was); err != nil {
		return Change{}, err
	}
	fileIs := have.exists() && bytes.Equal(text, have.text)
	if fileIs && l.isDefaultOf(want) {
		return Change{}, nil
	}
	c, r, err := d.begin(ctx, l, false)
	if err != nil {
		return Change{}, err
	}
	r.arrived = func(bridge string) bool { return bridge == f.Bridge }
	r.after = func() error { return planAdvertisements(f.Bridge).Apply(nil) }
	if !fileIs {
		r.old, r.new = have, have.with(text)
		if !have.exists() {
			r.new.mode = 0o644
		}
		if !was.known || isStale(have, was, f.Bridge) {
			c.Plan = append(c.Plan, stepSave(have))
			c.Files = append(c.Files, path+suffixOf(have))
		}
		c.Plan = append(c.Plan, r.stepWrite(editText(path, settings)))
		c.Files = append(c.Files, path)
		for _, s := range replaced {
			if !was.known {
				c.Notes = append(c.Notes, fmt.Sprintf("%s had %q: %s, which comes back when the fan is taken from Docker", path, s.Key, s.Value))
			}
		}
	}
	c.Plan = append(c.Plan, r.stepsRestart()...)
	return c, nil
}

// suffixOf returns the suffix under which a file is saved.
func suffixOf(f file) string {
	if f.exists() {
		return backupSuffix
	}
	return markerSuffix
}

// isStale says whether what was saved is of a run that never wrote the
// configuration, which has changed since.
func isStale(have file, was saved, bridge string) bool {
	list, err := values(have.text)
	return err == nil && !was.isAs(have) && valueOf(list, "bridge") != strconv.Quote(bridge)
}

// checkOther refuses (fan.ErrUsage) a second fan: there is one default bridge.
func checkOther(bridge, path string, replaced []setting, was saved) error {
	other := valueOf(replaced, "bridge")
	if other == "" || !was.known {
		return nil
	}
	if before, err := values(was.file.text); err == nil && valueOf(before, "bridge") == other {
		return nil
	}
	return fan.Usagef("%s has the default bridge %s already, and there can be one; take that from Docker first, or give it %s as a network", path, other, bridge)
}

// readBoth reads the configuration and what was saved of it.
func readBoth(path string) (have file, was saved, err error) {
	if have, err = readFile(path); err != nil {
		return have, was, err
	}
	was, err = readSaved(path)
	return have, was, err
}

// editText is the edit as a person would do it.
func editText(path string, settings []setting) string {
	var list []string
	for _, s := range settings {
		list = append(list, fmt.Sprintf("%q: %s", s.Key, s.Value))
	}
	return fmt.Sprintf("edit %s # %s", path, strings.Join(list, ", "))
}

// begin starts a change with a restart. With live-restore Docker keeps its default
// bridge while containers run, whatever the configuration says (moby, daemon_unix.go:
// initNetworkController), so these have to stop; with force they do.
func (d *Daemon) begin(ctx context.Context, l look, force bool) (Change, *rewrite, error) {
	words, err := d.restartWords(l.process)
	if err != nil {
		return Change{}, nil, err
	}
	c := Change{Restart: true, Stops: l.running()}
	r := &rewrite{daemon: d, process: l.process, words: words, liveRestore: l.liveRestore}
	if l.liveRestore && len(c.Stops) > 0 {
		if !force {
			return c, nil, fan.Usagef("Docker keeps containers running over a restart (live-restore), and its default bridge with them; stop these first: %s", strings.Join(c.Stops, ", "))
		}
		for _, name := range c.Stops {
			c.Plan = append(c.Plan, plan.Step{Text: "docker stop " + name, Do: func() error { return d.stop(name) }, Undo: func() error { return d.start(name) }})
		}
	}
	var gone []string
	if r.starts, gone, err = d.again(ctx, l); err != nil {
		return Change{}, nil, err
	}
	if len(gone) > 0 {
		c.Notes = append(c.Notes, "containers that were started with --rm go when they are stopped, and don't come back: "+strings.Join(gone, ", "))
	}
	return c, r, nil
}

// rewrite is a new configuration and the restart by which the daemon reads it.
type rewrite struct {
	daemon   *Daemon
	process  process // when it was planned
	words    []string
	old, new file
	// arrived says whether a default bridge is that of the new configuration.
	arrived func(bridge string) bool
	// starts are the containers that do not come back with the daemon by themselves.
	starts      []string
	liveRestore bool
	// after is what remains to be done when the daemon is back; nil: nothing.
	after func() error
	// tried says that the daemon may have been ended.
	tried  bool
	before process
}

// stepWrite writes the new configuration. To undo it, the daemon has to read the old
// one again if it was restarted, so that is part of it: the old file must be there first.
func (r *rewrite) stepWrite(text string) plan.Step {
	return plan.Step{
		Text: text,
		Do: func() error {
			if err := r.process.validate(r.new); err != nil {
				return err
			}
			return r.new.put()
		},
		Undo: func() error { return errors.Join(r.old.put(), r.back()) },
	}
}

// stepsRestart restart the daemon, which then has the new default bridge, and start the
// containers again that it has stopped.
func (r *rewrite) stepsRestart() plan.Plan {
	p := plan.Plan{{
		Text: strings.Join(r.words, " "),
		Do: func() error {
			if p, err := findProcess(r.daemon.socket); err == nil {
				r.before = p
			}
			r.tried = true
			return r.daemon.restartTo(r.words, r.arrived)
		},
	}}
	if len(r.starts) > 0 {
		p = append(p, r.daemon.stepStart(r.starts, r.liveRestore))
	}
	return p
}

// back has the daemon run as before, unless it never ended.
func (r *rewrite) back() error {
	if !r.tried {
		return nil
	}
	same := bridgeIn(r.old) == bridgeIn(r.new) // so it tells nothing
	wanted := func(bridge string) bool { return same || !r.arrived(bridge) }
	if bridge, p, err := r.daemon.asked(); err == nil && p.is(r.before) && wanted(bridge) {
		return nil
	}
	if err := r.daemon.restartTo(r.words, wanted); err != nil {
		return fmt.Errorf("%s: %w", strings.Join(r.words, " "), err)
	}
	err := r.daemon.startAll(r.starts)
	if r.after == nil {
		return err
	}
	return errors.Join(err, r.after())
}

// validate has dockerd itself look at a configuration, together with the words that
// it was started with, where it can: from version 23 on.
func (p process) validate(f file) error {
	if !f.exists() || p.snap() {
		return nil // a snap's program runs inside the snap only
	}
	temporary := f.at(f.path + temporarySuffix)
	if err := temporary.write(temporary.path); err != nil {
		return errors.Join(err, removeIfThere(temporary.path))
	}
	words := slices.Concat([]string{p.proc("exe")}, withoutConfig(p.words), []string{"--config-file", temporary.path, "--validate"})
	if _, err := os.Stat(words[0]); err != nil {
		words[0] = p.exe // the daemon has been restarted since
	}
	err := run(words)
	if err != nil && strings.Contains(err.Error(), "unknown flag: --validate") {
		err = nil
	}
	if err != nil {
		err = fmt.Errorf("dockerd does not take the configuration: %w", err)
	}
	return errors.Join(err, removeIfThere(temporary.path))
}
