package docker

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/fanctl/fanctl/fan"
	"github.com/fanctl/fanctl/internal/plan"
)

// file is a file as it is, or, with a nil text, that there is none.
type file struct {
	path     string
	text     []byte
	mode     fs.FileMode
	uid, gid int
	modified time.Time // zero: now, when it is written
}

func (f file) exists() bool { return f.text != nil }

// readFile reads a file; one that is not there is no error. It refuses (fan.ErrUsage)
// what is no regular file: a link may lead to where others take their files from.
func readFile(path string) (file, error) {
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return file{path: path}, nil
	}
	if err != nil {
		return file{}, err
	}
	if !info.Mode().IsRegular() {
		what := "not a regular file"
		if info.Mode()&fs.ModeSymlink != 0 {
			what = "a symbolic link"
		}
		return file{}, fan.Usagef("%s is not touched: it is %s; put the file itself there", path, what)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return file{}, err
	}
	f := file{path: path, text: append([]byte{}, text...), mode: info.Mode().Perm(), modified: info.ModTime()}
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		f.uid, f.gid = int(st.Uid), int(st.Gid)
	}
	return f, nil
}

// with returns the file with another text.
func (f file) with(text []byte) file {
	f.text, f.modified = append([]byte{}, text...), time.Time{}
	return f
}

// at returns the file under another name.
func (f file) at(path string) file {
	f.path = path
	return f
}

// put makes the file be as it says, whole or not at all.
func (f file) put() error {
	if !f.exists() {
		if err := os.Remove(f.path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		return syncDir(filepath.Dir(f.path))
	}
	temporary := f.path + temporarySuffix
	if err := f.write(temporary); err != nil {
		return errors.Join(err, removeIfThere(temporary))
	}
	if err := os.Rename(temporary, f.path); err != nil {
		return errors.Join(err, removeIfThere(temporary))
	}
	return syncDir(filepath.Dir(f.path))
}

// write makes a file of that name anew.
func (f file) write(path string) error {
	if err := removeIfThere(path); err != nil { // of a run that was ended
		return err
	}
	w, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = w.Write(f.text)
	err = errors.Join(err, w.Chown(f.uid, f.gid), w.Chmod(f.mode), w.Sync(), w.Close())
	if err == nil && !f.modified.IsZero() {
		err = os.Chtimes(path, f.modified, f.modified)
	}
	return err
}

func removeIfThere(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

func syncDir(path string) error {
	dir, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

// What stands behind the name of the configuration file.
const (
	backupSuffix    = ".before-fan"        // the file as it was
	markerSuffix    = ".absent-before-fan" // there was no file
	temporarySuffix = ".fan-new"           // is being written; a folder, too
)

// madeFolder is in the marker if the folder was not there either.
const madeFolder = "the folder was not there either\n"

// saved is what was there before the fan.
type saved struct {
	// file is the configuration as it was, under its own name; without a text if there
	// was none.
	file file
	// known says that something was saved.
	known bool
	// folder says that we have made the folder.
	folder bool
}

// readSaved reads what was saved of a configuration file.
func readSaved(path string) (saved, error) {
	backup, err := readFile(path + backupSuffix)
	if err != nil {
		return saved{}, err
	}
	if backup.exists() {
		return saved{file: backup.at(path), known: true}, nil
	}
	marker, err := readFile(path + markerSuffix)
	if err != nil {
		return saved{}, err
	}
	return saved{file: file{path: path}, known: marker.exists(), folder: string(marker.text) == madeFolder}, nil
}

// stepSave keeps a configuration file as it is.
func stepSave(f file) plan.Step {
	if f.exists() {
		backup := f.at(f.path + backupSuffix)
		return plan.Step{
			Text: fmt.Sprintf("cp -p %s %s", f.path, backup.path),
			Do:   func() error { return errors.Join(removeIfThere(f.path+markerSuffix), backup.put()) },
			Undo: func() error { return removeIfThere(backup.path) },
		}
	}
	marker := file{path: f.path + markerSuffix, text: []byte{}, mode: 0o644}
	folder := filepath.Dir(f.path)
	if _, err := os.Stat(folder); err == nil {
		return plan.Step{Text: "touch " + marker.path, Do: marker.put, Undo: func() error { return removeIfThere(marker.path) }}
	}
	return plan.Step{
		Text: "mkdir " + folder,
		Do:   func() error { return makeFolder(folder, filepath.Base(marker.path)) },
		Undo: func() error { return removeFolder(folder, filepath.Base(marker.path)) },
	}
}

// makeFolder makes a folder with a marker in it, both at once.
func makeFolder(path, marker string) error {
	temporary := path + temporarySuffix
	if err := removeParts(temporary, marker); err != nil {
		return err
	}
	if err := os.Mkdir(temporary, 0o755); err != nil {
		return err
	}
	f := file{path: filepath.Join(temporary, marker), text: []byte(madeFolder), mode: 0o644}
	if err := f.put(); err != nil {
		return errors.Join(err, removeParts(temporary, marker))
	}
	if err := os.Rename(temporary, path); err != nil {
		return errors.Join(err, removeParts(temporary, marker))
	}
	return syncDir(filepath.Dir(path))
}

// removeFolder removes a marker and, if nobody else has put anything there, the folder.
func removeFolder(path, marker string) error {
	entries, err := os.ReadDir(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if len(entries) > 1 || len(entries) == 1 && entries[0].Name() != marker {
		return removeIfThere(filepath.Join(path, marker))
	}
	temporary := path + temporarySuffix
	if err := removeParts(temporary, marker); err != nil {
		return err
	}
	if err := os.Rename(path, temporary); err != nil {
		return err
	}
	return removeParts(temporary, marker)
}

// removeParts removes a folder that was being made or removed.
func removeParts(path, marker string) error {
	for _, name := range []string{marker + temporarySuffix, marker} {
		if err := removeIfThere(filepath.Join(path, name)); err != nil {
			return err
		}
	}
	return removeIfThere(path)
}

// planForget returns the steps that remove what was saved, and what an ended run has left.
func planForget(path string, s saved) (p plan.Plan) {
	marker := filepath.Base(path) + markerSuffix
	folder := filepath.Dir(path)
	for _, name := range []string{path + temporarySuffix, path + backupSuffix + temporarySuffix, path + markerSuffix + temporarySuffix, path + backupSuffix} {
		if left, err := readFile(name); err == nil && left.exists() {
			step := plan.Step{Text: "rm " + name, Do: func() error { return removeIfThere(name) }}
			if name == path+backupSuffix {
				step.Undo = left.put
			}
			p = append(p, step)
		}
	}
	if left, err := readFile(path + markerSuffix); err == nil && left.exists() {
		if s.folder {
			p = append(p, plan.Step{Text: fmt.Sprintf("rm %s; rmdir --ignore-fail-on-non-empty %s", left.path, folder),
				Do: func() error { return removeFolder(folder, marker) }, Undo: func() error { return makeFolder(folder, marker) }})
		} else {
			p = append(p, plan.Step{Text: "rm " + left.path, Do: func() error { return removeIfThere(left.path) }, Undo: left.put})
		}
	}
	if _, err := os.Stat(folder + temporarySuffix); err == nil {
		p = append(p, plan.Step{Text: "rm -r " + folder + temporarySuffix, Do: func() error { return removeParts(folder+temporarySuffix, marker) }})
	}
	return p
}

// isAs says whether a file has what was there before the fan.
func (s saved) isAs(f file) bool {
	return s.known && s.file.exists() == f.exists() && bytes.Equal(s.file.text, f.text)
}
