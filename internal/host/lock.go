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
	unlock, err := lockNamespace("/run", most)
	if err != nil {
		return fmt.Errorf("lock network namespace: %w", err)
	}
	defer unlock()
	if err = change(); errors.Is(err, unix.EPERM) {
		return fmt.Errorf("%w: %w", errCapable, err)
	}
	return err
}

const namespace = "/proc/thread-self/ns/net"

// lockNamespace takes the lock of the network namespace: two namespaces do not wait
// for each other. It is a file that only root can open and that goes with the lock;
// everybody can open, and so lock, the namespace itself, which has to do only where
// /run can't be written. dir is /run.
func lockNamespace(dir string, most time.Duration) (unlock func(), err error) {
	var stat unix.Stat_t
	if err := unix.Stat(namespace, &stat); err != nil {
		return nil, err
	}
	path := fmt.Sprintf("%s/fanctl-%d.lock", dir, stat.Ino)
	f, err := lock(path, unix.O_RDWR|unix.O_CREAT|unix.O_NOFOLLOW, most)
	if err == nil {
		return func() {
			_ = os.Remove(path) // before it is let go of: who waits for it looks again
			f.Close()
		}, nil
	}
	for _, unwritable := range []error{unix.EROFS, unix.ENOENT, unix.EACCES, unix.ENOSPC} {
		if errors.Is(err, unwritable) {
			if f, err = lock(namespace, unix.O_RDONLY, most); err != nil {
				return nil, err
			}
			return func() { f.Close() }, nil
		}
	}
	return nil, err
}

// lock takes the lock of a file, which closing it gives back.
func lock(path string, flags int, most time.Duration) (*os.File, error) {
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
			return nil, fmt.Errorf("another fanctl has held it for %s; end that one if it hangs", most)
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
