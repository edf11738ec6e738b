package main

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// patience is how long an end waits for the other.
const patience = 5 * time.Second

// ends are two sockets that are connected with each other. They block: a thread that
// waits in the kernel is woken up by it, with no scheduler of Go's in between.
type ends struct{ client, server int }

func (e ends) close() {
	_ = unix.Shutdown(e.server, unix.SHUT_RDWR) // who still reads from it finds its end
	unix.Close(e.client)
	unix.Close(e.server)
}

// opener connects two ends of a path.
type opener func(p path, from, to int) (ends, error)

// socket makes one that gives up in the end.
func socket(kind int) (int, error) {
	fd, err := unix.Socket(unix.AF_INET, kind|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, os.NewSyscallError("socket", err)
	}
	limit := unix.NsecToTimeval(patience.Nanoseconds())
	err = errors.Join(unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &limit),
		unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_SNDTIMEO, &limit))
	if err != nil {
		unix.Close(fd)
		return -1, fmt.Errorf("set a socket's patience: %w", err)
	}
	return fd, nil
}

// bound makes a socket in a namespace, bound to any port of an address.
func bound(ns, addr string, kind int) (fd int, at unix.Sockaddr, err error) {
	err = inside(ns, func() (err error) {
		if fd, err = socket(kind); err != nil {
			return err
		}
		a, err := netip.ParseAddr(addr)
		if err == nil {
			err = unix.Bind(fd, &unix.SockaddrInet4{Addr: a.As4()})
		}
		if err == nil {
			at, err = unix.Getsockname(fd)
		}
		if err != nil {
			unix.Close(fd)
			return fmt.Errorf("bind a socket to %s: %w", addr, err)
		}
		return nil
	})
	return fd, at, err
}

// udpSockets opens two that send to each other.
func udpSockets(p path, from, to int) (e ends, err error) {
	server, there, err := bound(p.ns[to], p.addr[to], unix.SOCK_DGRAM)
	if err != nil {
		return e, err
	}
	client, here, err := bound(p.ns[from], p.addr[from], unix.SOCK_DGRAM)
	if err != nil {
		unix.Close(server)
		return e, err
	}
	e = ends{client: client, server: server}
	if err := errors.Join(connect(client, there), connect(server, here)); err != nil {
		e.close()
		return e, fmt.Errorf("connect UDP sockets: %w", err)
	}
	return e, nil
}

// connect goes on where a signal, as those of Go's scheduler, has broken it off: a socket
// that gives up in the end is not taken up again by the kernel (signal(7)).
func connect(fd int, to unix.Sockaddr) error {
	for {
		err := unix.Connect(fd, to)
		switch {
		case errors.Is(err, unix.EINTR):
		case errors.Is(err, unix.EISCONN):
			return nil
		default:
			return os.NewSyscallError("connect", err)
		}
	}
}

// listening opens a socket that takes connections.
func listening(p path, to int) (int, unix.Sockaddr, error) {
	fd, at, err := bound(p.ns[to], p.addr[to], unix.SOCK_STREAM)
	if err != nil {
		return -1, nil, err
	}
	if err := unix.Listen(fd, 128); err != nil {
		unix.Close(fd)
		return -1, nil, os.NewSyscallError("listen", err)
	}
	return fd, at, nil
}

// tcpSockets opens a connection whose ends don't wait for more to send.
func tcpSockets(p path, from, to int) (e ends, err error) {
	listener, at, err := listening(p, to)
	if err != nil {
		return e, err
	}
	defer unix.Close(listener)
	client, _, err := bound(p.ns[from], p.addr[from], unix.SOCK_STREAM)
	if err != nil {
		return e, err
	}
	if err := connect(client, at); err != nil {
		unix.Close(client)
		return e, err
	}
	server, _, err := unix.Accept4(listener, unix.SOCK_CLOEXEC)
	for errors.Is(err, unix.EINTR) {
		server, _, err = unix.Accept4(listener, unix.SOCK_CLOEXEC)
	}
	if err != nil {
		unix.Close(client)
		return e, os.NewSyscallError("accept", err)
	}
	e = ends{client: client, server: server}
	for _, fd := range []int{client, server} {
		if err := unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1); err != nil {
			e.close()
			return e, os.NewSyscallError("set TCP_NODELAY", err)
		}
	}
	return e, nil
}
