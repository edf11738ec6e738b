package command

import (
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/urfave/cli/v2"
)

// An option whose value may be left out never takes the next word for one.
func TestAttachedFlag(t *testing.T) {
	for line, want := range map[string]string{
		"":                  "false,  | ",
		"word":              "false,  | word",
		"--when":            "true, now | ",
		"--when later":      "true, now | later",
		"later --when":      "true, now | later",
		"--when=later":      "true, later | ",
		"-when=later":       "true, later | ",
		"word --when=later": "true, later | word",
		"--when=":           "true,  | ",
		"--when=false":      "true, false | ",
		"-- --when":         "false,  | --when",
	} {
		var got string
		flag := newAttachedFlag("when", "at some time", "now")
		app := &cli.App{Name: "demo", Writer: io.Discard, Commands: []*cli.Command{{Name: "go", Flags: []cli.Flag{flag}, Action: func(c *cli.Context) error {
			got = fmt.Sprint(c.IsSet("when"), ", ", c.String("when"), " | ") + strings.Join(c.Args().Slice(), " ")
			return nil
		}}}}
		if err := Run(t.Context(), app, append([]string{"demo", "go"}, strings.Fields(line)...), func(string) error { return nil }); err != nil || got != want {
			t.Errorf("%q is read as %q, %v; want %q", line, got, err, want)
		}
	}
}
