package host

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

const create = unix.O_RDWR | unix.O_CREAT | unix.O_NOFOLLOW

func TestLock(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	first, err := lock(path, create, "fanctl", 0)
	if err != nil {
		t.Fatal(err)
	}
	if info, err := first.Stat(); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("others can open the lock: %v, %v", info.Mode(), err)
	}
	if _, err := lock(path, create, "fanctl", time.Millisecond); err == nil || !strings.Contains(err.Error(), "another fanctl") {
		t.Errorf("the lock of another: %v", err)
	}
	time.AfterFunc(10*time.Millisecond, func() { first.Close() })
	second, err := lock(path, create, "fanctl", patience)
	if err != nil {
		t.Fatalf("the lock of another who ended: %v", err)
	}
	second.Close()
	if _, err := lock(filepath.Join(path, "x"), create, "fanctl", 0); err == nil {
		t.Error("a lock in a file")
	}
}

// A lock that is removed when it is given back is still one at a time.
func TestLockThatGoes(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	inside, most := 0, 0
	var count sync.Mutex
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range 20 {
				f, err := lock(path, create, "fanctl", patience)
				if err != nil {
					t.Error(err)
					return
				}
				count.Lock()
				inside++
				most = max(most, inside)
				count.Unlock()
				time.Sleep(100 * time.Microsecond)
				count.Lock()
				inside--
				count.Unlock()
				_ = os.Remove(path)
				f.Close()
			}
		})
	}
	all.Wait()
	if most != 1 {
		t.Errorf("%d had the lock at once", most)
	}
	if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the lock is left: %v", err)
	}
}

// The namespace itself is anybody's to lock: that is not waited for.
func TestLockOfNamespaceIsRoots(t *testing.T) {
	somebody, err := lock(namespace, unix.O_RDONLY, "fanctl", 0)
	if err != nil {
		t.Fatal(err)
	}
	defer somebody.Close()
	dir := t.TempDir()
	unlock, err := lockNamespace(dir, "fanctl", time.Second)
	if err != nil {
		t.Fatal(err)
	}
	unlock()
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("the lock is left: %v, %v", left, err)
	}
	// Where no file can be made it is the namespace, which is taken here.
	if _, err := lockNamespace(filepath.Join(dir, "none"), "fanctl", time.Millisecond); err == nil || !strings.Contains(err.Error(), "another fanctl") {
		t.Errorf("without a folder for the lock: %v", err)
	}
}
