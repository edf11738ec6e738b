package bpf

import "golang.org/x/sys/unix"

// WithoutMemlock runs load without a limit on locked memory. Before Linux 5.11 eBPF
// programs and maps count as such, for all processes of the user together, and the
// usual limit of 64 KiB is soon used up. Later ones do not ask, so that a
// limit which can't be raised is no error here: load says what is missing.
func WithoutMemlock(load func() error) error {
	var before unix.Rlimit
	if err := unix.Prlimit(0, unix.RLIMIT_MEMLOCK, nil, &before); err != nil {
		return load()
	}
	none := unix.Rlimit{Cur: unix.RLIM_INFINITY, Max: unix.RLIM_INFINITY}
	if err := unix.Prlimit(0, unix.RLIMIT_MEMLOCK, &none, nil); err != nil {
		return load()
	}
	// What this process starts later has the limit that it would have without us.
	// Going back can't fail: nobody has to ask for less.
	defer func() { _ = unix.Prlimit(0, unix.RLIMIT_MEMLOCK, &before, nil) }()
	return load()
}
