package main

import (
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// painter colours words on a terminal, and leaves them alone elsewhere.
type painter bool

// painterOf colours what goes to a terminal, unless NO_COLOR (no-color.org) or a
// terminal without colours says otherwise.
func painterOf(out io.Writer) painter {
	file, ok := out.(*os.File)
	if !ok || os.Getenv("NO_COLOR") != "" || os.Getenv("TERM") == "dumb" {
		return false
	}
	_, err := unix.IoctlGetTermios(int(file.Fd()), unix.TCGETS)
	return err == nil
}

func (p painter) bold(text string) string   { return p.paint("1", text) }
func (p painter) red(text string) string    { return p.paint("31", text) }
func (p painter) yellow(text string) string { return p.paint("33", text) }

// paint uses the codes of ECMA-48, 8.3.117.
func (p painter) paint(code, text string) string {
	if !p {
		return text
	}
	return "\x1b[" + code + "m" + text + "\x1b[0m"
}
