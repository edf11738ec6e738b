package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/term"

	"github.com/fanctl/fanctl/fan"
)

// errNoAnswer says that the input has ended where an answer was wanted.
var errNoAnswer = errors.New("the input ended before an answer came; nothing more was changed")

// errNotWanted says that somebody has thought better of it.
var errNotWanted = errors.New("nothing was changed")

// dialog asks a person, one line at a time.
type dialog struct {
	ctx   context.Context
	out   io.Writer
	lines <-chan string
}

// newDialog returns a dialog. Its reader waits for input to the program's end, for a
// read of a terminal can't be called off.
func newDialog(ctx context.Context, in io.Reader, out io.Writer) *dialog {
	lines := make(chan string)
	go func() {
		defer close(lines)
		for input := bufio.NewScanner(in); input.Scan(); {
			lines <- input.Text()
		}
	}()
	return &dialog{ctx, out, lines}
}

// isTerminal says whether somebody sits there.
func isTerminal(in io.Reader) bool {
	file, ok := in.(*os.File)
	return ok && term.IsTerminal(int(file.Fd()))
}

// line reads one answer.
func (d *dialog) line() (string, error) {
	select {
	case <-d.ctx.Done():
		fmt.Fprintln(d.out)
		return "", context.Cause(d.ctx)
	case line, ok := <-d.lines:
		if !ok {
			fmt.Fprintln(d.out)
			return "", errNoAnswer
		}
		return strings.TrimSpace(line), nil
	}
}

// ask asks until the answer is one that take does not refuse (fan.ErrUsage). Return
// takes what stands in brackets; an empty fallback is an answer, too.
func (d *dialog) ask(question, fallback string, take func(answer string) error) error {
	if fallback != "" {
		question += " [" + fallback + "]"
	}
	for {
		fmt.Fprintf(d.out, "%s: ", question)
		answer, err := d.line()
		if err != nil {
			return err
		}
		if answer == "" {
			answer = fallback
		}
		if err = take(answer); !errors.Is(err, fan.ErrUsage) {
			return err
		}
		fmt.Fprintf(d.out, "%s\n", err)
	}
}

// yes asks for yes or no; return is yes.
func (d *dialog) yes(question string) (yes bool, err error) {
	err = d.ask(question+" [Yn]", "", func(answer string) error {
		switch strings.ToLower(answer) {
		case "", "y", "yes":
			yes = true
		case "n", "no":
			yes = false
		default:
			return fan.Usagef("%q is neither yes nor no; type y or n", answer)
		}
		return nil
	})
	return yes, err
}

// say prints a line.
func (d *dialog) say(format string, a ...any) {
	fmt.Fprintf(d.out, format+"\n", a...)
}
