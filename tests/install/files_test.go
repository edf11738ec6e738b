//go:build install

package install

import (
	"crypto/sha256"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
)

// own are the files in which dpkg and apt keep what they have done.
var own = regexp.MustCompile(`^/var/lib/dpkg/(status|status-old|lock|lock-frontend|triggers/Lock)$|` +
	`^/var/log/(dpkg\.log|apt/(history|term|eipp)\.log(\.xz)?)$|` +
	`^/var/cache/apt/(pkgcache|srcpkgcache)\.bin$|^/var/lib/apt/(extended_states|lists/(lock|auxfiles|partial))$|^/var/cache/apt/archives/(lock|partial)$`)

// files lists what is on the machine's disk: kind, mode, owner, and what is in it.
func (m *machine) files(t *testing.T) string {
	t.Helper()
	root := m.path("")
	top, err := os.Stat(root + "/")
	if err != nil {
		t.Fatal(err)
	}
	device := top.Sys().(*syscall.Stat_t).Dev
	var list strings.Builder
	err = filepath.WalkDir(root+"/", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name := "/" + strings.TrimPrefix(strings.TrimPrefix(path, root), "/")
		info, err := d.Info()
		if err != nil {
			return err
		}
		stat := info.Sys().(*syscall.Stat_t)
		if d.IsDir() && name != "/" && stat.Dev != device {
			return fs.SkipDir // another file system
		}
		if own.MatchString(name) {
			return nil
		}
		content, err := contentOf(path, info)
		fmt.Fprintf(&list, "%s %s %d:%d %s\n", name, info.Mode(), stat.Uid, stat.Gid, content)
		return err
	})
	if err != nil {
		t.Fatalf("list the machine's files: %v", err)
	}
	return list.String()
}

func contentOf(path string, info fs.FileInfo) (string, error) {
	switch {
	case info.Mode()&fs.ModeSymlink != 0:
		return os.Readlink(path)
	case !info.Mode().IsRegular():
		return "", nil
	}
	text, err := os.ReadFile(path)
	return fmt.Sprintf("%x", sha256.Sum256(text)), err
}

// differences returns the lines that are in only one of two lists.
func differences(before, after string) []string {
	was, is := map[string]bool{}, map[string]bool{}
	for line := range strings.Lines(before) {
		was[line] = true
	}
	var changed []string
	for line := range strings.Lines(after) {
		if is[line] = true; !was[line] {
			changed = append(changed, "+"+strings.TrimSpace(line))
		}
	}
	for line := range strings.Lines(before) {
		if !is[line] {
			changed = append(changed, "-"+strings.TrimSpace(line))
		}
	}
	return changed
}
