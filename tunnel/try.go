package tunnel

import (
	"errors"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/fanctl/fanctl/internal/kernel"
)

// FiltersVNI says whether vxlan devices can be told which network identifiers are
// theirs, by making one such as a fan's, with that name and for a moment, in the
// network namespace of the calling thread, which is the handle's. The error is
// unix.EOPNOTSUPP if there are no vxlan devices.
func FiltersVNI(h *netlink.Handle, name string) (filters bool, err error) {
	const port, anyVNI = 8472, 1
	if err := newVXLAN(name, [6]byte{2}, port); err != nil {
		return false, err
	}
	defer func() { err = errors.Join(err, kernel.DeleteLink(h, name)) }()
	index, err := linkIndex(h, name)
	if err != nil {
		return false, err
	}
	err = newVNI(index, anyVNI)
	if errors.Is(err, unix.EOPNOTSUPP) {
		return false, nil
	}
	return err == nil, err
}
