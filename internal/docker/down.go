package docker

import (
	"bytes"
	"errors"
	"slices"
	"strconv"

	"github.com/fanctl/fanctl/internal/plan"
)

// ErrDown says that Docker is installed on this host, but its daemon does not answer.
var ErrDown = errors.New("the Docker daemon is installed but does not answer")

// snapConfig is where Docker's snap has its configuration.
const snapConfig = "/var/snap/docker/current/config/daemon.json"

// configFiles returns where a configuration may be while no daemon can be asked.
func (o Options) configFiles() []string {
	if o.ConfigFiles == nil {
		return []string{usualConfig, snapConfig}
	}
	return o.ConfigFiles
}

// PlanWhileDown returns the steps that take a fan out of Docker's configuration files
// while the daemon does not run: it does not start without its default bridge, so a fan
// that has gone would keep it from starting for good. Networks on the bridge stay, for
// only the daemon knows of them.
func PlanWhileDown(o Options, bridge string) (Change, error) {
	var c Change
	var failed []error
	for _, path := range o.configFiles() {
		more, err := planRestore(path, bridge)
		c.add(more)
		failed = append(failed, err)
	}
	return c, errors.Join(failed...)
}

// planRestore returns the steps that take a fan out of a configuration file, and
// nothing more.
func planRestore(path, bridge string) (c Change, err error) {
	have, was, err := readBoth(path)
	if err != nil || !was.known {
		return c, nil // what can't be read has nothing of ours in it
	}
	list, err := values(have.text)
	if err != nil {
		return c, usageIn(path, err)
	}
	if !was.covers(list, have, bridge) {
		return c, nil
	}
	now, note, err := restored(have, was)
	if err != nil {
		return c, usageIn(path, err)
	}
	if note != "" {
		c.Notes = append(c.Notes, note)
	}
	if now.exists() != have.exists() || !bytes.Equal(now.text, have.text) {
		c.Plan = append(c.Plan, plan.Step{Text: restoreText(now, was), Do: now.put, Undo: have.put})
		c.Files = append(c.Files, path)
	}
	c.Plan = append(c.Plan, planForget(path, was)...)
	return c, nil
}

// BridgesWhileDown returns the bridges that we have put into Docker's configuration
// files, sorted.
func BridgesWhileDown(o Options) (bridges []string) {
	for _, path := range o.configFiles() {
		have, was, err := readBoth(path)
		if bridge := bridgeIn(have); err == nil && was.known && bridge != "" {
			bridges = append(bridges, bridge)
		}
	}
	slices.Sort(bridges)
	return slices.Compact(bridges)
}

// bridgeIn is the default bridge that a configuration names, "" if it names none.
func bridgeIn(f file) string {
	settings, err := values(f.text)
	if err != nil {
		return ""
	}
	bridge, err := strconv.Unquote(valueOf(settings, "bridge"))
	if err != nil {
		return ""
	}
	return bridge
}
