package lxd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
)

func TestUsualSockets(t *testing.T) {
	usual := usualSockets(func(string) string { return "" })
	for _, want := range []string{"/var/snap/lxd/common/lxd/unix.socket", "/var/lib/lxd/unix.socket", "/run/incus/unix.socket", "/var/lib/incus/unix.socket"} {
		if !slices.Contains(usual, want) {
			t.Errorf("no %s in %q", want, usual)
		}
	}
	set := map[string]string{"LXD_DIR": "/a", "INCUS_DIR": "/b", "INCUS_SOCKET": "/c/socket"}
	got := usualSockets(func(name string) string { return set[name] })
	if want := append([]string{"/a/unix.socket", "/b/unix.socket", "/c/socket"}, usual...); !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

func TestExplain(t *testing.T) {
	refused, denied, hangs := error(syscall.ECONNREFUSED), error(syscall.EACCES), context.DeadlineExceeded
	for _, test := range []struct {
		socket string
		err    error
		want   string
	}{
		{"/var/lib/lxd/unix.socket", refused, "LXD at /var/lib/lxd/unix.socket is not running; start it with: systemctl start lxd"},
		{"/var/snap/lxd/common/lxd/unix.socket", refused, "LXD at /var/snap/lxd/common/lxd/unix.socket is not running; start it with: snap start lxd"},
		{"/run/incus/unix.socket", refused, "Incus at /run/incus/unix.socket is not running; start it with: systemctl start incus"},
		{"/run/incus/unix.socket", denied, "Incus at /run/incus/unix.socket: permission denied: this needs root: run it with sudo"},
		{"/var/lib/lxd/unix.socket", hangs, "LXD at /var/lib/lxd/unix.socket does not answer within 30s; start it again with: systemctl restart lxd"},
		{"/s", io.ErrUnexpectedEOF, "LXD at /s does not answer: unexpected EOF; start it again with: systemctl restart lxd"},
	} {
		if got := explain(test.socket, test.err).Error(); got != test.want {
			t.Errorf("%s\nwant %s", got, test.want)
		}
	}
	if err := explain("/s", denied); !errors.Is(err, os.ErrPermission) {
		t.Errorf("%v is not %v", err, os.ErrPermission)
	}
}

// A socket that a daemon has left, and one at which something else answers, are errors
// that name the socket; one that is not there is none.
func TestFindNobody(t *testing.T) {
	dir := t.TempDir()
	left := filepath.Join(dir, "incus", "unix.socket")
	if err := os.Mkdir(filepath.Dir(left), 0o755); err != nil {
		t.Fatal(err)
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: left})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	l.Close()
	other := filepath.Join(dir, "other")
	talker, err := net.Listen("unix", other)
	if err != nil {
		t.Fatal(err)
	}
	defer talker.Close()
	go func() {
		for conn, err := talker.Accept(); err == nil; conn, err = talker.Accept() {
			fmt.Fprint(conn, "220 smtp\r\n")
			conn.Close()
		}
	}()
	servers, err := Find(t.Context(), Options{Sockets: []string{left, other, filepath.Join(dir, "absent"), filepath.Join(left, "below")}})
	text := fmt.Sprint(err)
	if len(servers) != 0 || strings.Count(text, "\n") != 1 || !strings.Contains(text, "Incus at "+left+" is not running") || !strings.Contains(text, other+" does not answer") {
		t.Errorf("found %d: %v", len(servers), err)
	}
	if servers, err := Find(t.Context(), Options{Sockets: []string{filepath.Join(dir, "absent")}}); len(servers) != 0 || err != nil {
		t.Errorf("found %d: %v", len(servers), err)
	}
}

// Whoever has given up is not told to start a daemon anew.
func TestFindCancelled(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "socket")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Find(ctx, Options{Sockets: []string{socket}}); !errors.Is(err, context.Canceled) || strings.Contains(err.Error(), "start") {
		t.Errorf("cancelled: %v", err)
	}
}
