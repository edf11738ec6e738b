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
