package main

import (
	"bytes"
	"flag"
	"testing"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/fanctl/fanctl/fan"
	"github.com/fanctl/fanctl/internal/command"
)

// In a hook, waiting for other runs of fanctl ends with the waiting for addresses, or
// where there is none of that, soon.
func TestDeadline(t *testing.T) {
	for _, test := range []struct {
		set        []string
		hook       bool
		wait, lock time.Duration
	}{
		{nil, false, 0, 0},
		{[]string{"--wait", "7"}, false, 7 * time.Second, 0},
		{nil, true, hookWait, hookWait},
		{[]string{"--wait", "0"}, true, 0, hookWait},
		{[]string{"--wait", "7"}, true, 7 * time.Second, 7 * time.Second},
		{[]string{"--wait", "7", "--dry-run"}, true, 0, hookWait},
	} {
		t.Setenv("MODE", map[bool]string{true: "start"}[test.hook])
		t.Setenv("PHASE", "post-up")
		flags := flag.NewFlagSet("up", flag.ContinueOnError)
		for _, f := range []cli.Flag{waitFlag(), command.PlanFlag()} {
			if err := f.Apply(flags); err != nil {
				t.Fatal(err)
			}
		}
		if err := flags.Parse(test.set); err != nil {
			t.Fatal(err)
		}
		t.Setenv("IFACE", "eth0")
		before := time.Now()
		end, err := deadlineOf(cli.NewContext(newApp(&bytes.Buffer{}, &bytes.Buffer{}), flags, nil))
		if err != nil || end.wait.Before(before.Add(test.wait)) || end.wait.After(time.Now().Add(test.wait)) || end.over() != (test.wait == 0) {
			t.Errorf("%q: waits until %s, %v; want %s after %s", test.set, end.wait, err, test.wait, before)
		}
		if got := end.patience(); got > test.lock || (got == 0) != (test.lock == 0) {
			t.Errorf("%q: has patience for %s, want at most %s", test.set, got, test.lock)
		}
	}
}

// Only what is named by another device is another hook's affair, but nothing of the
// loopback device.
func TestOfAnother(t *testing.T) {
	for device, want := range map[string]map[string]bool{
		"":     {"eth0": false, "eth1": false, "10.0.0.0/16": false, "default": false, "lo/16": false},
		"eth0": {"eth0": false, "eth1": true, "10.0.0.0/16": false, "default": false, "lo/16": false},
	} {
		t.Setenv("MODE", "start")
		t.Setenv("PHASE", "post-up")
		t.Setenv("IFACE", device)
		for text, another := range want {
			underlay, err := fan.ParseUnderlay(text)
			if err != nil || ofAnother(underlay) != another {
				t.Errorf("hook of %q, underlay %s: of another is %t, want %t (%v)", device, text, !another, another, err)
			}
		}
	}
}
