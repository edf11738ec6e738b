//go:build vm

package vm

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"
)

// bookkeeping are the whole-program tests that go by what is left behind, and those
// of packets' sizes: about a third of the work.
const bookkeeping = "Up|Down|DryRun|Concurrent|Cycles|Matrix|MTU"

// networks are the tests of what is below a fan and beside it: another third.
const networks = "Interop|Beside|Underlays|ReachOver|Policy|Way|Loopback|VRF|Receiver"

// programs are the tests of how fanctl and other programs of a host get on: dnsmasq,
// ifupdown, firewalld, ufw. The machine has none of them; its kernel is another, they
// are not. The self-tests are among them, which mostly wait for what does not come.
const programs = "Hook|DHCP|Dnsmasq|Firewalld|UFW|EveryForm|SelfTest|Terminal|Deps"

// core are the tests that say whether a kernel does what a fan needs: devices, the
// programs' checks of packets, what is on the wire, firewalls, and what is left behind.
const core = "TestReach$|Forged|Frame|InnerDestination|WrongVNI|Malformed|Outer|ARP|NeverLeaves|TwoOverlays|TwoWays|" +
	"UpAndDown|UpTwice|NarrowWay|Legacy|Bridged|TunnelInside|Marks|TestInteroperates$|Features|Fragments|Datapath|IPIPDevice"

// bare are those of a machine without the ipip module.
const bare = "TestReach$|Forged|InnerDestination|Malformed|Outer|UpAndDown|UpTwice|NarrowWay|TunnelInside|Features"

// part is what one machine does.
type part struct {
	name      string
	run, skip string // patterns of tests
	paths     string // or all that the kernel has
	withheld  string // a module that the machine does not get
	before    string // what a shell does before
}

// The kernels that get all tests; the others get the core.
func inFull(series string) bool { return series == "5.10" || series == "6.12" }

// parts are what to run on a kernel: the tests of its kind, or those of RUN, which is
// "core", "full" or a pattern; by the paths of PATHS, separated by commas.
func parts(series string) []part {
	var all []part
	switch run := os.Getenv("RUN"); {
	case run == "full" || run == "" && inFull(series):
		all = []part{
			{name: "bookkeeping", run: bookkeeping, skip: networks + "|" + programs},
			{name: "networks", run: networks, skip: programs},
			// On many hosts bridged packets go through the firewall, because Docker
			// has loaded this module.
			{name: "the rest", skip: bookkeeping + "|" + networks + "|" + programs, before: "modprobe br_netfilter"},
			// Neither the ipip device nor the description of the kernel's types.
			{name: "bare", run: bare, skip: programs, paths: "ipip by eBPF", withheld: "ipip", before: "mount -t tmpfs none /sys/kernel/btf"},
		}
	case run == "core" || run == "":
		all = []part{{name: "core", run: core, skip: programs, before: "modprobe br_netfilter"}}
	default:
		all = []part{{name: "named", run: run}}
	}
	if paths := os.Getenv("PATHS"); paths != "" {
		for i := range all {
			all[i].paths = paths
		}
	}
	return all
}

// The whole-program tests on each kernel, by all paths, for kernels attach programs
// in different ways. A machine has one processor: two run at once. At the end there
// is a table of kernels, paths and tests.
func TestKernels(t *testing.T) {
	l := newLab(t)
	table := newTable()
	t.Logf("LEFT OUT: the tests of other programs (%s); make test runs them", programs)
	t.Run("all", func(t *testing.T) {
		for _, series := range series() {
			t.Run(series, func(t *testing.T) {
				t.Parallel()
				l := l.on(t, series)
				for _, p := range parts(series) {
					t.Run(p.name, func(t *testing.T) {
						t.Parallel()
						l.suite(t, p, table.column(series, l.kernel.release, p.name))
					})
				}
			})
		}
	})
	fmt.Println(table)
}

// suite runs whole-program tests in a machine.
func (l lab) suite(t *testing.T, p part, column *column) {
	t.Helper()
	l.kernel.withheld = p.withheld
	script := "set -e; " + p.before + "\nexec " + testsPath + ` -test.v -test.short "-test.run=$1" "-test.skip=$2"`
	s := newTranscript(func(group []verdict) {
		column.add(group)
		relay(t, group, p.withheld == "")
	})
	start := time.Now()
	code := l.boot(t, s.line, "env", "FANCTL_PATHS="+p.paths, "sh", "-c", script, "sh", p.run, p.skip)
	column.took = time.Since(start)
	if tests, last := s.unfinished(); len(tests) > 0 {
		t.Errorf("not ended: %q\n%s", tests, strings.Join(last, "\n"))
	}
	if code != 0 && !t.Failed() {
		t.Errorf("exit code %d", code)
	}
	if !slices.ContainsFunc(column.groups, func(v verdict) bool { return v.result == "PASS" }) {
		t.Error("no test has passed")
	}
}

// relay shows the tests in the machine as if they were subtests of this one. With
// the ipip device, none may be left out for want of it.
func relay(t *testing.T, group []verdict, device bool) {
	t.Helper()
	outermost := group[0]
	t.Run(outermost.name, func(t *testing.T) {
		t.Logf("%s in the machine", outermost.took)
		retell(t, outermost, device)
		for _, v := range group[1:] {
			t.Run(strings.TrimPrefix(v.name, outermost.name+"/"), func(t *testing.T) { retell(t, v, device) })
		}
	})
}

func retell(t *testing.T, v verdict, device bool) {
	t.Helper()
	log := strings.Join(v.log, "\n")
	switch {
	case v.result == "FAIL" && log != "":
		t.Errorf("\n%s", log)
	case v.result == "FAIL":
		t.Fail() // what is inside of it says why
	case v.result == "SKIP" && device && strings.Contains(log, "no ipip device"):
		t.Errorf("left out, though this is what the machine is for: %s", log)
	case v.result == "SKIP":
		t.Skip(strings.TrimSpace(log))
	}
}
