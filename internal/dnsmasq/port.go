package dnsmasq

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/fanctl/fanctl/fan"
)

// Ports of the servers that dnsmasq is.
const (
	dnsPort  = 53
	dhcpPort = 67
)

// LeavesDNS says whether the bridge's own process leaves names to another server.
func LeavesDNS(running []Process) bool {
	return slices.ContainsFunc(running, func(p Process) bool { return slices.Contains(p.Args, noDNS) })
}

// OtherDHCP says whether another server of the host has the DHCP port on all
// interfaces and shares it with nobody, so that dnsmasq can't start.
func OtherDHCP() (bool, error) {
	// Sockets of dnsmasq are bound to an interface, if there is just one that they
	// serve. Bound to lo, this one meets only those that are not.
	lo := func(fd int) error { return unix.BindToDevice(fd, "lo") }
	shared := func(fd int) error { return unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEPORT, 1) }
	return isTaken(unix.SOCK_DGRAM, unix.SockaddrInet4{Port: dhcpPort}, lo, shared)
}

// OtherServer says whether another server of the host has the DNS port of the
// bridge's address: one that listens on all addresses, as dnsmasq does unless it is
// told otherwise. running are the bridge's own processes.
func OtherServer(f fan.Fan, running []Process) (bool, error) {
	// A process of ours that has just died may still have the port.
	tries := 10
	for _, p := range running {
		if !slices.Contains(p.Args, noDNS) {
			return false, nil // it is ours
		}
		tries = 1
	}
	for ; ; time.Sleep(10 * time.Millisecond) {
		taken, err := anyTaken(f.BridgeAddr().As4())
		if tries--; !taken || err != nil || tries == 0 {
			return taken, err
		}
	}
}

func anyTaken(address [4]byte) (bool, error) {
	// The address need not be there yet.
	free := func(fd int) error { return unix.SetsockoptInt(fd, unix.SOL_IP, unix.IP_FREEBIND, 1) }
	for _, kind := range []int{unix.SOCK_STREAM, unix.SOCK_DGRAM} {
		if taken, err := isTaken(kind, unix.SockaddrInet4{Port: dnsPort, Addr: address}, free); taken || err != nil {
			return taken, err
		}
	}
	return false, nil
}

// isTaken tries to have a port for a moment.
func isTaken(kind int, at unix.SockaddrInet4, options ...func(fd int) error) (bool, error) {
	failed := func(err error) error { return fmt.Errorf("look for another server on port %d: %w", at.Port, err) }
	fd, err := unix.Socket(unix.AF_INET, kind|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return false, failed(err)
	}
	defer unix.Close(fd)
	options = append(options, func(fd int) error { return unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1) })
	for _, set := range options {
		if err := set(fd); err != nil {
			return false, failed(err)
		}
	}
	err = unix.Bind(fd, &at)
	if err == nil && kind == unix.SOCK_STREAM {
		err = unix.Listen(fd, 1)
	}
	if errors.Is(err, unix.EADDRINUSE) {
		return true, nil
	}
	if err != nil {
		return false, failed(err)
	}
	return false, nil
}
