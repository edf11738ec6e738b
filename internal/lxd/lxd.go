// Package lxd is LXD and Incus on this host, as far as fans are concerned. Containers
// get to a fan by a profile named after its bridge, or by the profile "default". The
// two daemons have the same API for all that is needed here; it is asked over their
// unix sockets. Everything happens in their project "default".
package lxd

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Kind says which of the two daemons one is.
type Kind uint8

const (
	// LXD is Canonical's.
	LXD Kind = iota
	// Incus is the fork of it.
	Incus
)

// String returns the daemon's name.
func (k Kind) String() string {
	if k == Incus {
		return "Incus"
	}
	return "LXD"
}

// command is the name of the client that a person would type.
func (k Kind) command() string {
	if k == Incus {
		return "incus"
	}
	return "lxc"
}

// initialise is the command that gives a new daemon its storage.
func (k Kind) initialise() string {
	if k == Incus {
		return "incus admin init --minimal"
	}
	return "lxd init --auto"
}

// Options say where LXD and Incus are.
type Options struct {
	// Sockets are asked instead of the usual ones, for odd installations.
	Sockets []string
}

// usualSockets are those of Debian's packages and of snap, and those that the daemons'
// own clients are told of by variables.
func usualSockets(getenv func(string) string) []string {
	var sockets []string
	for _, variable := range []string{"LXD_DIR", "INCUS_DIR"} {
		if dir := getenv(variable); dir != "" {
			sockets = append(sockets, filepath.Join(dir, "unix.socket"))
		}
	}
	if socket := getenv("INCUS_SOCKET"); socket != "" {
		sockets = append(sockets, socket)
	}
	return append(sockets,
		"/var/snap/lxd/common/lxd/unix.socket", "/var/lib/lxd/unix.socket",
		"/run/incus/unix.socket", "/var/lib/incus/unix.socket")
}

// Server is a running LXD or Incus of this host's network namespace.
type Server struct {
	*client
	kind    Kind
	version string
	socket  string
	pid     int // 0 if it does not say
}

// Kind says whether it is LXD or Incus.
func (s *Server) Kind() Kind { return s.kind }

// Version returns the daemon's version, such as "5.0.2".
func (s *Server) Version() string { return s.version }

// Socket returns the path of the socket by which the daemon is asked.
func (s *Server) Socket() string { return s.socket }

// Close ends the connections to the daemon.
func (s *Server) Close() { s.http.CloseIdleConnections() }

// String names the daemon in a message.
func (s *Server) String() string { return fmt.Sprintf("%s at %s", s.kind, s.socket) }

// Find returns the daemons of this host, in the network namespace of the calling thread.
// None is no error. A socket whose daemon can't be used is one, beside those that can,
// and the error says what would help.
func Find(ctx context.Context, o Options) ([]*Server, error) {
	sockets := o.Sockets
	if len(sockets) == 0 {
		sockets = usualSockets(os.Getenv)
	}
	var servers []*Server
	var seen []fs.FileInfo
	var failed []error
	for _, socket := range sockets {
		info, err := os.Stat(socket)
		if errors.Is(err, os.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) {
			continue
		}
		if err != nil {
			failed = append(failed, explain(socket, err))
			continue
		}
		if sameAsOne(seen, info) {
			continue
		}
		seen = append(seen, info)
		s, err := open(ctx, socket)
		if err != nil {
			failed = append(failed, err)
			continue
		}
		if s.sameAsOne(servers) {
			s.Close()
			continue
		}
		servers = append(servers, s)
	}
	return servers, errors.Join(failed...)
}

// sameAsOne says whether a socket has been seen by another name.
func sameAsOne(seen []fs.FileInfo, info fs.FileInfo) bool {
	for _, other := range seen {
		if os.SameFile(other, info) {
			return true
		}
	}
	return false
}

// sameAsOne says whether a daemon is found by a second socket.
func (s *Server) sameAsOne(servers []*Server) bool {
	for _, other := range servers {
		if s.kind == other.kind && s.pid != 0 && s.pid == other.pid {
			return true
		}
	}
	return false
}

// kindOf guesses whose socket it is, where nobody answers.
func kindOf(socket string) Kind {
	if strings.Contains(strings.ToLower(socket), "incus") {
		return Incus
	}
	return LXD
}

// explain says what to do about a socket that nobody answers at.
func explain(socket string, err error) error {
	kind := kindOf(socket)
	start := "systemctl start lxd"
	switch {
	case kind == Incus:
		start = "systemctl start incus"
	case strings.Contains(socket, "/snap/"):
		start = "snap start lxd"
	}
	switch {
	case errors.Is(err, os.ErrPermission):
		return fmt.Errorf("%s at %s: %w: this needs root: run it with sudo", kind, socket, os.ErrPermission)
	case refused(err):
		return fmt.Errorf("%s at %s is not running; start it with: %s", kind, socket, start)
	}
	again := strings.Replace(start, " start ", " restart ", 1)
	if errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("%s at %s does not answer within %v; start it again with: %s", kind, socket, firstPatience, again)
	}
	return fmt.Errorf("%s at %s does not answer: %w; start it again with: %s", kind, socket, err, again)
}

// firstPatience is how long a daemon may take to say who it is: systemd may have to start it.
const firstPatience = 30 * time.Second

// open asks a daemon who it is.
func open(ctx context.Context, socket string) (*Server, error) {
	s := &Server{client: newClient(socket), socket: socket}
	var about struct {
		Auth        string `json:"auth"`
		Environment struct {
			Server  string `json:"server"`
			Version string `json:"server_version"`
			PID     int    `json:"server_pid"`
		} `json:"environment"`
	}
	limited, cancel := context.WithTimeout(ctx, firstPatience)
	defer cancel()
	if err := s.get(limited, "/1.0", nil, &about); err != nil {
		s.Close()
		if ctx.Err() != nil {
			return nil, fmt.Errorf("ask %s: %w", socket, ctx.Err())
		}
		var refused *apiError
		if errors.As(err, &refused) && refused.code == http.StatusForbidden {
			err = os.ErrPermission
		}
		return nil, explain(socket, err)
	}
	if about.Auth != "trusted" {
		s.Close()
		return nil, explain(socket, os.ErrPermission)
	}
	switch about.Environment.Server {
	case "lxd":
	case "incus":
		s.kind = Incus
	default:
		s.Close()
		return nil, fmt.Errorf("%s: there answers %q, which is neither LXD nor Incus", socket, about.Environment.Server)
	}
	s.version, s.pid = about.Environment.Version, about.Environment.PID
	if err := s.checkNamespace(); err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

// checkNamespace refuses a daemon whose containers are on another host, as it were. What
// can't be seen is no reason to refuse.
func (s *Server) checkNamespace() error {
	pid, err := peer(s.socket)
	if err != nil {
		return fmt.Errorf("%s: %w", s, err)
	}
	if pid <= 1 {
		pid = s.pid // systemd has opened the socket, or a process that can't be seen from here
	}
	theirs, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/net", pid))
	if err != nil {
		return nil
	}
	own, err := os.Readlink("/proc/thread-self/ns/net")
	if err != nil {
		return nil
	}
	if theirs != own {
		return fmt.Errorf("%s (process %d) is in another network namespace, where its containers can't be on a bridge of this one; run this in that of the daemon: nsenter --net --target %d", s, pid, pid)
	}
	return nil
}

// peer returns the process that listens at a socket, or that has opened it for another.
func peer(socket string) (int, error) {
	conn, err := net.DialUnix("unix", nil, &net.UnixAddr{Name: socket, Net: "unix"})
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	raw, err := conn.SyscallConn()
	if err != nil {
		return 0, err
	}
	var cred *unix.Ucred
	var credErr error
	if err := raw.Control(func(fd uintptr) {
		cred, credErr = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
	}); err != nil {
		return 0, err
	}
	if credErr != nil {
		return 0, fmt.Errorf("ask whose socket it is: %w", credErr)
	}
	return int(cred.Pid), nil
}
