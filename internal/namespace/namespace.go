// Package namespace works inside of network namespaces: it opens sockets in them
// that are used from outside, so that nothing has to run in a container to test
// its network.
package namespace

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"
)

// Namespace is a network namespace. A nil *Namespace is the one that the process
// is in.
type Namespace struct {
	file *os.File
}

// Open returns the namespace that a file stands for, such as /proc/PID/ns/net. It
// stays there, empty if need be, until Close.
func Open(path string) (*Namespace, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("open network namespace: %w", err)
	}
	// NS_GET_NSTYPE (ioctl_ns(2)); entering something else fails only later, and
	// with a message that does not say why.
	kind, err := unix.IoctlRetInt(int(f.Fd()), unix.NS_GET_NSTYPE)
	if err != nil || kind != unix.CLONE_NEWNET {
		f.Close()
		return nil, fmt.Errorf("open network namespace %s: it is none; a file such as /proc/PID/ns/net is one", path)
	}
	return &Namespace{file: f}, nil
}

// Close lets go of the namespace. Sockets in it stay.
func (n *Namespace) Close() {
	if n != nil {
		n.file.Close()
	}
}

// String is the file that the namespace was opened by.
func (n *Namespace) String() string {
	if n == nil {
		return "own network namespace"
	}
	return n.file.Name()
}

// Do runs fn on a thread that is inside the namespace. Sockets that fn opens and
// programs that it starts are in the namespace, and stay there; goroutines that it
// starts are not.
func (n *Namespace) Do(fn func() error) error {
	if n == nil {
		return fn()
	}
	done := make(chan error, 1)
	go func() {
		// The thread is never unlocked: the runtime ends it with the goroutine, so
		// that no other goroutine finds itself in the namespace.
		runtime.LockOSThread()
		if err := unix.Setns(int(n.file.Fd()), unix.CLONE_NEWNET); err != nil {
			done <- fmt.Errorf("enter network namespace %s: %w", n, err)
			return
		}
		done <- fn()
	}()
	return <-done
}

// Dial opens a TCP connection in the namespace, from an address of the namespace
// or, with the zero value, from whichever the kernel takes.
func (n *Namespace) Dial(ctx context.Context, from netip.Addr, to netip.AddrPort) (*net.TCPConn, error) {
	// No multipath TCP: a test is of what the packets do on this one way.
	var d net.Dialer
	d.SetMultipathTCP(false)
	if from.IsValid() {
		d.LocalAddr = net.TCPAddrFromAddrPort(netip.AddrPortFrom(from, 0))
	}
	var c net.Conn
	err := n.Do(func() (err error) {
		c, err = d.DialContext(ctx, "tcp4", to.String())
		return err
	})
	if err != nil {
		return nil, err
	}
	tcp, ok := c.(*net.TCPConn)
	if !ok {
		c.Close()
		return nil, fmt.Errorf("dial %s: no TCP connection", to)
	}
	return tcp, nil
}

// Listen waits for TCP connections at an address of the namespace; port 0 is one
// that is free.
func (n *Namespace) Listen(ctx context.Context, at netip.AddrPort) (*net.TCPListener, error) {
	var l net.Listener
	err := n.Do(func() (err error) {
		var c net.ListenConfig
		c.SetMultipathTCP(false)
		l, err = c.Listen(ctx, "tcp4", at.String())
		return err
	})
	if err != nil {
		return nil, err
	}
	tcp, ok := l.(*net.TCPListener)
	if !ok {
		l.Close()
		return nil, fmt.Errorf("listen at %s: no TCP listener", at)
	}
	return tcp, nil
}

// ListenICMP opens a raw socket in the namespace that gets the ICMP packets which
// come to an address; the zero value is every address. With setup, options are set
// before it is used.
func (n *Namespace) ListenICMP(ctx context.Context, at netip.Addr, setup func(fd int) error) (*net.IPConn, error) {
	c := net.ListenConfig{Control: func(_, _ string, raw syscall.RawConn) error {
		if setup == nil {
			return nil
		}
		var failed error
		if err := raw.Control(func(fd uintptr) { failed = setup(int(fd)) }); err != nil {
			return err
		}
		return failed
	}}
	address := ""
	if at.IsValid() {
		address = at.String()
	}
	var p net.PacketConn
	err := n.Do(func() (err error) {
		p, err = c.ListenPacket(ctx, "ip4:icmp", address)
		return err
	})
	if err != nil {
		return nil, err
	}
	conn, ok := p.(*net.IPConn)
	if !ok {
		_ = p.Close()
		return nil, fmt.Errorf("listen for ICMP at %s: no IP socket", at)
	}
	return conn, nil
}
