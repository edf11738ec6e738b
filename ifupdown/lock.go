package ifupdown

import (
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// patience is how long a change of a list waits for others, which take some
// milliseconds each.
const patience = 10 * time.Second

// lock keeps other changes of a list waiting. It is on a file beside the list, which
// nobody else can open, as they could the list and its folder, and which goes with the
// lock: whoever was waiting for it finds that it has gone, and makes a new one. One
// that is left of a change that was killed is nobody's, and the next one takes it.
func lock(path string) (unlock func(), err error) {
	const pause = 2 * time.Millisecond
	name := path + ".lock"
	for end := time.Now().Add(patience); ; time.Sleep(pause) {
		file, err := os.OpenFile(name, unix.O_RDWR|unix.O_CREAT|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0o600)
		if err != nil {
			return nil, err
		}
		err = unix.Flock(int(file.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil && isAt(file, name) {
			return func() {
				_ = os.Remove(name) // if it stays, the next change takes it
				file.Close()
			}, nil
		}
		file.Close()
		switch {
		case err != nil && !errors.Is(err, unix.EWOULDBLOCK) && !errors.Is(err, unix.EINTR):
			return nil, err
		case time.Now().After(end):
			return nil, fmt.Errorf("another fanctl has held %s for %s; end that one if it hangs", name, patience)
		}
	}
}

// isAt says whether a name still stands for a file that was opened by it.
func isAt(file *os.File, name string) bool {
	own, err := file.Stat()
	if err != nil {
		return false
	}
	there, err := os.Stat(name)
	return err == nil && os.SameFile(own, there)
}
