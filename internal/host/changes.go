package host

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

// nftablesGroup is the multicast group of nftables' changes (linux/netfilter/nfnetlink.h).
const nftablesGroup = 7

// changes are the kernel's messages about what a fast fan goes by.
type changes struct {
	sockets []unix.PollFd
	stop    func() bool
}

// openChanges subscribes to devices and filters, and to rules of nftables where the kernel
// has it. The end of the context is a change, too.
func openChanges(ctx context.Context) (*changes, error) {
	c := &changes{}
	route, err := subscribe(unix.NETLINK_ROUTE, 1<<(unix.RTNLGRP_LINK-1)|1<<(unix.RTNLGRP_TC-1))
	if err != nil {
		return nil, fmt.Errorf("watch devices: %w", err)
	}
	c.add(route)
	if rules, err := subscribe(unix.NETLINK_NETFILTER, 1<<(nftablesGroup-1)); err == nil {
		c.add(rules)
	}
	end, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		c.close()
		return nil, fmt.Errorf("watch devices: %w", err)
	}
	c.add(end)
	c.stop = context.AfterFunc(ctx, func() { _, _ = unix.Write(end, []byte{1, 0, 0, 0, 0, 0, 0, 0}) })
	return c, nil
}

func subscribe(protocol int, groups uint32) (int, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, protocol)
	if err != nil {
		return 0, err
	}
	if err := unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Groups: groups}); err != nil {
		unix.Close(fd)
		return 0, err
	}
	return fd, nil
}

func (c *changes) add(fd int) {
	c.sockets = append(c.sockets, unix.PollFd{Fd: int32(fd), Events: unix.POLLIN})
}

func (c *changes) close() {
	if c.stop != nil {
		c.stop()
	}
	for _, s := range c.sockets {
		unix.Close(int(s.Fd))
	}
}

// wait returns a moment after something has changed, but not before a time.
func (c *changes) wait(before time.Time) error {
	for {
		_, err := unix.Poll(c.sockets, -1)
		if err == nil {
			break
		}
		if !errors.Is(err, unix.EINTR) {
			return fmt.Errorf("watch devices: %w", err)
		}
	}
	time.Sleep(max(gather, time.Until(before)))
	buffer := make([]byte, 1<<16)
	for _, s := range c.sockets {
		for {
			n, err := unix.Read(int(s.Fd), buffer)
			// Messages that were lost for want of room are as good as those that came.
			if n <= 0 && !errors.Is(err, unix.ENOBUFS) && !errors.Is(err, unix.EINTR) {
				break
			}
		}
	}
	return nil
}
