package bed

import (
	"encoding/binary"
	"errors"
)

var errNetlink = errors.New("netlink message cut short")

// parseNetlink returns the types of the messages in a buffer (struct nlmsghdr of
// include/uapi/linux/netlink.h: length and type, each message begins at a
// multiple of four bytes).
func parseNetlink(b []byte) ([]uint16, error) {
	const header = 16
	var types []uint16
	for len(b) > 0 {
		if len(b) < header {
			return types, errNetlink
		}
		size := int(binary.NativeEndian.Uint32(b))
		if size < header || size > len(b) {
			return types, errNetlink
		}
		types = append(types, binary.NativeEndian.Uint16(b[4:]))
		b = b[min((size+3)&^3, len(b)):]
	}
	return types, nil
}
