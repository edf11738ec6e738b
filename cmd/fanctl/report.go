package main

import (
	"errors"
	"fmt"

	"github.com/urfave/cli/v2"

	"github.com/fanctl/fanctl/fan"
	"github.com/fanctl/fanctl/internal/command"
	"github.com/fanctl/fanctl/internal/host"
)

// reporter tells what a command that changes fans has done: in words as it goes on
// or, with --json, all of it at the end.
type reporter struct {
	c    *cli.Context
	told error // the last error that was told, nil for none

	Fans   []changeJSON `json:"fans"`
	Errors []string     `json:"errors"`
}

// changeJSON is a change as --json prints it; its fields are a promise to scripts.
type changeJSON struct {
	fanJSON
	Was    *wasJSON `json:"was"`   // null if the fan was not up
	Steps  []string `json:"steps"` // what was done, or would be with --dry-run
	DryRun bool     `json:"dry_run"`
	Notes  []string `json:"notes"`
}

type wasJSON struct {
	Host   string `json:"host"`
	Device string `json:"device"`
	Slice  string `json:"slice"`
	MTU    int    `json:"mtu"`
}

// reported runs a command that changes fans. Any error makes it fail, and only those
// that the reporter has told are not told again.
func reported(c *cli.Context, do func(*reporter) error) error {
	r := &reporter{c: c, Fans: []changeJSON{}, Errors: []string{}}
	err := do(r)
	switch {
	case r.told != nil && (err == nil || errors.Is(err, r.told)):
		err = command.ReportedError{Err: r.told}
	case err != nil:
		r.Errors = append(r.Errors, command.OneLine(err))
	}
	if !c.Bool("json") {
		return err
	}
	if failed := command.PrintJSON(c.App.Writer, r); err == nil {
		return failed
	}
	return err
}

// done tells of a change, which words says in words.
func (r *reporter) done(result host.Result, words func(host.Result) string) error {
	if r.c.Bool("dry-run") {
		return r.planned(result)
	}
	if r.c.Bool("json") {
		r.Fans = append(r.Fans, changeOf(result, false))
		return nil
	}
	r.note(result)
	_, err := fmt.Fprintln(r.c.App.Writer, words(result))
	return err
}

// planned tells of a change that would be made, by its steps. That there are none is
// no step, and so is told beside them.
func (r *reporter) planned(result host.Result) error {
	if r.c.Bool("json") {
		r.Fans = append(r.Fans, changeOf(result, true))
		return nil
	}
	r.note(result)
	if len(result.Plan) == 0 {
		state := "is not up"
		if result.Was != nil {
			state = "is up"
		}
		command.PrintNote(r.c.App, result.Fan.Bridge+" "+state+"; nothing to do")
	}
	return printPlan(r.c.App.Writer, result.Plan)
}

func (r *reporter) note(result host.Result) {
	for _, note := range result.Notes {
		command.PrintNote(r.c.App, note)
	}
}

// failed tells of an error that does not end the command.
func (r *reporter) failed(err error) {
	command.PrintError(r.c.App, err)
	r.Errors = append(r.Errors, command.OneLine(err))
	r.told = err
}

func changeOf(r host.Result, dryRun bool) changeJSON {
	c := changeJSON{fanJSON: fanJSON{Bridge: r.Fan.Bridge}, Steps: []string{}, DryRun: dryRun, Notes: append([]string{}, r.Notes...)}
	if r.Fan.Mapping != (fan.Mapping{}) { // else no more is known of it
		c.fanJSON = jsonOf(host.Status{Fan: r.Fan, Datapath: r.Datapath, Tunnel: r.Fan.Tunnel()})
	}
	for _, step := range r.Plan {
		c.Steps = append(c.Steps, step.String())
	}
	if r.Was != nil {
		c.Was = &wasJSON{r.Was.Host.String(), r.Was.Device, r.Was.Slice().String(), int(r.Was.MTU)}
	}
	return c
}
