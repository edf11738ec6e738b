//go:build vm

package vm

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// lab is what tests share to start machines.
type lab struct {
	ctx    context.Context
	cache  string
	dir    string // gone after the test
	built  binaries
	kernel kernel // see on
}

// newLab compiles our programs. Everything ends, and nothing stays, also when the
// test is interrupted or its time is up.
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
	l := lab{ctx: ctx, cache: cache, dir: dir}
	if l.built, err = compile(ctx, dir); err != nil {
		t.Fatal(err)
	}
	return l
}

// on returns the lab with the newest kernel of a series, which it fetches.
func (l lab) on(t *testing.T, series string) lab {
	t.Helper()
	var err error
	l.kernel, err = fetchKernel(l.ctx, l.cache, series)
	if errors.Is(err, errNoSuite) {
		t.Skipf("SKIPPED: %v", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("kernel %s", l.kernel.release)
	return l
}

// series are the kernels to test on, by KERNEL or all that Debian has.
func series() []string {
	if words := strings.Fields(os.Getenv("KERNEL")); len(words) > 0 {
		return words
	}
	return defaultSeries()
}

// defaultSeries are all kernels, those first that get the most to do.
func defaultSeries() []string { return []string{"6.12", "5.10", "6.1", newest} }

// boot runs a command in a new machine and returns its exit code; line gets what
// it prints.
func (l lab) boot(t *testing.T, line func(string), command ...string) int {
	t.Helper()
	code, err := l.try(nil, line, command...)
	if err != nil {
		t.Fatal(err)
	}
	return code
}

// try is boot for a machine with a network card.
func (l lab) try(card []string, line func(string), command ...string) (int, error) {
	file, err := os.CreateTemp(l.dir, "image-")
	if err != nil {
		return 0, err
	}
	err = writeImage(file, l.kernel, l.built, command)
	if err := errors.Join(err, file.Close()); err != nil {
		return 0, fmt.Errorf("write the machine's file system: %w", err)
	}
	return machine{kernel: l.kernel, image: file.Name(), card: card}.run(l.ctx, line)
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
	for _, series := range series() {
		t.Run(series, func(t *testing.T) {
			code := l.on(t, series).boot(t, func(line string) { fmt.Println(line) }, append([]string{benchPath}, strings.Fields(flags)...)...)
			if code != 0 {
				t.Errorf("exit code %d", code)
			}
		})
	}
}

// cacheFolder is below the user's folder for caches. What runs that were killed
// have left there is taken away.
func cacheFolder() (string, error) {
	base, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	cache := filepath.Join(base, "fanctl-tests", "vm")
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
