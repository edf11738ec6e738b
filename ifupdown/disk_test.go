package ifupdown

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/fanctl/fanctl/fan"
)

func TestLoadAndSave(t *testing.T) {
	path := filepath.Join(t.TempDir(), "fan")
	f, err := Load(path)
	if err != nil || len(f.Entries()) > 0 {
		t.Fatalf("without a file: %+v, %v", f, err)
	}
	for _, line := range []string{"eth0 250", "eth0 240 --no-nat"} {
		if changed, err := Change(path, set(t, line)); !changed || err != nil {
			t.Fatal(changed, err)
		}
		if changed, err := Change(path, set(t, line)); changed || err != nil {
			t.Fatal(changed, err)
		}
	}
	again, err := Load(path)
	if err != nil || again.String() != "eth0/16 250.0.0.0/8\neth0/16 240.0.0.0/8 --no-nat\n" {
		t.Errorf("read again: %v\n%s", err, again)
	}
	if info, err := os.Stat(path); err != nil || info.Mode() != 0o644 {
		t.Errorf("file is %v, %v", info, err)
	}
	if list, err := os.ReadDir(filepath.Dir(path)); err != nil || len(list) != 1 {
		t.Errorf("folder has %v, %v", list, err)
	}
}

// set puts a line into a list.
func set(t *testing.T, line string) func(*File) (bool, error) {
	s := spec(t, line)
	return func(f *File) (bool, error) { return f.Set(s) }
}

func TestChangeKeepsModeAndLink(t *testing.T) {
	dir := t.TempDir()
	file, link := filepath.Join(dir, "file"), filepath.Join(dir, "fan")
	if err := errors.Join(os.WriteFile(file, nil, 0o600), os.Symlink(file, link)); err != nil {
		t.Fatal(err)
	}
	if _, err := Change(link, set(t, "eth0 250")); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(file)
	info, failed := os.Stat(file)
	if err != nil || failed != nil || string(text) != "eth0/16 250.0.0.0/8\n" || info.Mode() != 0o600 {
		t.Errorf("file has mode %v and %q, %v", info.Mode(), text, errors.Join(err, failed))
	}
	if _, err := os.Readlink(link); err != nil {
		t.Error(err)
	}
}

// pipe makes a pipe that nobody has open at its other end.
func pipe(t *testing.T, dir string) string {
	t.Helper()
	path := filepath.Join(dir, "pipe")
	if err := syscall.Mkfifo(path, 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

// Changes that come at the same time are all made, by whichever name of the list; a
// lock that is left of one that was killed keeps nobody waiting.
func TestChangesAtTheSameTime(t *testing.T) {
	dir := t.TempDir()
	file, link := filepath.Join(dir, "file"), filepath.Join(dir, "fan")
	if err := errors.Join(os.WriteFile(file, nil, 0o644), os.WriteFile(file+".lock", nil, 0o600), os.Symlink("file", link)); err != nil {
		t.Fatal(err)
	}
	const many = 30
	failed := make(chan error, many)
	for n := range many {
		change := set(t, fmt.Sprintf("eth0 %d", 30+n))
		go func() {
			_, err := Change([]string{file, link}[n%2], change)
			failed <- err
		}()
	}
	for range many {
		if err := <-failed; err != nil {
			t.Error(err)
		}
	}
	list, err := Load(file)
	if err != nil || len(list.Entries()) != many {
		t.Errorf("of %d changes at the same time these have stayed (%v):\n%s", many, err, list)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 2 {
		t.Errorf("folder has %v, %v", left, err)
	}
}

// A link to nothing stays a link, and nothing is written.
func TestChangeRefusesDanglingLink(t *testing.T) {
	dir := t.TempDir()
	link := filepath.Join(dir, "fan")
	if err := os.Symlink("nowhere", link); err != nil {
		t.Fatal(err)
	}
	_, err := Change(link, set(t, "eth0 250"))
	if !errors.Is(err, fan.ErrUsage) || !strings.Contains(err.Error(), link+" is a link to nowhere") {
		t.Errorf("error %v", err)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 1 || left[0].Type() != os.ModeSymlink {
		t.Errorf("folder has %v, %v", left, err)
	}
}

// What changes nothing needs no right to write, and a change that fails leaves
// nothing.
func TestChangeOfNothing(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "fan")
	if err := os.WriteFile(file, []byte("eth0 250\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	wrong := errors.New("not this time")
	for fails := 1; fails <= 2; fails++ {
		calls := 0
		if _, err := Change(file, func(*File) (bool, error) {
			if calls++; calls == fails {
				return false, wrong
			}
			return true, nil
		}); !errors.Is(err, wrong) {
			t.Errorf("error %v, want that of the change", err)
		}
	}
	if changed, err := Change(filepath.Join(dir, "no", "fan"), func(*File) (bool, error) { return false, nil }); changed || err != nil {
		t.Errorf("no change in a folder that is not there: %t, %v", changed, err)
	}
	if _, err := Change(filepath.Join(dir, "no", "fan"), set(t, "eth0 250")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("in a folder that is not there: %v", err)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 1 {
		t.Errorf("folder has %v, %v", left, err)
	}
}

func TestLoadRefuses(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string, mode os.FileMode) string {
		path := filepath.Join(dir, name)
		if err := errors.Join(os.WriteFile(path, []byte(text), mode), os.Chmod(path, mode)); err != nil {
			t.Fatal(err)
		}
		return path
	}
	for path, words := range map[string]string{
		dir:                                 "file",
		pipe(t, dir):                        "file",
		write("all", "eth0 250\n", 0o666):   "0666 chmod 644",
		write("group", "eth0 250\n", 0o664): "0664 chmod 644",
		write("binary", "eth0 250\n\xff\xfe", 0o644):            "text",
		write("big", strings.Repeat("#\n", maxSize/2+1), 0o644): "1048578 1048576",
	} {
		_, err := Load(path)
		if !errors.Is(err, fan.ErrUsage) {
			t.Errorf("%s: error %v, want bad input", path, err)
			continue
		}
		for word := range strings.FieldsSeq(words + " " + path) {
			if !strings.Contains(err.Error(), word) {
				t.Errorf("%s: error %q does not name %s", path, err, word)
			}
		}
	}
	if os.Geteuid() != 0 {
		return
	}
	path := write("other", "eth0 250\n", 0o644)
	if err := os.Chown(path, 65534, 65534); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(path); !errors.Is(err, fan.ErrUsage) || !strings.Contains(err.Error(), "65534") {
		t.Errorf("another user's file: %v", err)
	}
}
