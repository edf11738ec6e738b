package bed

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

const (
	netnsDir = "/run/netns" // where ip-netns(8) and nsenter find namespaces by name
	prefix   = "fant-"      // of every namespace of a bed: fant-PID-BED-ROLE
	// hangs is when a command that should have ended long ago is killed. It is no
	// measure of speed: an emulated processor may take its time.
	hangs = 5 * time.Minute
)

// NS is a network namespace.
type NS struct {
	// Name is what the namespace is called under /run/netns.
	Name string
	path string
	fd   *os.File
}

// Result is what a command has left behind.
type Result struct {
	Stdout, Stderr string
	// Code is the exit code; -1 if the command did not start or was killed.
	Code int
	// Signal is what killed the command, or 0.
	Signal syscall.Signal
}

// String shows a result for the message of a failed test.
func (r Result) String() string {
	end := fmt.Sprintf("exit code %d", r.Code)
	if r.Signal != 0 {
		end = "killed by " + r.Signal.String()
	}
	return fmt.Sprintf("%s\nstdout: %s\nstderr: %s", end, r.Stdout, r.Stderr)
}

// newNS makes a namespace and its name, exclusively; errors.Is(err,
// os.ErrExist) if the name is taken.
func newNS(name string) (*NS, error) {
	if err := shareNames(); err != nil {
		return nil, fmt.Errorf("share %s: %w", netnsDir, err)
	}
	path := filepath.Join(netnsDir, name)
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_RDONLY, 0o444)
	if err != nil {
		return nil, err
	}
	f.Close()
	err = onOwnThread(func() error {
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("unshare network: %w", err)
		}
		own := fmt.Sprintf("/proc/self/task/%d/ns/net", unix.Gettid())
		if err := unix.Mount(own, path, "none", unix.MS_BIND, ""); err != nil {
			return fmt.Errorf("mount namespace on %s: %w", path, err)
		}
		return nil
	})
	if err == nil {
		f, err = os.Open(path)
	}
	if err != nil {
		return nil, errors.Join(err, remove(path))
	}
	return &NS{Name: name, path: path, fd: f}, nil
}

// shareNames makes the folder of names as ip-netns(8) wants it, a shared mount. It
// would else do so itself, the first time that somebody on the machine uses it, by a
// mount over the names that are there: those could not be taken away any more.
func shareNames() error {
	if err := os.MkdirAll(netnsDir, 0o755); err != nil {
		return err
	}
	dir, err := os.Open(netnsDir)
	if err != nil {
		return err
	}
	defer dir.Close()
	if err := unix.Flock(int(dir.Fd()), unix.LOCK_EX); err != nil {
		return err
	}
	share := func() error { return unix.Mount("", netnsDir, "none", unix.MS_SHARED|unix.MS_REC, "") }
	if err := share(); !errors.Is(err, unix.EINVAL) {
		return err
	}
	if err := unix.Mount(netnsDir, netnsDir, "none", unix.MS_BIND|unix.MS_REC, ""); err != nil {
		return err
	}
	return share()
}

// OfProcess is the namespace that a process is in; it has no name under /run/netns.
// It is given back with the test.
func OfProcess(t testing.TB, pid int) *NS {
	t.Helper()
	path := fmt.Sprintf("/proc/%d/ns/net", pid)
	f, err := os.Open(path)
	if err != nil {
		t.Fatalf("find the network namespace of a process: %v", err)
	}
	t.Cleanup(func() { f.Close() })
	return &NS{Name: fmt.Sprintf("of process %d", pid), path: path, fd: f}
}

// remove takes a namespace's name away; the kernel ends the namespace when
// nothing runs in it any more.
func remove(path string) error {
	err := unix.Unmount(path, unix.MNT_DETACH)
	if errors.Is(err, unix.EINVAL) {
		err = nil // not a mount point: its maker died before it could mount
	}
	return errors.Join(err, os.Remove(path))
}

func (n *NS) close() error {
	return errors.Join(n.fd.Close(), remove(n.Path()))
}

// Path is the file that stands for the namespace.
func (n *NS) Path() string { return n.path }

// Do runs fn on a thread of its own that is inside the namespace. Sockets that
// fn opens stay in the namespace when they are used elsewhere. fn must not call
// t.Fatal, nor start goroutines that want to be in the namespace.
func (n *NS) Do(fn func() error) error {
	return onOwnThread(func() error {
		if err := unix.Setns(int(n.fd.Fd()), unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("enter namespace %s: %w", n.Name, err)
		}
		return fn()
	})
}

// onOwnThread runs fn on a thread that is never unlocked, so that the runtime
// ends it with the goroutine and no other goroutine inherits its namespace.
func onOwnThread(fn func() error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		done <- fn()
	}()
	return <-done
}

// Command prepares a command inside the namespace. The kernel kills it with the
// test, should that die: with the thread that starts it, to be exact, so whoever
// starts it has to stay on that thread until it ends.
func (n *NS) Command(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, "nsenter", append([]string{"--net=" + n.Path()}, args...)...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	cmd.WaitDelay = 5 * time.Second
	return cmd
}

// Exec runs a command inside the namespace to its end.
func (n *NS) Exec(args ...string) Result { return n.exec("", nil, args...) }

func (n *NS) exec(stdin string, env []string, args ...string) Result {
	ctx, cancel := context.WithTimeout(context.Background(), hangs)
	defer cancel()
	cmd := n.Command(ctx, args...)
	if stdin != "" {
		cmd.Stdin = strings.NewReader(stdin)
	}
	cmd.Env = append(os.Environ(), env...)
	return run(cmd)
}

func run(cmd *exec.Cmd) Result {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	r := Result{Stdout: out.String(), Stderr: errs.String()}
	var exit *exec.ExitError
	switch {
	case errors.As(err, &exit):
		r.Code = exit.ExitCode()
		if status, ok := exit.Sys().(syscall.WaitStatus); ok && status.Signaled() {
			r.Signal = status.Signal()
		}
	case err != nil:
		r.Code = -1
		r.Stderr += err.Error()
	}
	return r
}

// Must runs a command inside the namespace, fails the test if it fails, and
// returns its output.
func (n *NS) Must(t testing.TB, args ...string) string {
	t.Helper()
	r := n.Exec(args...)
	if r.Code != 0 {
		t.Fatalf("in %s: %s: %s", n.Name, strings.Join(args, " "), r)
	}
	return r.Stdout
}

// IP runs lines of ip(8) commands, without the word "ip", in one go.
func (n *NS) IP(t testing.TB, lines ...string) {
	t.Helper()
	if r := n.exec(strings.Join(lines, "\n")+"\n", nil, "ip", "-batch", "-"); r.Code != 0 {
		t.Fatalf("in %s: %s:\n%s", n.Name, r, strings.Join(lines, "\n"))
	}
}

// Sysctl sets a value of /proc/sys/net; the path begins below that. What the
// kernel does not have is left out.
func (n *NS) Sysctl(t testing.TB, path, value string) {
	t.Helper()
	err := n.Do(func() error {
		return os.WriteFile(filepath.Join("/proc/sys/net", path), []byte(value), 0o644)
	})
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatalf("in %s: set %s: %v", n.Name, path, err)
	}
}

// Sweep takes away what beds of dead processes have left.
func Sweep() error {
	names, err := filepath.Glob(filepath.Join(netnsDir, prefix+"*"))
	if err != nil {
		return err
	}
	var failed []error
	for _, path := range names {
		word, _, _ := strings.Cut(strings.TrimPrefix(filepath.Base(path), prefix), "-")
		pid, err := strconv.Atoi(word)
		if err != nil || alive(pid) {
			continue
		}
		failed = append(failed, endInhabitants(path))
		if err := remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
			failed = append(failed, err)
		}
	}
	return errors.Join(failed...)
}

// endInhabitants kills what runs in a namespace: servers that a program under test has
// started outlive the test that was killed.
func endInhabitants(path string) error {
	pids, err := inhabitants(path)
	for _, pid := range pids {
		_ = unix.Kill(pid, unix.SIGKILL) // gone is fine
	}
	return err
}

// inhabitants are the processes in a namespace; none if it has gone.
func inhabitants(path string) (pids []int, err error) {
	var home unix.Stat_t
	if err := unix.Stat(path, &home); err != nil {
		return nil, nil
	}
	processes, err := filepath.Glob("/proc/[0-9]*")
	for _, process := range processes {
		var lives unix.Stat_t
		if unix.Stat(filepath.Join(process, "ns/net"), &lives) != nil || lives.Dev != home.Dev || lives.Ino != home.Ino {
			continue
		}
		if pid, err := strconv.Atoi(filepath.Base(process)); err == nil {
			pids = append(pids, pid)
		}
	}
	return pids, err
}

func alive(pid int) bool {
	return !errors.Is(unix.Kill(pid, 0), unix.ESRCH)
}
