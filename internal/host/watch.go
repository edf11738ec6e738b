package host

import (
	"context"
	"errors"
	"os"
	"slices"
	"time"

	"github.com/fanctl/fanctl/fan"
)

var (
	// ErrWatched says that another process watches already.
	ErrWatched = errors.New("another fanctl watches the fans of this host already")
	// ErrReplaced says that there is another version of the program, which is to go on.
	ErrReplaced = errors.New("fanctl has been replaced")
)

const (
	watcher = "fanctl-watch"
	// handover is how long one watcher waits for the end of another.
	handover = time.Second
	// gather is how long changes are gathered: they come in a row, for a container's device
	// is made in several.
	gather = 20 * time.Millisecond
	// restShare is how long the watcher rests between two looks, in times of a look: where
	// devices come and go all the time it takes a third of a processor at most.
	restShare = 2
	// setback is how long it rests after an error: what it has tried and taken back is a
	// change, too.
	setback = 2 * time.Second
)

// Watch keeps fast fans fast: when devices, filters or rules of nftables change it looks
// at them again, at once. It returns nil when the context ends, when there were fast
// fans and none is left, or when the program has been removed. What it has found is reported, an error only when it is another
// one than before.
func (h *Host) Watch(ctx context.Context, report func(Result, error)) error {
	if os.Geteuid() != 0 {
		return ErrPrivilege
	}
	unlock, err := lockFile("/run", watcher, handover)
	switch {
	case err != nil && unwritable(err):
	case err != nil:
		return ErrWatched
	default:
		defer unlock()
	}
	own, err := ownExecutable()
	if err != nil {
		return err
	}
	changes, err := openChanges(ctx)
	if err != nil {
		return err
	}
	defer changes.close()
	hadSome := false
	var failed []string // what was reported last
	for {
		began := time.Now()
		n, errs := h.mendFast(report)
		next := time.Now().Add(restShare * time.Since(began))
		if len(errs) > 0 {
			next = time.Now().Add(setback)
		}
		failed = reportNew(errs, failed, report)
		if hadSome && n == 0 && len(errs) == 0 {
			return nil
		}
		hadSome = hadSome || n > 0
		if err := changes.wait(next); err != nil || ctx.Err() != nil {
			return err
		}
		switch err := own.check(); {
		case errors.Is(err, os.ErrNotExist):
			return nil
		case errors.Is(err, ErrReplaced):
			return err
		}
	}
}

// reportNew reports the errors that are none of the last ones, and returns the texts of all.
func reportNew(errs []error, last []string, report func(Result, error)) (texts []string) {
	for _, err := range errs {
		texts = append(texts, err.Error())
		if !slices.Contains(last, err.Error()) {
			report(Result{}, err)
		}
	}
	return texts
}

// mendFast puts the fast fans right, but for their DHCP, and returns how many there are.
func (h *Host) mendFast(report func(Result, error)) (n int, errs []error) {
	err := h.locked(func() error {
		now, err := h.look(false)
		if err != nil {
			return err
		}
		for _, k := range fansOf(now.State) {
			if k.Fast == fan.Normal {
				continue
			}
			n++
			result, err := h.mendKernel(k.Fan, now, false)
			if err != nil {
				errs = append(errs, mendError{k.Bridge, err})
				continue
			}
			report(result, nil)
		}
		return nil
	})
	if err != nil {
		errs = append(errs, err)
	}
	return n, errs
}

// executable is the file of a program that runs.
type executable struct {
	path string
	was  os.FileInfo
}

func ownExecutable() (executable, error) {
	path, err := os.Executable()
	if err != nil {
		return executable{}, err
	}
	was, err := os.Stat(path)
	return executable{path, was}, err
}

// check returns ErrReplaced if another file has taken the program's place, and
// os.ErrNotExist if none has.
func (e executable) check() error {
	is, err := os.Stat(e.path)
	if err == nil && !os.SameFile(e.was, is) {
		return ErrReplaced
	}
	return err
}
