package bed

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"
)

// KernelAtLeast says whether the running kernel is that version or newer.
func KernelAtLeast(t testing.TB, major, minor int) bool {
	t.Helper()
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		t.Fatalf("read kernel version: %v", err)
	}
	var a, b int
	if _, err := fmt.Sscanf(unix.ByteSliceToString(u.Release[:]), "%d.%d", &a, &b); err != nil {
		t.Fatalf("read kernel version: %v", err)
	}
	return a > major || (a == major && b >= minor)
}

// HasDevice says whether the kernel has a kind of device, by asking for one in a
// namespace that nobody has ever used: kind is what follows "ip link add NAME
// type". The kernel loads its module if there is one.
func HasDevice(kind string) (bool, error) {
	var ns *NS
	for n := 0; ns == nil; n++ {
		made, err := newNS(fmt.Sprintf("%s%d-%d-probe", prefix, os.Getpid(), n))
		if err != nil && !errors.Is(err, os.ErrExist) {
			return false, err
		}
		ns = made
	}
	r := ns.Exec(append([]string{"ip", "link", "add", "probe", "type"}, strings.Fields(kind)...)...)
	// A kind that is known may want a device below, such as a VLAN.
	unknown := strings.Contains(r.Stderr, "Unknown device type") || strings.Contains(r.Stderr, "Operation not supported")
	return r.Code == 0 || !unknown, ns.close()
}

// EBPFObjects counts the eBPF programs and maps of the whole machine: there is
// no namespace for them.
func EBPFObjects(t testing.TB) (programs, maps int) {
	t.Helper()
	for id, err := ebpf.ProgramGetNextID(0); ; id, err = ebpf.ProgramGetNextID(id) {
		if end(t, err) {
			break
		}
		programs++
	}
	for id, err := ebpf.MapGetNextID(0); ; id, err = ebpf.MapGetNextID(id) {
		if end(t, err) {
			break
		}
		maps++
	}
	return programs, maps
}

func end(t testing.TB, err error) bool {
	t.Helper()
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatalf("list eBPF objects: %v", err)
	}
	return err != nil
}
