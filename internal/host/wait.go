package host

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"github.com/fanctl/fanctl/fan"
	"github.com/fanctl/fanctl/internal/kernel"
)

// Await returns when the host has what one of the underlays is named by: a device, an
// address, a default route; or, without an error, when the time is over.
func (h *Host) Await(end time.Time, underlays ...fan.UnderlaySpec) error {
	events, err := nl.Subscribe(unix.NETLINK_ROUTE, unix.RTNLGRP_LINK, unix.RTNLGRP_IPV4_IFADDR, unix.RTNLGRP_IPV4_ROUTE)
	if err != nil {
		return fmt.Errorf("wait for underlay %s: %w", underlays[0], err)
	}
	defer events.Close()
	for {
		s, err := kernel.Look(h.handle)
		if err != nil {
			return err
		}
		left := time.Until(end)
		if left < time.Millisecond || slices.ContainsFunc(underlays, func(u fan.UnderlaySpec) bool { return isThere(u, s) }) {
			return nil
		}
		if err := next(events, left); err != nil {
			return fmt.Errorf("wait for underlay %s: %w", underlays[0], err)
		}
	}
}

// isThere says whether there is no reason to wait for an underlay.
func isThere(u fan.UnderlaySpec, s kernel.State) bool {
	_, err := resolveUnderlay(u, s)
	return !errors.Is(err, fan.ErrNotYet)
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
