package host

import (
	"errors"
	"fmt"
	"time"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"github.com/fanctl/fanctl/fan"
	"github.com/fanctl/fanctl/internal/kernel"
)

// Await returns when the host has what an underlay is named by: a device, an
// address, a default route; or, without an error, when the time is over.
func (h *Host) Await(underlay fan.UnderlaySpec, most time.Duration) error {
	events, err := nl.Subscribe(unix.NETLINK_ROUTE, unix.RTNLGRP_LINK, unix.RTNLGRP_IPV4_IFADDR, unix.RTNLGRP_IPV4_ROUTE)
	if err != nil {
		return fmt.Errorf("wait for underlay %s: %w", underlay, err)
	}
	defer events.Close()
	for end := time.Now().Add(most); ; {
		s, err := kernel.Look(h.handle)
		if err != nil {
			return err
		}
		_, _, _, err = resolveUnderlay(underlay, s)
		left := time.Until(end)
		if !errors.Is(err, fan.ErrNotYet) || left < time.Millisecond {
			return nil
		}
		if err := next(events, left); err != nil {
			return fmt.Errorf("wait for underlay %s: %w", underlay, err)
		}
	}
}

// next waits for an event. That some were lost is one, too.
func next(events *nl.NetlinkSocket, most time.Duration) error {
	timeout := unix.NsecToTimeval(most.Nanoseconds())
	if err := events.SetReceiveTimeout(&timeout); err != nil {
		return err
	}
	_, _, err := events.Receive()
	for _, fine := range []error{unix.EAGAIN, unix.EINTR, unix.ENOBUFS} {
		if errors.Is(err, fine) {
			return nil
		}
	}
	return err
}
