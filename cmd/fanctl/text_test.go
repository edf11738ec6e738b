package main

import (
	"bytes"
	"errors"
	"net/netip"
	"strings"
	"syscall"
	"testing"

	"github.com/urfave/cli/v2"

	"github.com/fanctl/fanctl/fan"
	"github.com/fanctl/fanctl/internal/command"
	"github.com/fanctl/fanctl/internal/host"
	"github.com/fanctl/fanctl/internal/plan"
)

// broken is a pipe whose reader has gone.
type broken struct{}

func (broken) Write([]byte) (int, error) { return 0, syscall.EPIPE }

func TestUpSaysWhatTheHostHas(t *testing.T) {
	for name, p := range map[string]plan.Plan{"up": {{Text: "ip link set fan-250 up"}}, "up-already": nil} {
		var text strings.Builder
		for _, s := range statuses(t) {
			text.WriteString(upText(host.Result{Fan: s.Fan, Plan: p}) + "\n")
		}
		checkGolden(t, name, text.String())
	}
}

func TestPlanPrintsAsCommands(t *testing.T) {
	var out bytes.Buffer
	p := plan.Plan{{Text: "ip link set fan-250 up"}, {Text: "iptables -N A\niptables -N B"}}
	if err := printPlan(&out, p); err != nil || out.String() != "ip link set fan-250 up\niptables -N A\niptables -N B\n" {
		t.Errorf("the plan prints as\n%s, %v", out.String(), err)
	}
	out.Reset()
	if err := printPlan(&out, nil); err != nil || out.Len() > 0 {
		t.Errorf("an empty plan prints as %q, %v", out.String(), err)
	}
}

// What can't be written is a failure, so that a script does not take half a list
// for the whole.
func TestPrintingFails(t *testing.T) {
	list := statuses(t)
	for name, err := range map[string]error{
		"plan":  printPlan(broken{}, plan.Plan{{Text: "a"}}),
		"table": showTable(broken{}, list), "JSON": showJSON(broken{}, list),
	} {
		if !errors.Is(err, syscall.EPIPE) {
			t.Errorf("%s: error %v, want the writer's", name, err)
		}
	}
}

// A failure that is not the input's is exit code 1.
func TestFailure(t *testing.T) {
	var errOut bytes.Buffer
	if code := run([]string{"fanctl", "show"}, broken{}, &errOut); code != 1 || errOut.String() != "fanctl: broken pipe\n" {
		t.Errorf("exit code %d, %q; want 1 and one line", code, errOut.String())
	}
	errOut.Reset()
	t.Setenv("FANCTL_FAIL_AFTER", "x")
	if code := run([]string{"fanctl", "show"}, broken{}, &errOut); code != 2 || strings.Count(errOut.String(), "\n") != 1 {
		t.Errorf("exit code %d, %q; want 2 and one line", code, errOut.String())
	}
}

func TestSpecOfUp(t *testing.T) {
	var got fan.Spec
	app := newApp(&bytes.Buffer{}, &bytes.Buffer{})
	up := app.Command("up")
	for line, want := range map[string]fan.Spec{
		"-u eth0/24 -o 250":   {},
		"250.0.0.0/8 eth0/24": {},
		"eth0/24 250":         {},
		"-o 250 eth0/24":      {},
		"250 --type vxlan eth0/24 --mtu=1300 bridge b":  {Type: fan.VXLAN, MTU: 1300, Bridge: "b"},
		"250 --no-nat eth0/24":                          {NoNAT: true},
		"--no-nat=false -- 250 eth0/24 --datapath ebpf": {Datapath: fan.EBPF},
		"--fast -u eth0/24 -o 250":                      {Fast: fan.FastIfSafe},
		"-u eth0/24 --fast=force -o 250":                {Fast: fan.FastAnyway},
		"-u eth0/24 -o 250 --fast=on":                   {Fast: fan.FastIfSafe},
		"250 --fast eth0/24":                            {Fast: fan.FastIfSafe}, // eth0/24 is not its value
		"250 eth0/24 fast no-nat":                       {Fast: fan.FastIfSafe, NoNAT: true},
		"-u eth0/24 -o 250.0.0.0/8 --type vxlan --port 4790 --bridge mine --no-nat --mtu 1300": {
			Type: fan.VXLAN, Port: 4790, Bridge: "mine", NoNAT: true, MTU: 1300},
		"--overlay 250 --underlay eth0/24 --datapath ebpf": {Datapath: fan.EBPF},
	} {
		up.Action = func(c *cli.Context) (err error) {
			got, err = command.SpecOf(c)
			return err
		}
		want.Underlay, want.Overlay = fan.UnderlaySpec{Device: "eth0", Bits: 24}, netip.MustParsePrefix("250.0.0.0/8")
		if err := command.Run(t.Context(), app, append([]string{"fanctl", "up"}, strings.Fields(line)...), unknownCommand); err != nil || got != want {
			t.Errorf("up %s asks for\n%+v, %v; want\n%+v", line, got, err, want)
		}
	}
}
