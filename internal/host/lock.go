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

// locked runs one change with no other one beside it. The lock is on the network
// namespace itself (nsfs), so it needs no file that stays, and two namespaces do
// not wait for each other.
func locked(change func() error) error {
	if os.Geteuid() != 0 {
		return ErrPrivilege
	}
	ns, err := lock("/proc/thread-self/ns/net", patience)
	if err != nil {
		return fmt.Errorf("lock network namespace: %w", err)
	}
	defer ns.Close()
	if err = change(); errors.Is(err, unix.EPERM) {
		return fmt.Errorf("%w: %w", errCapable, err)
	}
	return err
}

// lock takes the lock of a file, which closing it gives back.
func lock(path string, most time.Duration) (*os.File, error) {
	const pause = 5 * time.Millisecond
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	for end := time.Now().Add(most); ; time.Sleep(pause) {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		switch {
		case err == nil:
			return f, nil
		case !errors.Is(err, unix.EWOULDBLOCK) && !errors.Is(err, unix.EINTR):
			f.Close()
			return nil, err
		case time.Now().After(end):
			f.Close()
			return nil, fmt.Errorf("another fanctl has held it for %s; end that one if it hangs", most)
		}
	}
}
