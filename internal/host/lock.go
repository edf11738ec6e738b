package host

import (
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// patience is how long a change waits for another one. A change takes less than a
// tenth of a second, and up to ten while somebody holds the lock of iptables.
const patience = 30 * time.Second

// errCapable goes with an error of a root that is not allowed what root is.
var errCapable = errors.New("root lacks privileges here, as in a container; it needs all of a host's root")

// locked runs one change with no other one beside it.
func (h *Host) locked(change func() error) error {
	if os.Geteuid() != 0 {
		return ErrPrivilege
	}
	most := patience
	if h.Patience != 0 {
		most = h.Patience
	}
	unlock, err := lockNamespace("/run", "fanctl", most)
	if err != nil {
		return fmt.Errorf("lock network namespace: %w", err)
	}
	defer unlock()
	if err = change(); errors.Is(err, unix.EPERM) {
		return fmt.Errorf("%w: %w", errCapable, err)
	}
	return err
}

// Alone runs a change of a program's with no other one of that program beside it. Where
// there is no place for its lock, it goes without: each change to the kernel has the
// lock of fanctl.
func (h *Host) Alone(program string, change func() error) error {
	if os.Geteuid() != 0 {
		return ErrPrivilege
	}
	unlock, err := lockFile("/run", program, patience)
	if err != nil && !unwritable(err) {
		return fmt.Errorf("lock network namespace: %w", err)
	}
	if err == nil {
		defer unlock()
	}
	return change()
}

const namespace = "/proc/thread-self/ns/net"

// lockNamespace takes the lock of the network namespace: two namespaces do not wait
// for each other. It is a file that only root can open and that goes with the lock;
// everybody can open, and so lock, the namespace itself, which has to do only where
// /run can't be written. dir is /run.
func lockNamespace(dir, program string, most time.Duration) (unlock func(), err error) {
	if unlock, err = lockFile(dir, program, most); err == nil || !unwritable(err) {
		return unlock, err
	}
	f, err := lock(namespace, unix.O_RDONLY, program, most)
	if err != nil {
		return nil, err
	}
	return func() { f.Close() }, nil
}

func lockFile(dir, program string, most time.Duration) (unlock func(), err error) {
	var stat unix.Stat_t
	if err := unix.Stat(namespace, &stat); err != nil {
		return nil, err
	}
	path := fmt.Sprintf("%s/%s-%d.lock", dir, program, stat.Ino)
	f, err := lock(path, unix.O_RDWR|unix.O_CREAT|unix.O_NOFOLLOW, program, most)
	if err != nil {
		return nil, err
	}
	return func() {
		_ = os.Remove(path) // before it is let go of: who waits for it looks again
		f.Close()
	}, nil
}

// unwritable says whether an error means that nothing can be written there.
func unwritable(err error) bool {
	for _, reason := range []error{unix.EROFS, unix.ENOENT, unix.EACCES, unix.ENOSPC} {
		if errors.Is(err, reason) {
			return true
		}
	}
	return false
}

// lock takes the lock of a file, which closing it gives back.
func lock(path string, flags int, program string, most time.Duration) (*os.File, error) {
	const pause = 5 * time.Millisecond
	for end := time.Now().Add(most); ; time.Sleep(pause) {
		f, err := os.OpenFile(path, flags, 0o600)
		if err != nil {
			return nil, err
		}
		err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil && isAt(f, path) {
			return f, nil
		}
		f.Close()
		switch {
		case err != nil && !errors.Is(err, unix.EWOULDBLOCK) && !errors.Is(err, unix.EINTR):
			return nil, err
		case time.Now().After(end):
			return nil, fmt.Errorf("another %s has held it for %s; end that one if it hangs", program, most)
		}
	}
}

// isAt says whether the file is still the one at the path: who had the lock before has
// removed it.
func isAt(f *os.File, path string) bool {
	own, err := f.Stat()
	if err != nil {
		return false
	}
	there, err := os.Stat(path)
	return err == nil && os.SameFile(own, there)
}
