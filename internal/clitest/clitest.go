// Package clitest has what the tests of the programs' command lines share.
package clitest

import (
	"flag"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/urfave/cli/v2"
)

// Golden compares a text with a file, or writes it there if the test was started with
// -update: go test ./cmd/fanctl -update.
func Golden(t *testing.T, path, got string) {
	t.Helper()
	if update := flag.Lookup("update"); update != nil && update.Value.String() == "true" {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s is\n%s\nwant\n%s", path, got, want)
	}
}

// ManualHasEveryOption looks in a manual page for every command of a program, and for
// every option of it under its heading, at least that many.
func ManualHasEveryOption(t *testing.T, app *cli.App, page string, least int) {
	t.Helper()
	page = strings.ReplaceAll(page, `\-`, "-")
	var walk func(commands []*cli.Command, above string) int
	walk = func(commands []*cli.Command, above string) (options int) {
		for _, c := range commands {
			if c.Hidden {
				continue
			}
			name := above + " " + c.Name
			_, section, found := strings.Cut(page, "\n.SS "+name+"\n")
			if !found {
				t.Errorf("the manual has no %s", name)
			}
			section, _, _ = strings.Cut(section, "\n.S")
			for _, f := range c.Flags {
				options++
				if !strings.Contains(section, `\fB--`+f.Names()[0]+`\fR`) {
					t.Errorf("the manual of %s has no --%s", name, f.Names()[0])
				}
			}
			options += walk(c.Subcommands, name)
		}
		return options
	}
	if n := walk(app.Commands, app.Name); n < least {
		t.Errorf("only %d options were looked for", n)
	}
}

// ManualReads has the readers that Debian and the BSDs have take a page, without a
// warning.
func ManualReads(t *testing.T, name, page string) {
	t.Helper()
	for _, reader := range [][]string{{"mandoc", "-Tlint", "-Wwarning"}, {"man", "--warnings", "-Tutf8", "-Z", "-l", "-"}} {
		if _, err := exec.LookPath(reader[0]); err != nil {
			t.Fatal("needs Debian's packages mandoc and man-db; make deps installs them")
		}
		cmd := exec.Command(reader[0], reader[1:]...)
		cmd.Stdin = strings.NewReader(page)
		var warnings strings.Builder
		cmd.Stderr = &warnings
		out, err := cmd.Output()
		if reader[0] == "mandoc" {
			warnings.Write(out) // they are its answer
		}
		if err != nil || warnings.Len() > 0 {
			t.Errorf("%s reads %s: %v\n%s", reader[0], name, err, warnings.String())
		}
	}
}
