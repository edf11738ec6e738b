package host

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// An error is told once while it stays, and again when it has come back.
func TestReportNew(t *testing.T) {
	var said []string
	report := func(_ Result, err error) { said = append(said, err.Error()) }
	one, other := errors.New("one"), errors.New("other")
	var last []string
	for _, round := range []struct{ errs, said []error }{
		{nil, nil},
		{[]error{one}, []error{one}},
		{[]error{one, other}, []error{other}},
		{[]error{other}, nil},
		{nil, nil},
		{[]error{other}, []error{other}},
	} {
		said = nil
		last = reportNew(round.errs, last, report)
		var want []string
		for _, err := range round.said {
			want = append(want, err.Error())
		}
		if !slices.Equal(said, want) {
			t.Errorf("errors %v: told are %q, want %q", round.errs, said, want)
		}
	}
}

// A package's new version takes the place of the file; that it is gone is no new version.
func TestReplaced(t *testing.T) {
	path := filepath.Join(t.TempDir(), "fanctl")
	write := func(to string) {
		t.Helper()
		if err := os.WriteFile(to, []byte("a program"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	write(path)
	was, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	e := executable{path, was}
	if err := e.check(); err != nil {
		t.Errorf("a program that nobody has touched: %v", err)
	}
	write(path + ".new")
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
	if err := e.check(); !errors.Is(err, ErrReplaced) {
		t.Errorf("another file at the program's path: %v", err)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if err := e.check(); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a program that is gone: %v", err)
	}
}

// The wait ends when a device comes, and when the context ends.
func TestChanges(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("LEFT OUT: needs root")
	}
	runtime.LockOSThread() // for good: the thread ends with the test
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	c, err := openChanges(ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer c.close()
	ended := make(chan error, 1)
	wait := func() { ended <- c.wait(time.Time{}) }

	go wait()
	if err := netlink.LinkAdd(&netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "new"}, PeerName: "end"}); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; err != nil {
		t.Errorf("a new device: %v", err)
	}
	go wait()
	stop()
	if err := <-ended; err != nil {
		t.Errorf("the end of the context: %v", err)
	}
}
