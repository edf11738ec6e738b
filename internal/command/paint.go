package command

import (
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// Painter colours words on a terminal, and leaves them alone elsewhere.
type Painter bool

// PainterOf colours what goes to a terminal, unless NO_COLOR (no-color.org) or a
// terminal without colours says otherwise.
func PainterOf(out io.Writer) Painter {
	return Painter(IsTerminal(out) && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb")
}

// IsTerminal says whether somebody reads what is written, rather than a program or a log.
func IsTerminal(out io.Writer) bool {
	file, ok := out.(*os.File)
	if !ok {
		return false
	}
	_, err := unix.IoctlGetTermios(int(file.Fd()), unix.TCGETS)
	return err == nil
}

// Bold stands out.
func (p Painter) Bold(text string) string { return p.paint("1", text) }

// Red is for errors.
func (p Painter) Red(text string) string { return p.paint("31", text) }

// Yellow is for notes.
func (p Painter) Yellow(text string) string { return p.paint("33", text) }

// paint uses the codes of ECMA-48, 8.3.117.
func (p Painter) paint(code, text string) string {
	if !p {
		return text
	}
	return "\x1b[" + code + "m" + text + "\x1b[0m"
}
