package dnsmasq

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/fanctl/fanctl/fan"
)

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
	for _, kind := range []int{unix.SOCK_STREAM, unix.SOCK_DGRAM} {
		if taken, err := isTaken(kind, address); taken || err != nil {
			return taken, err
		}
	}
	return false, nil
}

// isTaken tries to have the port for a moment, on an address that need not be there
// yet.
func isTaken(kind int, address [4]byte) (bool, error) {
	const dns = 53
	fd, err := unix.Socket(unix.AF_INET, kind|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return false, fmt.Errorf("look for a DNS server: %w", err)
	}
	defer unix.Close(fd)
	for _, option := range [][2]int{{unix.SOL_SOCKET, unix.SO_REUSEADDR}, {unix.SOL_IP, unix.IP_FREEBIND}} {
		if err := unix.SetsockoptInt(fd, option[0], option[1], 1); err != nil {
			return false, fmt.Errorf("look for a DNS server: %w", err)
		}
	}
	err = unix.Bind(fd, &unix.SockaddrInet4{Port: dns, Addr: address})
	if err == nil && kind == unix.SOCK_STREAM {
		err = unix.Listen(fd, 1)
	}
	if errors.Is(err, unix.EADDRINUSE) {
		return true, nil
	}
	if err != nil {
		return false, fmt.Errorf("look for a DNS server: %w", err)
	}
	return false, nil
}
