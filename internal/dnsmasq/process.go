package dnsmasq

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Process is a running dnsmasq of a bridge.
type Process struct {
	PID    int
	Bridge string
	Args   []string // without the program; whoever started it chose them
}

// Find returns the dnsmasq processes of a bridge in the caller's network
// namespace: a bridge of that name in another one is somebody else's. So is a process
// of another user than those that ours run as; who can act as one of these can still
// pretend, so nothing that a process says of itself is ever run.
func Find(bridge string) ([]Process, error) {
	users := []uint32{0, idOf(RunAs())}
	own, err := os.Readlink("/proc/thread-self/ns/net")
	if err != nil {
		return nil, fmt.Errorf("find dnsmasq of %s: %w", bridge, err)
	}
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, fmt.Errorf("find dnsmasq of %s: %w", bridge, err)
	}
	var list []Process
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		args := commandLine(pid)
		if len(args) < 2 || filepath.Base(args[0]) != "dnsmasq" || args[1] != marker(bridge) {
			continue
		}
		if uid, err := userOf(pid); err != nil || !slices.Contains(users, uid) {
			continue
		}
		if ns, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/net", pid)); err == nil && ns == own {
			list = append(list, Process{pid, bridge, args[1:]})
		}
	}
	return list, nil
}

// userOf returns the real user of a process. The owner of its folder in /proc is root
// for every process that can't be traced.
func userOf(pid int) (uint32, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(text)) {
		if ids, found := strings.CutPrefix(line, "Uid:"); found {
			if words := strings.Fields(ids); len(words) > 0 {
				uid, err := strconv.ParseUint(words[0], 10, 32)
				return uint32(uid), err
			}
		}
	}
	return 0, fmt.Errorf("process %d: no user in its status", pid)
}

// idOf returns a user's number; root's if there is no such user.
func idOf(name string) uint32 {
	u, err := user.Lookup(name)
	if err != nil {
		return 0
	}
	uid, err := strconv.ParseUint(u.Uid, 10, 32)
	if err != nil {
		return 0
	}
	return uint32(uid)
}

// commandLine is empty for a process that has ended, and for a zombie.
func commandLine(pid int) []string {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	if err != nil || len(text) == 0 {
		return nil
	}
	return strings.Split(string(bytes.TrimSuffix(text, []byte{0})), "\x00")
}

// Program returns the path of dnsmasq.
func Program() (string, error) {
	for _, dir := range append(filepath.SplitList(os.Getenv("PATH")), "/usr/sbin", "/usr/local/sbin", "/sbin") {
		if path, err := exec.LookPath(filepath.Join(dir, "dnsmasq")); err == nil && filepath.IsAbs(path) {
			return path, nil
		}
	}
	return "", errors.New("there is no dnsmasq, which --dhcp needs; install it (Debian: apt install dnsmasq-base) or leave --dhcp out")
}

// RunAs returns the first user that this host has of those that dnsmasq runs as,
// in the order of the original.
func RunAs() string {
	for _, name := range []string{"fan-dnsmasq", "dnsmasq", "nobody"} {
		if _, err := user.Lookup(name); err == nil {
			return name
		}
	}
	return "root"
}

// Start runs dnsmasq, which goes into the background when it is ready. Where a unit
// of systemd starts it, it gets one of its own: it is to outlive that one, which
// would complain each time it runs again.
func Start(program string, args []string) error {
	if systemdRun, err := exec.LookPath("systemd-run"); err == nil && os.Getenv("INVOCATION_ID") != "" {
		scope := []string{"--scope", "--quiet", "--collect", "--description=dnsmasq " + args[0], "--", program}
		if start(systemdRun, append(scope, args...)) == nil {
			return nil
		} // there is no systemd after all, or dnsmasq itself fails and says why
	}
	return start(program, args)
}

func start(program string, args []string) error {
	cmd := exec.Command(program, args...)
	// A Ctrl-C is for this program, which knows what is to be finished or taken back.
	cmd.SysProcAttr = &unix.SysProcAttr{Setpgid: true}
	out, err := cmd.CombinedOutput()
	if err == nil {
		return nil
	}
	if text := strings.TrimSpace(string(out)); text != "" {
		return errors.New(strings.ReplaceAll(text, "\n", "; "))
	}
	return err
}

// Stop ends a process and returns when it has gone.
func Stop(p Process) error {
	const patience = 3 * time.Second
	fd, err := unix.PidfdOpen(p.PID, 0)
	if errors.Is(err, unix.ESRCH) {
		return nil
	}
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if !slices.Equal(commandLine(p.PID)[min(1, len(commandLine(p.PID))):], p.Args) {
		return nil // it has ended, and another one has its number
	}
	for _, signal := range []unix.Signal{unix.SIGTERM, unix.SIGKILL} {
		if err := unix.PidfdSendSignal(fd, signal, nil, 0); err != nil {
			if errors.Is(err, unix.ESRCH) {
				return nil
			}
			return err
		}
		if gone(fd, patience) {
			return nil
		}
	}
	return fmt.Errorf("process %d does not end", p.PID)
}

// gone waits for the process of a pidfd to end.
func gone(fd int, most time.Duration) bool {
	fds := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
	for end := time.Now().Add(most); ; {
		n, err := unix.Poll(fds, int(max(time.Until(end), 0).Milliseconds()))
		if !errors.Is(err, unix.EINTR) {
			return n == 1
		}
	}
}
