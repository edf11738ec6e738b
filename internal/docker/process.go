package docker

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// process is a running dockerd, or what else answers at the socket.
type process struct {
	pid   int
	uid   uint32
	start string // when it was started, so that another one with its number is told from it
	exe   string // the program's path
	words []string
	flags []flag
}

// is says whether two are the same running process.
func (p process) is(q process) bool { return p.pid == q.pid && p.start == q.start }

// config returns the path of the process's configuration file, and whether its
// command line names it.
func (p process) config() (path string, named bool) {
	path, named = configPath(p.flags)
	if !filepath.IsAbs(path) {
		if dir, err := os.Readlink(p.proc("cwd")); err == nil {
			path = filepath.Join(dir, path)
		}
	}
	return path, named
}

func (p process) proc(name string) string { return fmt.Sprintf("/proc/%d/%s", p.pid, name) }

// snap says whether the process is out of a snap, which has a root of its own.
func (p process) snap() bool { return strings.HasPrefix(p.exe, "/snap/") }

// findProcess returns the process that listens at a socket; where systemd does it
// for dockerd, the dockerd that was started for it.
func findProcess(socket string) (process, error) {
	peer, err := peerOf(socket)
	if err != nil {
		return process{}, err
	}
	if peer.Pid == 0 {
		return process{}, fmt.Errorf("what answers at %s runs outside of this container or PID namespace; run this where Docker runs", socket)
	}
	p, err := readProcess(int(peer.Pid))
	if err != nil {
		return process{}, fmt.Errorf("find Docker's process: %w", err)
	}
	p.uid = peer.Uid
	if name := filepath.Base(p.exe); name != "systemd" && name != "init" {
		return p, nil
	}
	return startedFor(socket)
}

// peerOf returns the credentials of who listens at a socket.
func peerOf(socket string) (*unix.Ucred, error) {
	conn, err := net.Dial("unix", socket)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	raw, err := conn.(*net.UnixConn).SyscallConn()
	if err != nil {
		return nil, err
	}
	var peer *unix.Ucred
	var asked error
	err = raw.Control(func(fd uintptr) { peer, asked = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED) })
	return peer, errors.Join(err, asked)
}

// readProcess reads what /proc has of a process.
func readProcess(pid int) (process, error) {
	p := process{pid: pid}
	stat, err := os.ReadFile(p.proc("stat"))
	if err != nil {
		return p, err
	}
	// The name in parentheses may have anything in it; the 22nd field is the start.
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	if len(fields) < 20 {
		return p, fmt.Errorf("process %d: its stat has %d fields", pid, len(fields))
	}
	p.start = fields[19]
	if p.exe, err = os.Readlink(p.proc("exe")); err != nil {
		return p, err
	}
	p.exe = strings.TrimSuffix(p.exe, " (deleted)") // the package has been upgraded
	text, err := os.ReadFile(p.proc("cmdline"))
	if err != nil {
		return p, err
	}
	words := strings.Split(strings.TrimSuffix(string(text), "\x00"), "\x00")
	p.words = words[1:]
	p.flags = flagsOf(p.words)
	var st unix.Stat_t
	if err := unix.Stat(fmt.Sprintf("/proc/%d", pid), &st); err != nil {
		return p, err
	}
	p.uid = st.Uid
	return p, nil
}

// startedFor returns the dockerd that systemd has started for a socket. It starts it
// when somebody connects, and who asks for something has an answer once it is there. The
// error is ErrDown if it does not come.
func startedFor(socket string) (process, error) {
	list, err := dockerds(socket)
	if err == nil && len(list) == 0 {
		if asked := ask(socket); asked != nil {
			err = fmt.Errorf("%w at %s, where systemd listens and was to start it (%w): systemctl status docker says why it does not start", ErrDown, socket, asked)
		} else if list, err = dockerds(socket); err == nil && len(list) == 0 {
			err = fmt.Errorf("systemd listens at %s, and what answers there is no dockerd of this network namespace; run this where Docker runs", socket)
		}
	}
	if err != nil {
		return process{}, err
	}
	if len(list) > 1 {
		return process{}, fmt.Errorf("systemd listens at %s, and %d processes of dockerd may be who answers; name one's own socket by DOCKER_HOST", socket, len(list))
	}
	return list[0], nil
}

// ask waits until something answers a request at a socket.
func ask(socket string) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	conn, err := new(net.Dialer).DialContext(ctx, "unix", socket)
	if err != nil {
		return err
	}
	defer conn.Close()
	end, _ := ctx.Deadline()
	if err := conn.SetDeadline(end); err != nil {
		return err
	}
	if _, err := io.WriteString(conn, "HEAD /_ping HTTP/1.0\r\n\r\n"); err != nil {
		return err
	}
	_, err = conn.Read(make([]byte, 1))
	return err
}

// dockerds returns the dockerds of root in our network namespace that may listen at a
// socket by systemd.
func dockerds(socket string) (list []process, err error) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, fmt.Errorf("find dockerd: %w", err)
	}
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		p, err := readProcess(pid)
		if err != nil || filepath.Base(p.exe) != "dockerd" || p.uid != 0 || !sameNetwork(p) {
			continue
		}
		if h := hosts(p.flags); slices.ContainsFunc(h, func(s string) bool { return strings.HasPrefix(s, "fd:") || s == "unix://"+socket }) {
			list = append(list, p)
		}
	}
	return list, nil
}

// sameNetwork says whether a process is in the caller's network namespace.
func sameNetwork(p process) bool {
	own, err := os.Readlink("/proc/thread-self/ns/net")
	its, errIts := os.Readlink(p.proc("ns/net"))
	return err == nil && errIts == nil && own == its
}

// sameRoot says whether a process sees the files that we see.
func sameRoot(p process) bool {
	var own, its unix.Stat_t
	return unix.Stat("/", &own) == nil && unix.Stat(p.proc("root/"), &its) == nil && own.Dev == its.Dev && own.Ino == its.Ino
}

// unit returns the systemd service that a process is in, "" if it is in none.
func (p process) unit() string {
	text, err := os.ReadFile(p.proc("cgroup"))
	if err != nil {
		return ""
	}
	return unitIn(string(text))
}

// unitIn returns the service that the text of a /proc/PID/cgroup names.
func unitIn(text string) string {
	for line := range strings.Lines(text) {
		fields := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(fields) != 3 || fields[1] != "" && fields[1] != "name=systemd" {
			continue
		}
		if name := filepath.Base(fields[2]); strings.HasSuffix(name, ".service") {
			return name
		}
	}
	return ""
}
