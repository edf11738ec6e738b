package fan

import (
	"errors"
	"fmt"
)

// ErrUsage is what every error of bad input is: the caller asked for something
// that can't be, and nothing was done.
var ErrUsage = errors.New("bad input")

// ErrNotYet is what an error of bad input is, too, if the host lacks a device, an
// address or a route that it may get by itself.
var ErrNotYet = errors.New("not there yet")

// usageError is one line that says what was wrong with the input.
type usageError struct {
	text   string
	notYet bool
}

func (e usageError) Error() string { return e.text }

func (e usageError) Is(target error) bool {
	return target == ErrUsage || e.notYet && target == ErrNotYet
}

// Usagef returns an error of bad input with that text. It should name the value,
// what is wrong with it and what would be right.
func Usagef(format string, a ...any) error {
	return usageError{text: fmt.Sprintf(format, a...)}
}

// NotYetf returns an error of bad input that may pass by itself.
func NotYetf(format string, a ...any) error {
	return usageError{text: fmt.Sprintf(format, a...), notYet: true}
}
