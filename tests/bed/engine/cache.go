package engine

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// cached returns a folder that is made once for all tests on the machine, below the
// user's folder for caches, and then kept. make fills it; what it leaves half made
// is never seen.
func cached(name string, make func(dir string) error) (string, error) {
	base, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	base = filepath.Join(base, "fanctl-tests")
	if err := os.MkdirAll(base, 0o755); err != nil {
		return "", err
	}
	lock, err := os.OpenFile(filepath.Join(base, name+".lock"), os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return "", err
	}
	defer lock.Close()
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX); err != nil {
		return "", fmt.Errorf("lock %s: %w", lock.Name(), err)
	}
	whole, part := filepath.Join(base, name), filepath.Join(base, name+".part")
	if _, err := os.Stat(whole); err == nil {
		return whole, nil
	}
	if err := os.RemoveAll(part); err != nil { // of a run that was killed
		return "", err
	}
	if err := os.Mkdir(part, 0o755); err != nil {
		return "", err
	}
	if err := make(part); err != nil {
		return "", errors.Join(err, os.RemoveAll(part))
	}
	return whole, os.Rename(part, whole)
}

// mirror is where the machine gets its Debian from.
func mirror() (string, error) {
	out, err := command("apt-get", "indextargets", "--format", "$(REPO_URI)", "Created-By: Packages", "Component: main")
	if err != nil {
		return "", err
	}
	first, _, _ := strings.Cut(out, "\n")
	if first == "" {
		return "", errors.New("apt of this machine has no Debian mirror")
	}
	return first, nil
}

// command runs a command and returns its standard output.
func command(name string, args ...string) (string, error) {
	out, err := exec.Command(name, args...).Output()
	if err != nil {
		var said string
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			said = string(exit.Stderr)
		}
		return "", fmt.Errorf("%s %s: %w\n%s", name, strings.Join(args, " "), err, said)
	}
	return string(out), nil
}
