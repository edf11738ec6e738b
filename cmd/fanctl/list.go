package main

import (
	"errors"
	"fmt"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/fanctl/fanctl/fan"
	"github.com/fanctl/fanctl/ifupdown"
	"github.com/fanctl/fanctl/internal/host"
)

// fileFlag names the list of fans.
func fileFlag() cli.Flag {
	return &cli.StringFlag{Name: "file", Usage: "the list of fans, `FILE`", Value: ifupdown.Path}
}

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

// upList brings up every fan of the list; a failure does not keep the others down.
func upList(c *cli.Context, r *reporter) error {
	if err := noFan(c, "all"); err != nil {
		return err
	}
	list, err := ifupdown.Load(c.String("file"))
	if err != nil {
		return err
	}
	return explaining(c, func(h *host.Host) error {
		var last error
		for _, entry := range list.Entries() {
			if err := upEntry(c, r, h, entry); err != nil {
				r.failed(err)
				last = reportedError{err}
			}
		}
		return last
	})
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
	device := hookDevice()
	var wait time.Duration
	if device != "" && device == spec.Underlay.Device {
		wait = hookWait
	}
	if err := await(c, h, spec.Underlay, wait); err != nil {
		return err
	}
	result, err := h.Up(spec, c.Bool("dry-run"))
	if device != "" && device != spec.Underlay.Device && errors.Is(err, fan.ErrNotYet) {
		return nil // the hook of another interface brings it up
	}
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
	return explaining(c, func(h *host.Host) error {
		return h.DownEach(wanted, c.Bool("force"), c.Bool("dry-run"), func(result host.Result, err error) {
			if err == nil {
				err = r.done(result, downText)
			}
			if err != nil {
				r.failed(err)
			}
		})
	})
}
