//go:build vm

package vm

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// lab is what tests share to start machines.
type lab struct {
	ctx    context.Context
	dir    string // gone after the test
	kernel kernel
	built  binaries
}

// newLab fetches the kernel and compiles our programs. Everything ends, and
// nothing stays, also when the test is interrupted or its time is up.
func newLab(t *testing.T) lab {
	t.Helper()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	t.Cleanup(stop)
	if deadline, ok := t.Deadline(); ok {
		early, cancel := context.WithDeadlineCause(ctx, deadline.Add(-time.Minute), errors.New("the time of the test run is up"))
		t.Cleanup(cancel)
		ctx = early
	}
	cache, err := cacheFolder()
	if err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp(cache, runPrefix())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	l := lab{ctx: ctx, dir: dir}
	if l.kernel, err = fetchKernel(ctx, cache, series()); err != nil {
		t.Fatal(err)
	}
	if l.built, err = compile(ctx, dir); err != nil {
		t.Fatal(err)
	}
	t.Logf("kernel %s", l.kernel.release)
	return l
}

// series is the kernel to test on.
func series() string {
	if s := os.Getenv("KERNEL"); s != "" {
		return s
	}
	return "6.1"
}

// boot runs a command in a new machine and returns its exit code; line gets what
// it prints.
func (l lab) boot(t *testing.T, line func(string), command ...string) int {
	t.Helper()
	file, err := os.CreateTemp(l.dir, "image-")
	if err != nil {
		t.Fatal(err)
	}
	err = writeImage(file, l.kernel, l.built, command)
	if err := errors.Join(err, file.Close()); err != nil {
		t.Fatalf("write the machine's file system: %v", err)
	}
	code, err := machine{kernel: l.kernel, image: file.Name()}.run(l.ctx, line)
	if err != nil {
		t.Fatal(err)
	}
	return code
}

// smoke makes a fan on a host that has never heard of ipip, and shows it. The
// module must come by itself.
const smoke = `
set -e
echo "up $(cat /proc/uptime)"
ip link add eth0 type veth peer name far
ip addr add 10.0.0.11/16 dev eth0
ip link set eth0 up
if grep ^ipip /proc/modules; then exit 1; fi
fanctl up -u 10.0.0.0/16 -o 250.0.0.0/8 >&2
grep -q ^ipip /proc/modules && echo loaded ipip
fanctl show --json | tr -d '\n'
`

// A fan of type ipip is built with the kernel's ipip device where there is one.
func TestSmoke(t *testing.T) {
	l := newLab(t)
	var said []string
	code := l.boot(t, func(line string) { said = append(said, line) }, "sh", "-c", smoke)
	all := strings.Join(said, "\n")
	if code != 0 {
		t.Fatalf("exit code %d:\n%s", code, all)
	}
	t.Log(said[0])
	if !strings.Contains(all, "loaded ipip") {
		t.Errorf("fanctl up has not loaded the ipip module:\n%s", all)
	}
	var shown struct {
		Fans []struct{ Type, Datapath string }
	}
	if err := json.Unmarshal([]byte(all[strings.Index(all+"{", "{"):]), &shown); err != nil {
		t.Fatalf("fanctl show --json: %v:\n%s", err, all)
	}
	if len(shown.Fans) != 1 || shown.Fans[0].Type != "ipip" || shown.Fans[0].Datapath != "device" {
		t.Errorf("fanctl show --json: %+v, want one fan of type ipip with the datapath device", shown.Fans)
	}
}

// half are the whole-program tests that are about half of the work: those that go
// by what is left behind, and those of packets' sizes.
const half = "Up|Down|DryRun|Concurrent|Cycles|Matrix|MTU"

// programs are the tests of how fanctl and other programs of a host get on: dnsmasq,
// ifupdown, firewalld, ufw. The machine has none of them; its kernel is another, they
// are not.
const programs = "Hook|DHCP|Dnsmasq|Firewalld|UFW|EveryForm"

// The whole-program tests, in two machines at once: one has one processor. They go
// by all paths, for this kernel attaches programs in another way than one that has
// tcx; PATHS names some of them, separated by commas, and RUN the tests.
func TestSuite(t *testing.T) {
	l := newLab(t)
	command := []string{"env", "FANCTL_PATHS=" + os.Getenv("PATHS"), testsPath, "-test.v", "-test.short"}
	type part struct {
		name     string
		patterns []string
	}
	parts := []part{{"one half", []string{"-test.run=" + half, "-test.skip=" + programs}}, {"the other", []string{"-test.skip=" + half + "|" + programs}}}
	if run := os.Getenv("RUN"); run != "" {
		parts = []part{{"named", []string{"-test.run=" + run}}}
	}
	t.Logf("LEFT OUT: the tests of other programs (%s); make test runs them", programs)
	for _, part := range parts {
		t.Run(part.name, func(t *testing.T) {
			t.Parallel()
			l.suite(t, slices.Concat(command, part.patterns)...)
		})
	}
}

// suite runs whole-program tests in a machine.
func (l lab) suite(t *testing.T, command ...string) {
	t.Helper()
	s := newTranscript(func(group []verdict) { relay(t, group) })
	start := time.Now()
	code := l.boot(t, s.line, command...)
	t.Logf("%.0f s in all", time.Since(start).Seconds())
	if tests, last := s.unfinished(); len(tests) > 0 {
		t.Errorf("not ended: %q\n%s", tests, strings.Join(last, "\n"))
	}
	if code != 0 && !t.Failed() {
		t.Errorf("exit code %d", code)
	}
}

// relay shows the tests in the machine as if they were subtests of this one.
func relay(t *testing.T, group []verdict) {
	t.Helper()
	outermost := group[0]
	t.Run(outermost.name, func(t *testing.T) {
		t.Logf("%s in the machine", outermost.took)
		retell(t, outermost)
		for _, v := range group[1:] {
			t.Run(strings.TrimPrefix(v.name, outermost.name+"/"), func(t *testing.T) { retell(t, v) })
		}
	})
}

func retell(t *testing.T, v verdict) {
	t.Helper()
	log := strings.Join(v.log, "\n")
	switch {
	case v.result == "FAIL" && log != "":
		t.Errorf("\n%s", log)
	case v.result == "FAIL":
		t.Fail() // what is inside of it says why
	case v.result == "SKIP" && strings.Contains(log, "no ipip device"):
		t.Errorf("left out, though this is what the machine is for: %s", log)
	case v.result == "SKIP":
		t.Skip(strings.TrimSpace(log))
	}
}

// The benchmarks, in the machine. What they measure is printed and not judged:
// each nanosecond is an instruction, so the ratios hardly differ from run to run,
// but what a real processor waits for does not count.
func TestBench(t *testing.T) {
	flags := os.Getenv("BENCH")
	if flags == "" {
		t.Skip("set BENCH to flags of tests/bench (make bench-vm does)")
	}
	l := newLab(t)
	code := l.boot(t, func(line string) { fmt.Println(line) }, append([]string{benchPath}, strings.Fields(flags)...)...)
	if code != 0 {
		t.Errorf("exit code %d", code)
	}
}

// cacheFolder is out/vm of the source tree. What runs that were killed have left
// there is taken away.
func cacheFolder() (string, error) {
	cache, err := filepath.Abs("../../out/vm")
	if err != nil {
		return "", err
	}
	if err := os.MkdirAll(cache, 0o755); err != nil {
		return "", err
	}
	left, err := filepath.Glob(filepath.Join(cache, "run-*"))
	if err != nil {
		return "", err
	}
	for _, dir := range left {
		word := strings.Split(filepath.Base(dir), "-")[1]
		pid, err := strconv.Atoi(word)
		if err == nil && errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) {
			if err := os.RemoveAll(dir); err != nil {
				return "", err
			}
		}
	}
	return cache, nil
}
