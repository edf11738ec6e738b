package ifupdown

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"unicode/utf8"

	"github.com/fanctl/fanctl/fan"
)

// maxSize is far beyond any list of fans: a bigger file is something else.
const maxSize = 1 << 20

// Load reads the file at a path; one that is not there lists no fans. It is refused
// (fan.ErrUsage) where others than its owner may write it, or its owner is neither
// root nor the caller: root brings up what it lists.
func Load(path string) (*File, error) {
	// Without O_NONBLOCK, a pipe would be waited for.
	file, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK|syscall.O_NOCTTY, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return &File{name: path}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the list of fans: %w", err)
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return nil, fmt.Errorf("read the list of fans: %w", err)
	}
	if err := checkRights(path, info); err != nil {
		return nil, err
	}
	text := make([]byte, info.Size())
	n, err := file.ReadAt(text, 0)
	if err != nil && n < len(text) {
		return nil, fmt.Errorf("read the list of fans: %w", err)
	}
	if !utf8.Valid(text) {
		return nil, fan.Usagef("%s is not text; write a line such as eth0/16 250.0.0.0/8 for each fan", path)
	}
	return Parse(path, string(text)), nil
}

func checkRights(path string, info fs.FileInfo) error {
	switch {
	case !info.Mode().IsRegular():
		return fan.Usagef("%s is not a file; write a line such as eth0/16 250.0.0.0/8 for each fan into one", path)
	case info.Size() > maxSize:
		return fan.Usagef("%s has %d bytes, and a list of fans at most %d", path, info.Size(), maxSize)
	case info.Mode().Perm()&0o022 != 0:
		return fan.Usagef("%s may be written by others than its owner (mode %04o); use chmod 644 %s", path, info.Mode().Perm(), path)
	}
	if stat, ok := info.Sys().(*syscall.Stat_t); ok && stat.Uid != 0 && int(stat.Uid) != os.Geteuid() {
		return fan.Usagef("%s belongs to user %d, not to root; use chown root %s", path, stat.Uid, path)
	}
	return nil
}

// Change reads the list at a path, has it changed and, if that made a difference,
// writes it, whole or not at all. No other Change gets in between. What the path stands
// for keeps its owner and mode.
func Change(path string, change func(*File) (changed bool, err error)) (changed bool, err error) {
	list, err := Load(path)
	if err != nil {
		return false, err
	}
	// What there is nothing to write for needs no right to.
	if changed, err := change(list); err != nil || !changed {
		return false, err
	}
	target, err := targetOf(path)
	if err != nil {
		return false, err
	}
	unlock, err := lock(target)
	if err != nil {
		return false, fmt.Errorf("write the list of fans: %w", err)
	}
	defer unlock()
	if list, err = Load(path); err != nil {
		return false, err
	}
	if changed, err := change(list); err != nil || !changed {
		return false, err
	}
	return true, list.save(target)
}

// targetOf returns the file that a path stands for, links followed.
func targetOf(path string) (string, error) {
	target, err := filepath.EvalSymlinks(path)
	if err == nil {
		return target, nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("write the list of fans: %w", err)
	}
	if to, err := os.Readlink(path); err == nil {
		return "", fan.Usagef("%s is a link to %s, which is not there; make that file, or remove the link", path, to)
	}
	folder, err := filepath.EvalSymlinks(filepath.Dir(path))
	if err != nil {
		return "", fmt.Errorf("write the list of fans: %w", err)
	}
	return filepath.Join(folder, filepath.Base(path)), nil
}

// save writes the file to a path.
func (f *File) save(path string) (err error) {
	mode := fs.FileMode(0o644)
	info, missing := os.Stat(path)
	if missing == nil {
		mode = info.Mode().Perm()
	}
	temporary, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".new-")
	if err != nil {
		return fmt.Errorf("write the list of fans: %w", err)
	}
	defer func() {
		if err != nil {
			err = fmt.Errorf("write the list of fans: %w", errors.Join(err, os.Remove(temporary.Name())))
		}
	}()
	_, err = temporary.WriteString(f.String())
	err = errors.Join(err, temporary.Chmod(mode))
	if missing == nil {
		if stat, ok := info.Sys().(*syscall.Stat_t); ok {
			err = errors.Join(err, temporary.Chown(int(stat.Uid), int(stat.Gid)))
		}
	}
	err = errors.Join(err, temporary.Sync(), temporary.Close())
	if err != nil {
		return err
	}
	return os.Rename(temporary.Name(), path)
}
