package namespace

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"
)

// fresh is a new network namespace, which goes with the test.
func fresh(t *testing.T) *Namespace {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root for network namespaces")
	}
	type opened struct {
		n   *Namespace
		err error
	}
	done := make(chan opened)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread goes
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			done <- opened{nil, err}
			return
		}
		n, err := Open("/proc/thread-self/ns/net")
		done <- opened{n, err}
	}()
	o := <-done
	if o.err != nil {
		t.Fatal(o.err)
	}
	t.Cleanup(o.n.Close)
	return o.n
}

func devices(t *testing.T, n *Namespace) int {
	t.Helper()
	count := 0
	err := n.Do(func() error {
		all, err := net.Interfaces()
		count = len(all)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return count
}

func TestDoIsInside(t *testing.T) {
	n := fresh(t)
	var own, inside string
	link := func(to *string) func() error {
		return func() (err error) {
			*to, err = os.Readlink("/proc/thread-self/ns/net")
			return err
		}
	}
	if err := errors.Join((*Namespace)(nil).Do(link(&own)), n.Do(link(&inside))); err != nil {
		t.Fatal(err)
	}
	if own == inside {
		t.Errorf("Do was in %s, the process's own namespace", own)
	}
	failed := errors.New("no")
	if err := n.Do(func() error { return failed }); !errors.Is(err, failed) {
		t.Errorf("Do returned %v, want what fn returned", err)
	}
	if got := devices(t, n); got == 0 {
		t.Error("a namespace has not even lo")
	}
}

// lo of a new namespace is down: nothing can be reached there, and a listener that
// the process has in its own namespace is not seen.
func TestSocketsStayInside(t *testing.T) {
	n := fresh(t)
	ctx := context.Background()
	l, err := n.Listen(ctx, netip.MustParseAddrPort("0.0.0.0:0"))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	at, ok := l.Addr().(*net.TCPAddr)
	if !ok {
		t.Fatalf("the listener's address is %v", l.Addr())
	}
	to := netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), uint16(at.Port))
	if c, err := n.Dial(ctx, netip.Addr{}, to); err == nil {
		c.Close()
		t.Error("lo of the namespace should be down")
	}
	c, err := n.ListenICMP(ctx, netip.Addr{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
}

func TestOpenRefuses(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{file, "/proc/self/ns/pid", "/nonexistent"} {
		if n, err := Open(path); err == nil {
			n.Close()
			t.Errorf("%s was opened", path)
		}
	}
}
