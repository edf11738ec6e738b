package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/urfave/cli/v2"

	"github.com/fanctl/fanctl/fan"
	"github.com/fanctl/fanctl/internal/command"
	"github.com/fanctl/fanctl/internal/host"
	"github.com/fanctl/fanctl/internal/plan"
)

// command is a command line's context with the flags that are set.
func commandLine(t *testing.T, out, errOut *bytes.Buffer, set ...string) *cli.Context {
	t.Helper()
	flags := flag.NewFlagSet("up", flag.ContinueOnError)
	for _, f := range []cli.Flag{command.JSONFlag(), command.PlanFlag(), command.VerboseFlag()} {
		if err := f.Apply(flags); err != nil {
			t.Fatal(err)
		}
	}
	if err := flags.Parse(set); err != nil {
		t.Fatal(err)
	}
	return cli.NewContext(newApp(out, errOut), flags, nil)
}

// change is a fan that has moved, with two steps.
func change(t *testing.T) host.Result {
	t.Helper()
	f := statuses(t)[0].Fan
	was := f
	was.Host, was.Device = netip.MustParseAddr("10.0.0.44"), "eth1"
	return host.Result{Fan: f, Datapath: fan.EBPF, Was: &was, Notes: []string{"mind the gap"},
		Plan: plan.Plan{{Text: "ip link set fan-250 up"}, {Text: "iptables -N A\niptables -N B"}}}
}

func TestReportInWords(t *testing.T) {
	var out, errOut bytes.Buffer
	err := reported(commandLine(t, &out, &errOut), func(r *reporter) error {
		r.failed(errors.New("the other one\nfailed"))
		return r.done(change(t), func(host.Result) string { return "done" })
	})
	var told command.ReportedError
	if !errors.As(err, &told) || out.String() != "done\n" || errOut.String() != "fanctl: the other one; failed\nfanctl: mind the gap\n" {
		t.Errorf("%v, out %q, errors %q", err, out.String(), errOut.String())
	}
}

// A plan without steps is told beside them, so that who reads the steps finds none.
func TestReportNothingToDo(t *testing.T) {
	up := statuses(t)[0].Fan
	for want, result := range map[string]host.Result{
		"fanctl: fan-250 is up; nothing to do\n":     {Fan: up, Was: &up},
		"fanctl: fan-250 is not up; nothing to do\n": {Fan: fan.Fan{Bridge: "fan-250"}},
	} {
		var out, errOut bytes.Buffer
		err := reported(commandLine(t, &out, &errOut, "--dry-run"), func(r *reporter) error { return r.done(result, upText) })
		if err != nil || out.Len() > 0 || errOut.String() != want {
			t.Errorf("%v, out %q, errors %q, want %q", err, out.String(), errOut.String(), want)
		}
	}
}

func TestReportAsJSON(t *testing.T) {
	for name, test := range map[string]struct {
		set []string
		do  func(*reporter) error
		err string
	}{
		"report-json": {[]string{"--json"}, func(r *reporter) error { return r.done(change(t), upText) }, ""},
		"report-gone-json": {[]string{"--json"}, func(r *reporter) error {
			return r.done(host.Result{Fan: fan.Fan{Bridge: "fan-250"}}, downText)
		}, ""},
		"report-planned-json": {[]string{"--json"}, func(r *reporter) error { return r.planned(change(t)) }, ""},
		"report-none-json":    {[]string{"--json"}, func(*reporter) error { return nil }, ""},
		"report-failed-json":  {[]string{"--json", "--dry-run"}, func(*reporter) error { return errors.New("a\nb") }, "a\nb"},
		"report-each-json": {[]string{"--json", "--dry-run"}, func(r *reporter) error {
			r.failed(errors.New("this one"))
			return r.done(change(t), upText)
		}, "this one"},
	} {
		var out, errOut bytes.Buffer
		err := reported(commandLine(t, &out, &errOut, test.set...), test.do)
		if (err == nil) != (test.err == "") || err != nil && err.Error() != test.err {
			t.Errorf("%s: error %v, want %q", name, err, test.err)
		}
		checkGolden(t, name, out.String())
	}
}

// What was done shows step by step, and the next observer can still make it fail.
func TestTellSteps(t *testing.T) {
	var out bytes.Buffer
	p := change(t).Plan
	for i := range p {
		p[i].Do = func() error { return nil }
	}
	if err := p.Apply(tellSteps(&out, nil)); err != nil {
		t.Error(err)
	}
	const want = "+ ip link set fan-250 up\n+ iptables -N A\n+ iptables -N B\n"
	if out.String() != want {
		t.Errorf("told is\n%s\nwant\n%s", out.String(), want)
	}
	fault := errors.New("a fault")
	if err := p.Apply(tellSteps(&out, func(int, plan.Step) error { return fault })); !errors.Is(err, fault) {
		t.Errorf("error %v, want the next observer's", err)
	}
}

// An error is told once and makes the command fail, whoever tells it.
func TestEveryErrorIsTold(t *testing.T) {
	one, two := errors.New("one"), errors.New("two")
	for name, test := range map[string]struct {
		tell   []error
		end    error
		inText string // what run has still to tell
		inJSON []string
	}{
		"none":                         {nil, nil, "", []string{}},
		"told":                         {[]error{one}, nil, "", []string{"one"}},
		"told, and ends the command":   {[]error{one}, fmt.Errorf("of all: %w", one), "", []string{"one"}},
		"ends the command":             {nil, two, "two", []string{"two"}},
		"another one ends the command": {[]error{one}, two, "two", []string{"one", "two"}},
	} {
		for _, set := range [][]string{nil, {"--json"}} {
			var out, errOut bytes.Buffer
			err := reported(commandLine(t, &out, &errOut, set...), func(r *reporter) error {
				for _, e := range test.tell {
					r.failed(e)
				}
				return test.end
			})
			var told command.ReportedError
			if (err == nil) != (test.tell == nil && test.end == nil) || errors.As(err, &told) != (err != nil && test.inText == "") ||
				test.inText != "" && err.Error() != test.inText {
				t.Errorf("%s %q: ends with %v, want what is still to be told to be %q", name, set, err, test.inText)
			}
			var printed struct{ Errors []string }
			if set == nil {
				continue
			}
			if err := json.Unmarshal(out.Bytes(), &printed); err != nil || !slices.Equal(printed.Errors, test.inJSON) {
				t.Errorf("%s: JSON has the errors %q, want %q (%v)", name, printed.Errors, test.inJSON, err)
			}
		}
	}
}

// closed is an output that takes nothing.
type closed struct{}

func (closed) Write([]byte) (int, error) { return 0, errors.New("it is closed") }

// Fans of which nobody can be told count as failed.
func TestReportThatNobodyGets(t *testing.T) {
	var errOut bytes.Buffer
	c := commandLine(t, &bytes.Buffer{}, &errOut)
	c.App.Writer = closed{}
	err := reported(c, func(r *reporter) error {
		if err := r.done(change(t), upText); err != nil {
			r.failed(err)
		}
		return nil
	})
	if err == nil || !strings.Contains(errOut.String(), "fanctl: it is closed\n") {
		t.Errorf("ends with %v, told is %q", err, errOut.String())
	}
}
