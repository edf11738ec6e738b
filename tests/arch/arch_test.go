//go:build arch

// Package arch runs the tests that need no kernel of their own for the other
// processors that we make programs for, under qemu-user: what holds for this
// machine's byte order and word size has to hold for theirs. The mapping's golden
// vectors and the eBPF programs of both byte orders are among them.
//
// What needs a kernel of that processor's is in tests/vm: make test-vm ARCH=s390x.
package arch

import (
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"
)

const module = "github.com/fanctl/fanctl/"

// processor is one that programs are made for.
type processor struct {
	arch     string   // Go's name
	emulator string   // Debian: qemu-user-static
	settings []string // what a release is made with, and what the emulator needs
}

// processors are all but amd64, which make test is for.
func processors() []processor {
	return []processor{
		{"arm", "qemu-arm-static", []string{"GOARM=6"}},
		{"arm64", "qemu-aarch64-static", []string{"GOARM64=v8.0"}},
		// QEMU 7.2 has a signal's handler look for its thread at the wrong place;
		// without these signals there are none (fatal: bad g in signal handler).
		{"386", "qemu-i386-static", []string{"GO386=sse2", "GODEBUG=asyncpreemptoff=1"}},
		{"ppc64le", "qemu-ppc64le-static", []string{"GOPPC64=power8"}},
		{"s390x", "qemu-s390x-static", nil},
	}
}

// The tests of every package, for each processor; PROCESSORS names some of them.
func TestProcessors(t *testing.T) {
	packages := testedPackages(t)
	chosen := strings.Fields(os.Getenv("PROCESSORS"))
	for _, p := range processors() {
		if len(chosen) > 0 && !slices.Contains(chosen, p.arch) {
			continue
		}
		t.Run(p.arch, func(t *testing.T) {
			emulator, err := exec.LookPath(p.emulator)
			if err != nil {
				t.Fatalf("%v (try: make deps-arch)", err)
			}
			p.emulator = emulator
			p.runAll(t, packages)
		})
	}
}

// testedPackages returns all packages of the module that have tests, without its
// own path before them.
func testedPackages(t *testing.T) []string {
	t.Helper()
	out, err := exec.Command("go", "list", "-f", "{{if or .TestGoFiles .XTestGoFiles}}{{.ImportPath}}{{end}}", module+"...").Output()
	if err != nil {
		t.Fatalf("list packages: %v", err)
	}
	var packages []string
	for _, name := range strings.Fields(string(out)) {
		packages = append(packages, strings.TrimPrefix(name, module))
	}
	return packages
}

// runAll runs the packages' tests: in one go those of which nothing is left out.
func (p processor) runAll(t *testing.T, packages []string) {
	t.Helper()
	start := time.Now()
	left := p.leftOut()
	groups := map[string][]string{}
	for _, name := range packages {
		if !whole(left, name) {
			pattern := skipPattern(left, name)
			groups[pattern] = append(groups[pattern], module+name)
		}
	}
	var all tally
	for pattern, group := range groups {
		got := p.run(t, pattern, group)
		if got.packages != len(group) && !t.Failed() {
			t.Errorf("tests of %d packages ended, want %d: %s", got.packages, len(group), group)
		}
		all.packages += got.packages
		all.passed += got.passed
		all.skipped += got.skipped
	}
	for _, e := range left {
		t.Logf("LEFT OUT: %s", e)
	}
	t.Logf("%s: %d packages, %d tests passed, %d skipped, %.0f s", p.arch, all.packages, all.passed, all.skipped, time.Since(start).Seconds())
}

// run has the go command compile the tests and give them to the emulator, each in
// its package's folder.
func (p processor) run(t *testing.T, skip string, packages []string) tally {
	t.Helper()
	words := []string{"test", "-json", "-vet=off", "-short", "-count=1", "-p=2", "-timeout=10m", "-exec=" + p.emulator}
	if skip != "" {
		words = append(words, "-skip="+skip)
	}
	cmd := exec.Command("go", append(words, packages...)...)
	cmd.Env = append(os.Environ(), append([]string{"GOARCH=" + p.arch, "CGO_ENABLED=0"}, p.settings...)...)
	var said strings.Builder
	cmd.Stderr = &said
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	got, readErr := read(t, out)
	// That tests have failed, their packages have said.
	if err := cmd.Wait(); (err != nil && !t.Failed()) || readErr != nil {
		t.Errorf("go test: %v\n%s", errors.Join(err, readErr), said.String())
	}
	return got
}

// tally is how many there were; tests inside of others count, too.
type tally struct{ packages, passed, skipped int }

// event is what go test -json prints (go doc test2json).
type event struct{ Action, Package, Test, Output string }

// read goes through the events, and says of failures and skips what they said.
func read(t *testing.T, out io.Reader) (tally, error) {
	t.Helper()
	var all tally
	said := map[string]string{}
	for decoder := json.NewDecoder(out); ; {
		var e event
		if err := decoder.Decode(&e); err != nil {
			if errors.Is(err, io.EOF) {
				err = nil
			}
			return all, err
		}
		name := strings.TrimPrefix(e.Package, module) + " " + e.Test
		switch e.Action {
		case "output", "build-output":
			said[name] += e.Output
		case "pass":
			if e.Test == "" {
				all.packages++
			} else {
				all.passed++
			}
		case "skip":
			all.skipped++
			why := reason(said[name])
			if why == "" {
				t.Errorf("%s was skipped for no reason", name)
			}
			t.Logf("SKIPPED: %s\n%s", name, why)
		case "fail", "build-fail":
			t.Errorf("FAIL: %s\n%s%s", name, said[name], said[" "])
		}
	}
}

// reason is the lines of a test's output that are its own.
func reason(said string) string {
	var own []string
	for line := range strings.Lines(said) {
		if !strings.HasPrefix(line, "=== ") && !strings.HasPrefix(strings.TrimSpace(line), "--- ") {
			own = append(own, line)
		}
	}
	return strings.Join(own, "")
}
