package fan

import (
	"errors"
	"fmt"
)

// ErrUsage is what every error of bad input is: the caller asked for something
// that can't be, and nothing was done.
var ErrUsage = errors.New("bad input")

// usageError is one line that says what was wrong with the input.
type usageError struct{ text string }

func (e usageError) Error() string        { return e.text }
func (e usageError) Is(target error) bool { return target == ErrUsage }

// Usagef returns an error of bad input with that text. It should name the value,
// what is wrong with it and what would be right.
func Usagef(format string, a ...any) error {
	return usageError{fmt.Sprintf(format, a...)}
}
