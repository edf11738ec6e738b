package docker

import (
	"bytes"
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/fanctl/fanctl/internal/plan"
	"github.com/fanctl/fanctl/internal/sysctl"
)

// planDefaultAway returns the steps after which the fan bridge is not the daemon's
// default bridge, nor is to be. Only what has been saved before it was changed is ours:
// a bridge that others have given to the daemon stays, with a note.
func (d *Daemon) planDefaultAway(ctx context.Context, l look, bridge string, force bool) (Change, error) {
	path, _ := l.process.config()
	running := l.defaultBridge() == bridge
	have, was, err := readBoth(path)
	if err != nil && !running {
		return Change{}, nil // what can't be read has nothing of ours in it
	}
	if err != nil {
		return Change{}, err
	}
	list, err := values(have.text)
	if err != nil && was.known {
		return Change{}, usageIn(path, err)
	}
	ours := was.covers(list, have, bridge)
	if !ours && !running {
		return Change{}, nil
	}
	if running && !force {
		if users := l.status(bridge).Users; len(users) > 0 {
			return Change{}, &InUseError{bridge, users}
		}
	}
	inFile := valueOf(list, "bridge") == strconv.Quote(bridge)
	if !was.known {
		return Change{Notes: []string{foreignText(path, bridge, inFile)}}, nil
	}
	if running && !inFile {
		if err := checkFlags(l.process.flags, path); err != nil {
			return Change{}, err
		}
	}
	return d.away(ctx, l, bridge, have, was, ours, force)
}

// covers says whether a configuration, whose settings the list has, is to become what
// it was before a fan. A bridge that is neither this fan's nor the one from before is
// another fan's, or the user's own choice since.
func (s saved) covers(list []setting, have file, bridge string) bool {
	now := valueOf(list, "bridge")
	return s.known && (now == strconv.Quote(bridge) || now == "" || s.isAs(have))
}

// foreignText says that a default bridge is not ours to take away.
func foreignText(path, bridge string, inFile bool) string {
	if inFile {
		return fmt.Sprintf("%s has the default bridge %s, which was not put there by us, so it stays; Docker does not start without that bridge", path, bridge)
	}
	return fmt.Sprintf("Docker runs with the default bridge %s, of which %s says nothing; if its command line does not either, that ends when it restarts", bridge, path)
}

// away plans the way back of a configuration file and the daemon.
func (d *Daemon) away(ctx context.Context, l look, bridge string, have file, was saved, ours, force bool) (c Change, err error) {
	r := &rewrite{daemon: d, process: l.process}
	running := l.defaultBridge() == bridge
	if running {
		if c, r, err = d.begin(ctx, l, force); err != nil {
			return Change{}, err
		}
	}
	stays := ours && bridgeIn(was.file) == bridge
	r.arrived = func(now string) bool { return stays || now != bridge }
	r.old, r.new = have, have
	if ours {
		var note string
		if r.new, note, err = restored(have, was); err != nil {
			return Change{}, usageIn(have.path, err)
		}
		if note != "" {
			c.Notes = append(c.Notes, note)
		}
	}
	if stays {
		c.Notes = append(c.Notes, foreignText(have.path, bridge, true))
	}
	if r.new.exists() != have.exists() || !bytes.Equal(r.new.text, have.text) {
		c.Plan = append(c.Plan, r.stepWrite(restoreText(r.new, was)))
		c.Files = append(c.Files, have.path)
	}
	if running {
		c.Plan = append(c.Plan, r.stepsRestart()...)
	}
	if !stays && (running || was.known) {
		c.Plan = append(c.Plan, planAdvertisements(bridge)...)
	}
	if ours {
		forget := planForget(have.path, was)
		c.Plan = append(c.Plan, forget...)
		if was.known {
			c.Files = append(c.Files, have.path+suffixOf(was.file))
		}
	}
	return c, nil
}

// planAdvertisements returns the step that has the bridge take IPv6 router
// advertisements again as new devices of this host do: Docker turns that off for its
// default bridge and leaves it so.
func planAdvertisements(bridge string) plan.Plan {
	path := "net/ipv6/conf/" + bridge + "/accept_ra"
	now, err := sysctl.Read(path)
	usual, errUsual := sysctl.Read("net/ipv6/conf/default/accept_ra")
	if err != nil || errUsual != nil || now != "0" || usual == now {
		return nil // also where the kernel has no IPv6
	}
	return plan.Plan{sysctl.Step(sysctl.Setting{Path: path, Value: usual, Optional: true})}
}

// restored returns the configuration as it was before the fan, but for what others
// have changed since, which the note tells.
func restored(have file, was saved) (now file, note string, err error) {
	if !have.exists() {
		if was.known && was.file.exists() {
			note = fmt.Sprintf("%s was removed by somebody else since; %s%s, which goes too, had: %s", have.path, have.path, backupSuffix, oneLine(was.file.text))
		}
		return have, note, nil
	}
	if was.isAs(have) {
		return have, "", nil
	}
	text, changed, err := unedit(have.text, was.file.text)
	switch {
	case err != nil:
		return have, "", err
	case !changed:
		now = was.file // mode and owner, too
		now.path = have.path
		return now, "", nil
	case !was.file.exists() && isEmpty(text):
		return file{path: have.path}, "", nil
	}
	return have.with(text), fmt.Sprintf("%s was changed by somebody else since; only what is the fan's is taken out", have.path), nil
}

func oneLine(text []byte) string { return strings.Join(strings.Fields(string(text)), " ") }

// restoreText is the way back as a person would type it.
func restoreText(now file, was saved) string {
	switch {
	case !now.exists():
		return "rm " + now.path
	case was.known && bytes.Equal(now.text, was.file.text):
		return fmt.Sprintf("cp -p %s%s %s", now.path, backupSuffix, now.path)
	}
	return fmt.Sprintf("edit %s # without %s", now.path, strings.Join(keys(), ", "))
}
