package ifupdown

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
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
		if changed, err := f.Set(spec(t, line)); !changed || err != nil {
			t.Fatal(changed, err)
		}
		if err := f.Save(path); err != nil {
			t.Fatal(err)
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

func TestSaveKeepsModeAndLink(t *testing.T) {
	dir := t.TempDir()
	file, link := filepath.Join(dir, "file"), filepath.Join(dir, "fan")
	if err := errors.Join(os.WriteFile(file, nil, 0o600), os.Symlink(file, link)); err != nil {
		t.Fatal(err)
	}
	if err := Parse(link, "eth0 250").Save(link); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(file)
	info, failed := os.Stat(file)
	if err != nil || failed != nil || string(text) != "eth0 250\n" || info.Mode() != 0o600 {
		t.Errorf("file has mode %v and %q, %v", info.Mode(), text, errors.Join(err, failed))
	}
	if _, err := os.Readlink(link); err != nil {
		t.Error(err)
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
