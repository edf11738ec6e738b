package host

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/fanctl/fanctl/fan"
	"github.com/fanctl/fanctl/internal/plan"
)

// planWatch adds the start of a watcher to the plan of a fast fan, if there is none.
func planWatch(r *Result) {
	if r.Fan.Fast == fan.Normal || isWatched() {
		return
	}
	r.Plan = append(r.Plan, plan.Step{Text: "fanctl watch &", Do: startWatcher})
}

// isWatched says whether a process watches this network namespace. Where it can't be
// told none is needed.
func isWatched() bool {
	unlock, err := lockFile("/run", watcher, 0)
	if err != nil {
		return true
	}
	unlock()
	return false
}

// startWatcher starts a process that goes on by itself. Where a unit of systemd starts
// it, it gets one of its own, and the same log.
func startWatcher() error {
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("start fanctl watch: %w", err)
	}
	// fanatic has its fanctl beside it.
	path := filepath.Join(filepath.Dir(self), "fanctl")
	if _, err := os.Stat(path); err != nil {
		path = self
	}
	if run, err := exec.LookPath("systemd-run"); err == nil && os.Getenv("INVOCATION_ID") != "" {
		cmd := detached(run, "--scope", "--quiet", "--collect", "--description=fanctl watch", "--", path, "watch")
		if cmd.Start() == nil && watches(cmd) {
			return nil
		} // there is no systemd after all
	}
	cmd := detached(path, "watch")
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start fanctl watch: %w", err)
	}
	return cmd.Process.Release()
}

func detached(name string, args ...string) *exec.Cmd {
	cmd := exec.Command(name, args...)
	cmd.SysProcAttr = &unix.SysProcAttr{Setsid: true}
	cmd.Env = []string{"PATH=" + os.Getenv("PATH")}
	if toJournal(os.Stderr) {
		cmd.Stdout, cmd.Stderr = os.Stderr, os.Stderr
	}
	return cmd
}

// toJournal says whether a file is the stream that systemd has opened for a unit's log
// (systemd.exec(5), JOURNAL_STREAM).
func toJournal(f *os.File) bool {
	var stat unix.Stat_t
	return unix.Fstat(int(f.Fd()), &stat) == nil && os.Getenv("JOURNAL_STREAM") == fmt.Sprintf("%d:%d", stat.Dev, stat.Ino)
}

// watches waits until a watcher is there; false says that the process has ended before.
func watches(cmd *exec.Cmd) bool {
	ended := make(chan struct{})
	go func() {
		_ = cmd.Wait() // whether it failed shows by there being no watcher
		close(ended)
	}()
	for !isWatched() {
		select {
		case <-ended:
			return isWatched()
		case <-time.After(5 * time.Millisecond):
		}
	}
	return true
}
