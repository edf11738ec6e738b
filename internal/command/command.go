// Package command is what the command lines of the programs have in common: how
// words name a fan, what errors and answers look like, and which exit codes there are.
package command

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/fanctl/fanctl/fan"
)

// Exit codes, a promise to scripts.
const (
	ExitFailure = 1
	ExitUsage   = 2
)

// Run runs a program's command line. unknown is the error for a word that is no
// command's name.
func Run(ctx context.Context, app *cli.App, args []string, unknown func(word string) error) error {
	var noTopic error // the library asks for no answer where help was asked for
	app.CommandNotFound = func(_ *cli.Context, word string) { noTopic = unknown(word) }
	err := app.RunContext(ctx, wordsLast(args, app.Commands))
	if err == nil {
		err = noTopic
	}
	return err
}

// ExitCode tells an error, if it has not been told yet, and returns the exit code.
func ExitCode(app *cli.App, err error) int {
	if err == nil {
		return 0
	}
	var told ReportedError
	if !errors.As(err, &told) {
		PrintError(app, err)
	}
	if errors.Is(err, fan.ErrUsage) {
		return ExitUsage
	}
	return ExitFailure
}

// ReportedError is an error that has been told already.
type ReportedError struct{ Err error }

// Error is the error's text.
func (e ReportedError) Error() string { return e.Err.Error() }

// Unwrap returns the error.
func (e ReportedError) Unwrap() error { return e.Err }

// PrintError tells an error in one line, also if undoing has failed as well, or a
// word has a line's end.
func PrintError(app *cli.App, err error) {
	fmt.Fprintf(app.ErrWriter, "%s %s\n", PainterOf(app.ErrWriter).Red(app.Name+":"), OneLine(err))
}

// PrintNote tells what somebody should know although it is no error.
func PrintNote(app *cli.App, note string) {
	fmt.Fprintf(app.ErrWriter, "%s %s\n", PainterOf(app.ErrWriter).Yellow(app.Name+":"), note)
}

// OneLine is an error's text in one line.
func OneLine(err error) string {
	return strings.ReplaceAll(strings.TrimSpace(err.Error()), "\n", "; ")
}

// UsageError returns what says that an option is wrong, in the words of a program, and
// where those are that the command has.
func UsageError(program string) cli.OnUsageErrorFunc {
	return func(c *cli.Context, err error, _ bool) error {
		help := program + " --help"
		if c.Command != nil && c.Command.HelpName != "" {
			help = c.Command.HelpName + " --help"
		}
		if option, unknown := strings.CutPrefix(err.Error(), "flag provided but not defined: -"); unknown {
			return fan.Usagef("option --%s is not known; see %s", strings.TrimLeft(option, "-"), help)
		}
		return fan.Usagef("%v; see %s", err, help)
	}
}

// NoWords refuses words that no option takes.
func NoWords(c *cli.Context) error {
	if c.Args().Present() {
		return fan.Usagef("word %q is not understood; see %s --help", c.Args().First(), c.Command.HelpName)
	}
	return nil
}

// PrintJSON prints an answer as JSON.
func PrintJSON(out io.Writer, what any) error {
	encoder := json.NewEncoder(out)
	encoder.SetIndent("", "  ")
	return encoder.Encode(what)
}
