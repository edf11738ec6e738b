package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"

	"github.com/urfave/cli/v2"

	"github.com/fanctl/fanctl/fan"
	"github.com/fanctl/fanctl/ifupdown"
	"github.com/fanctl/fanctl/internal/command"
	"github.com/fanctl/fanctl/internal/host"
)

// noFan refuses the name of a fan where a whole list is meant.
func noFan(c *cli.Context, option string) error {
	if c.Bool("all") && c.Bool("every") {
		return fan.Usagef("--all and --every don't go together; use one of them")
	}
	for _, o := range fan.Options() {
		if c.IsSet(o.Name) {
			return fan.Usagef("--%s and --%s don't go together; name one fan, or none", option, o.Name)
		}
	}
	if c.Args().Present() {
		return fan.Usagef("--%s and %q don't go together; name one fan, or none", option, c.Args().First())
	}
	return nil
}

// upList brings up every fan of the list; a failure does not keep the others down. It
// waits once, for all that the host still lacks.
func upList(c *cli.Context, r *reporter) error {
	if err := noFan(c, "all"); err != nil {
		return err
	}
	list, err := listToBringUp(c)
	if err != nil {
		return err
	}
	end, err := deadlineOf(c)
	if err != nil {
		return err
	}
	return explaining(c, func(h *host.Host) error {
		later := upEntries(c, r, h, end, list.Entries())
		for len(later) > 0 && !end.over() {
			if err = h.Await(end.wait, underlaysOf(later)...); err != nil {
				break
			}
			later = upEntries(c, r, h, end, entriesOf(later))
		}
		for _, l := range later {
			r.failed(l.err)
		}
		return err
	})
}

// listToBringUp reads the list. That it has no fan is told only to who sits there or
// asks for reasons: a host without fans is no news to its units and hooks. One that is
// named and is not there is a slip.
func listToBringUp(c *cli.Context) (*ifupdown.File, error) {
	file := c.String("file")
	if _, err := os.Stat(file); c.IsSet("file") && errors.Is(err, fs.ErrNotExist) {
		return nil, fan.Usagef("%s is not there; name a list of fans, or leave --file out for %s", file, ifupdown.Path)
	}
	list, err := ifupdown.Load(file)
	if err != nil {
		return nil, err
	}
	some := slices.ContainsFunc(list.Entries(), func(e ifupdown.Entry) bool { return e.Err != nil || !e.Spec.Off })
	if !some && hookDevice() == "" && !c.Bool("json") && (c.Bool("verbose") || command.IsTerminal(c.App.ErrWriter)) {
		command.PrintNote(c.App, fmt.Sprintf("%s lists no fan to bring up; %s adds one", file, onList(c, "fanctl config set")))
	}
	return list, nil
}

// lacking is a line of the list for which the host lacks something that it may get.
type lacking struct {
	entry ifupdown.Entry
	err   error
}

func underlaysOf(list []lacking) []fan.UnderlaySpec {
	var underlays []fan.UnderlaySpec
	for _, l := range list {
		underlays = append(underlays, l.entry.Spec.Underlay)
	}
	return underlays
}

func entriesOf(list []lacking) []ifupdown.Entry {
	var entries []ifupdown.Entry
	for _, l := range list {
		entries = append(entries, l.entry)
	}
	return entries
}

// upEntries brings up what the host has all of now, tells what can't be, and returns
// the rest, which keeps no line behind it waiting.
func upEntries(c *cli.Context, r *reporter, h *host.Host, end deadline, entries []ifupdown.Entry) (later []lacking) {
	for _, entry := range entries {
		h.Patience = end.patience()
		err := upEntry(c, r, h, entry)
		switch {
		case errors.Is(err, fan.ErrNotYet) && ofAnother(entry.Spec.Underlay): // its hook brings it up
		case errors.Is(err, fan.ErrNotYet):
			later = append(later, lacking{entry, err})
		case err != nil:
			r.failed(err)
		}
	}
	return later
}

func upEntry(c *cli.Context, r *reporter, h *host.Host, entry ifupdown.Entry) error {
	if entry.Err != nil || entry.Spec.Off {
		return entry.Err
	}
	spec := entry.Spec
	if spec.Debug {
		return fmt.Errorf("%s:%d: %w", c.String("file"), entry.Line, errDebug)
	}
	spec.Auto = true
	result, err := h.Up(spec, c.Bool("dry-run"))
	if err != nil {
		return fmt.Errorf("%s:%d: %w", c.String("file"), entry.Line, err)
	}
	return r.done(result, upText)
}

// downList takes down every fan, or those that upList has brought up; a failure
// does not keep the others up.
func downList(c *cli.Context, r *reporter, option string, wanted func(fan.Fan) bool) error {
	if err := noFan(c, option); err != nil {
		return err
	}
	end, err := deadlineOf(c)
	if err != nil {
		return err
	}
	return explaining(c, func(h *host.Host) error {
		return h.DownEach(wanted, c.Bool("force"), c.Bool("dry-run"), func(result host.Result, err error) {
			h.Patience = end.patience()
			if err == nil {
				err = r.done(result, downText)
			}
			if err != nil {
				r.failed(err)
			}
		})
	})
}
