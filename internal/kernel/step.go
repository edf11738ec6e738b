package kernel

import (
	"errors"
	"fmt"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/fanctl/fanctl/internal/plan"
)

// LinkStep is a step that changes a device, found by name when the step runs.
// undo may be nil.
func LinkStep(h *netlink.Handle, name, text string, do, undo func(netlink.Link) error) plan.Step {
	with := func(f func(netlink.Link) error) func() error {
		if f == nil {
			return nil
		}
		return func() error {
			l, err := h.LinkByName(name)
			if err != nil {
				return fmt.Errorf("find device %s: %w", name, err)
			}
			return f(l)
		}
	}
	return plan.Step{Text: text, Do: with(do), Undo: with(undo)}
}

// DeleteLink removes a device; one that is not there is no error.
func DeleteLink(h *netlink.Handle, name string) error {
	l, err := h.LinkByName(name)
	if IsGone(err) {
		return nil
	}
	if err != nil {
		return err
	}
	return h.LinkDel(l)
}

// IsGone says whether an error means that a device is not there, or that it or
// its qdisc went while it was looked at.
func IsGone(err error) bool {
	var missing netlink.LinkNotFoundError
	return errors.As(err, &missing) || errors.Is(err, unix.ENODEV) || errors.Is(err, unix.EINVAL)
}
