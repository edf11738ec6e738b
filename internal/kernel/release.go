package kernel

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// Release returns the running kernel's release, as uname -r prints it.
func Release() string {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return ""
	}
	return unix.ByteSliceToString(u.Release[:])
}

// Older says whether a release, as uname -r prints it, is older than a version.
// One that can't be read is not.
func Older(release string, major, minor int) bool {
	var a, b int
	if n, _ := fmt.Sscanf(release, "%d.%d", &a, &b); n != 2 {
		return false
	}
	return a < major || a == major && b < minor
}

// OuterFirst says whether eBPF programs at the way in of an ipip device see packets
// from the outer headers on (Linux before 5.14: 7ad136fd288c). Nothing but a packet
// could tell, so it goes by the release. A kernel that has got the change earlier is
// no worse off: the program that goes by this looks for the inner header first.
func OuterFirst(release string) bool { return Older(release, 5, 14) }

// MarksFrames says whether a program can mark a super-packet as one in a frame in a tunnel
// (BPF_F_ADJ_ROOM_ENCAP_L2_ETH, d01b59c9ae94).
func MarksFrames(release string) bool { return !Older(release, 5, 13) }
