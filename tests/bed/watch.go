package bed

import (
	"errors"
	"fmt"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Watch records every change of devices, addresses, routes, rules, qdiscs and
// filters in the namespace (rtnetlink(7)) until the returned function is called,
// which returns one line per change.
func (n *NS) Watch(t testing.TB) func() []string {
	t.Helper()
	const groups = 1<<(unix.RTNLGRP_LINK-1) | 1<<(unix.RTNLGRP_TC-1) | 1<<(unix.RTNLGRP_IPV4_IFADDR-1) |
		1<<(unix.RTNLGRP_IPV4_ROUTE-1) | 1<<(unix.RTNLGRP_IPV4_RULE-1)
	var file *os.File
	err := n.Do(func() error {
		fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, unix.NETLINK_ROUTE)
		if err != nil {
			return err
		}
		file = os.NewFile(uintptr(fd), "watch")
		return unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Groups: groups})
	})
	if err != nil {
		t.Fatalf("in %s: watch changes: %v", n.Name, err)
	}
	t.Cleanup(func() { _ = file.Close() }) // an error only if the test has closed it
	return func() []string {
		t.Helper()
		defer file.Close()
		var changes []string
		buf := make([]byte, 256<<10)
		// Changes that were made before are in the socket's queue already.
		if err := file.SetReadDeadline(time.Now().Add(time.Second)); err != nil {
			t.Fatalf("watch changes: %v", err)
		}
		for {
			size, err := file.Read(buf)
			if errors.Is(err, os.ErrDeadlineExceeded) {
				return changes
			}
			if err != nil {
				t.Fatalf("watch changes: %v", err)
			}
			changes = append(changes, describe(buf[:size])...)
		}
	}
}

// describe names the messages in a buffer that a netlink socket has filled.
func describe(b []byte) []string {
	names := map[uint16]string{
		unix.RTM_NEWLINK: "new or changed link", unix.RTM_DELLINK: "link gone",
		unix.RTM_NEWADDR: "new address", unix.RTM_DELADDR: "address gone",
		unix.RTM_NEWROUTE: "new route", unix.RTM_DELROUTE: "route gone",
		unix.RTM_NEWRULE: "new rule", unix.RTM_DELRULE: "rule gone",
		unix.RTM_NEWQDISC: "new qdisc", unix.RTM_DELQDISC: "qdisc gone",
		unix.RTM_NEWTFILTER: "new filter", unix.RTM_DELTFILTER: "filter gone",
		unix.RTM_NEWCHAIN: "new filter chain", unix.RTM_DELCHAIN: "filter chain gone",
	}
	var lines []string
	messages, err := parseNetlink(b)
	if err != nil {
		return []string{err.Error()}
	}
	for _, kind := range messages {
		name, ok := names[kind]
		if !ok {
			name = fmt.Sprintf("netlink message %d", kind)
		}
		lines = append(lines, name)
	}
	return lines
}
