package features

import (
	"runtime"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// lab is where things are tried: a network namespace that nobody else has.
type lab struct {
	handle   *netlink.Handle
	err      error // why there is no namespace
	programs loaded
}

// inside runs do on a thread of its own in a network namespace of its own, both of
// which go with it; without privilege, where it is and with the reason.
func inside(do func(l lab)) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		// Never unlocked: the thread ends with the goroutine, and with it the
		// namespace.
		runtime.LockOSThread()
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			do(lab{err: err})
			return
		}
		handle, err := netlink.NewHandle(unix.NETLINK_ROUTE)
		if err != nil {
			do(lab{err: err})
			return
		}
		defer handle.Close()
		do(lab{handle: handle})
	}()
	<-done
}

// withLink runs do while the lab has a device, and says whether it could be made.
func (l lab) withLink(device netlink.Link, do func(made netlink.Link) answer) answer {
	if l.err != nil {
		return unknown(l.err)
	}
	// For an unknown kind of device rtnetlink answers "not supported".
	if err := l.handle.LinkAdd(device); err != nil {
		return yesOrNo(err, unix.EOPNOTSUPP)
	}
	made, err := l.handle.LinkByName(device.Attrs().Name)
	if err != nil {
		return unknown(err)
	}
	// The namespace takes away what can't be deleted.
	defer func() { _ = l.handle.LinkDel(made) }()
	return do(made)
}
