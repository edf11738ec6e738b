// Package cgroup reaches the machine's control groups by mounts of its own, which no
// folder shows and which end with the files that hold them: what the machine has at
// /sys/fs/cgroup may be anything, another mount above it included.
package cgroup

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// Hierarchy is a tree of control groups.
type Hierarchy struct {
	names string // as /proc/self/cgroup has them: "cpu,cpuacct", "name=systemd", or none for version 2
	file  *os.File
}

// Unified opens the hierarchy of version 2.
func Unified() (Hierarchy, error) { return open("") }

// Split opens the hierarchies of version 1 that the machine uses.
func Split() ([]Hierarchy, error) {
	text, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return nil, err
	}
	var all []Hierarchy
	for line := range strings.Lines(string(text)) {
		_, rest, _ := strings.Cut(line, ":")
		names, _, _ := strings.Cut(rest, ":")
		if names == "" {
			continue
		}
		h, err := open(names)
		if err != nil {
			Close(all)
			return nil, err
		}
		all = append(all, h)
	}
	return all, nil
}

// Close closes hierarchies.
func Close(all []Hierarchy) {
	for _, h := range all {
		h.Close()
	}
}

// Close lets go of the hierarchy; paths in it are valid no more.
func (h Hierarchy) Close() { _ = h.file.Close() }

// Path is that of a group or a file in it, for this process and others, until Close.
func (h Hierarchy) Path(words ...string) string {
	root := fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), h.file.Fd())
	return filepath.Join(slices.Concat([]string{root}, words)...)
}

// Folder is the name that its folder in /sys/fs/cgroup usually has.
func (h Hierarchy) Folder() string { return strings.TrimPrefix(h.names, "name=") }

// Mount mounts the hierarchy on a folder of the calling thread's mount namespace.
func (h Hierarchy) Mount(at string) error {
	kind := h.kind()
	if err := unix.Mount(kind, at, kind, 0, strings.Join(h.options(), ",")); err != nil {
		return fmt.Errorf("mount control groups %q on %s: %w", h.names, at, err)
	}
	return nil
}

// kind is the type of its file system.
func (h Hierarchy) kind() string {
	if h.names == "" {
		return "cgroup2"
	}
	return "cgroup"
}

// options are those of its mount.
func (h Hierarchy) options() []string {
	switch {
	case h.names == "":
		return nil
	case strings.HasPrefix(h.names, "name="):
		return []string{"none", h.names}
	}
	return strings.Split(h.names, ",")
}

// open mounts a hierarchy nowhere.
func open(names string) (Hierarchy, error) {
	h := Hierarchy{names: names}
	err := h.open()
	if err != nil {
		return Hierarchy{}, fmt.Errorf("open control groups %q: %w", names, err)
	}
	return h, nil
}

func (h *Hierarchy) open() error {
	context, err := unix.Fsopen(h.kind(), unix.FSOPEN_CLOEXEC)
	if err != nil {
		return err
	}
	defer unix.Close(context)
	for _, option := range h.options() {
		if key, value, named := strings.Cut(option, "="); named {
			err = unix.FsconfigSetString(context, key, value)
		} else {
			err = unix.FsconfigSetFlag(context, option)
		}
		if err != nil {
			return err
		}
	}
	if err := unix.FsconfigCreate(context); err != nil {
		return err
	}
	mount, err := unix.Fsmount(context, unix.FSMOUNT_CLOEXEC, 0)
	if err != nil {
		return err
	}
	h.file = os.NewFile(uintptr(mount), h.kind())
	return nil
}
