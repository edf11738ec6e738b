// Package sysctl reads and writes kernel settings under /proc/sys.
package sysctl

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/fanctl/fanctl/internal/plan"
)

// root is a path and not dotted names, because devices' names may have dots.
const root = "/proc/sys"

// Setting is one kernel setting.
type Setting struct {
	Path  string // below /proc/sys, such as "net/ipv4/conf/fan-250/rp_filter"
	Value string
	// Optional settings are left out where the kernel does not have them.
	Optional bool
}

// String returns the setting as sysctl(8) prints it.
func (s Setting) String() string { return s.Path + "=" + s.Value }

// Read returns a setting's value without the line's end.
func Read(path string) (string, error) {
	b, err := os.ReadFile(filepath.Join(root, path))
	if err != nil {
		return "", fmt.Errorf("read setting: %w", err)
	}
	return strings.TrimSpace(string(b)), nil
}

// Write sets a setting.
func Write(path, value string) error {
	if err := os.WriteFile(filepath.Join(root, path), []byte(value), 0); err != nil {
		return fmt.Errorf("write setting: %w", err)
	}
	return nil
}

// Values are settings as they are, by path. What is not there has none.
type Values map[string]string

// Look reads the settings' values.
func Look(settings []Setting) Values {
	now := Values{}
	for _, s := range settings {
		if value, err := Read(s.Path); err == nil {
			now[s.Path] = value
		}
	}
	return now
}

// Diff returns a step for each setting that has another value, or that is not
// there yet because an earlier step makes its device.
func Diff(settings []Setting, now Values) plan.Plan {
	var p plan.Plan
	for _, s := range settings {
		if value, there := now[s.Path]; !there || value != s.Value {
			p = append(p, Step(s))
		}
	}
	return p
}

// Plan returns the steps that set the settings, but for optional ones that the kernel
// does not have: of no device, or not of this one.
func Plan(settings []Setting) plan.Plan {
	var known []Setting
	for _, s := range settings {
		if !s.Optional || supported(s.Path) {
			known = append(known, s)
		}
	}
	return Diff(known, Look(known))
}

// supported says whether the kernel has settings of that kind for the device.
func supported(path string) bool {
	_, err := os.Stat(filepath.Join(root, filepath.Dir(path)))
	return err == nil
}

// Step sets a setting, whatever its value is now.
func Step(s Setting) plan.Step {
	var before string
	return plan.Step{
		Text: fmt.Sprintf("sysctl -w %s", s),
		Do: func() (err error) {
			before, err = Read(s.Path)
			if s.Optional && errors.Is(err, fs.ErrNotExist) {
				return nil
			}
			if err != nil || before == s.Value {
				return err
			}
			return Write(s.Path, s.Value)
		},
		Undo: func() error {
			if before == "" || before == s.Value {
				return nil
			}
			err := Write(s.Path, before)
			if errors.Is(err, fs.ErrNotExist) {
				return nil // with its device
			}
			return err
		},
	}
}
