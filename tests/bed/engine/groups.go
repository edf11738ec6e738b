package engine

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/fanctl/fanctl/tests/bed/cgroup"
)

// groupRoot is where daemons look for control groups.
const groupRoot = "/sys/fs/cgroup"

// groups is the name of a control group that a daemon has in every hierarchy of
// version 1 that the machine has. Of version 2 the machine's is used as it is.
type groups string

// allGroups are those of all daemons on the machine.
func allGroups() ([]groups, error) {
	roots, err := cgroup.Split()
	if err != nil {
		return nil, err
	}
	defer cgroup.Close(roots)
	var all []groups
	for _, root := range roots {
		paths, globErr := filepath.Glob(root.Path(prefix + "*"))
		err = errors.Join(err, globErr)
		for _, path := range paths {
			all = append(all, groups(filepath.Base(path)))
		}
	}
	slices.Sort(all)
	return slices.Compact(all), err
}

// make makes the groups.
func (g groups) make() error {
	roots, err := cgroup.Split()
	if err != nil {
		return err
	}
	defer cgroup.Close(roots)
	for _, root := range roots {
		if err := os.Mkdir(root.Path(string(g)), 0o755); err != nil {
			return err
		}
		// Nothing can join a group of cpuset before these are set.
		for _, file := range []string{"cpuset.cpus", "cpuset.mems"} {
			value, err := os.ReadFile(root.Path(file))
			if errors.Is(err, os.ErrNotExist) {
				continue
			}
			if err == nil {
				err = os.WriteFile(root.Path(string(g), file), value, 0o644)
			}
			if err != nil {
				return fmt.Errorf("set up group %s of %s: %w", g, root.Folder(), err)
			}
		}
	}
	return nil
}

// mount builds a folder that looks like /sys/fs/cgroup, with the groups for the
// hierarchies that they are in, in the calling thread's mount namespace.
func (g groups) mount(at string) error {
	roots, err := cgroup.Split()
	if err != nil {
		return err
	}
	defer cgroup.Close(roots)
	if len(roots) == 0 {
		root, err := cgroup.Unified()
		if err != nil {
			return err
		}
		defer root.Close()
		return root.Mount(at)
	}
	if err := tmpfs(at, 0o755); err != nil {
		return err
	}
	for _, root := range roots {
		if err := g.mountOne(root, at); err != nil {
			return err
		}
	}
	return nil
}

// mountOne shows the group of one hierarchy in a folder of at, and by the name of each
// of its controllers: cpu -> cpu,cpuacct.
func (g groups) mountOne(root cgroup.Hierarchy, at string) error {
	all, to := filepath.Join(at, "all"), filepath.Join(at, root.Folder())
	if err := errors.Join(os.Mkdir(all, 0o755), os.Mkdir(to, 0o755)); err != nil {
		return err
	}
	if err := root.Mount(all); err != nil {
		return err
	}
	err := errors.Join(bind(filepath.Join(all, string(g)), to), unix.Unmount(all, 0), os.Remove(all))
	if names := strings.Split(root.Folder(), ","); len(names) > 1 {
		for _, name := range names {
			err = errors.Join(err, os.Symlink(root.Folder(), filepath.Join(at, name)))
		}
	}
	return err
}

// join moves the calling thread into the groups.
func (g groups) join() error {
	roots, err := cgroup.Split()
	if err != nil {
		return err
	}
	defer cgroup.Close(roots)
	for _, root := range roots {
		file := root.Path(string(g), "tasks")
		if err := os.WriteFile(file, []byte(strconv.Itoa(unix.Gettid())), 0o644); err != nil {
			return fmt.Errorf("join group %s: %w", g, err)
		}
	}
	return nil
}

// remove kills what runs in the groups and removes them. Groups that are not there
// are fine.
func (g groups) remove() error {
	roots, err := cgroup.Split()
	if err != nil {
		return err
	}
	defer cgroup.Close(roots)
	for deadline := time.Now().Add(patience); ; time.Sleep(5 * time.Millisecond) {
		err = nil
		for _, root := range roots {
			err = errors.Join(err, killAndRemove(root.Path(string(g))))
		}
		if err == nil || time.Now().After(deadline) {
			return err
		}
	}
}

// killAndRemove kills the processes of a group and those below it, and removes
// the groups, the deepest first. A group that still has a process in it is an
// error.
func killAndRemove(top string) error {
	var folders []string
	err := filepath.WalkDir(top, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() {
			folders = append(folders, path)
		}
		if errors.Is(err, os.ErrNotExist) {
			err = nil
		}
		return err
	})
	for _, path := range slices.Backward(folders) {
		pids, _ := os.ReadFile(filepath.Join(path, "cgroup.procs")) // gone is fine
		for _, word := range strings.Fields(string(pids)) {
			// The kernel tells pids of another namespace as 0.
			if pid, _ := strconv.Atoi(word); pid > 0 && pid != os.Getpid() {
				_ = unix.Kill(pid, unix.SIGKILL) // gone is fine
			}
		}
		if removeErr := unix.Rmdir(path); removeErr != nil && !errors.Is(removeErr, unix.ENOENT) {
			err = errors.Join(err, fmt.Errorf("remove group %s: %w", path, removeErr))
		}
	}
	return err
}
