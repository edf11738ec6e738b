package main

import (
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/urfave/cli/v2"

	"github.com/fanctl/fanctl/fan"
	"github.com/fanctl/fanctl/internal/manual"
)

// manuals are the pages that are made from texts and the help of this program.
const manuals = "../../docs/man"

// render returns the manual page of that name, such as fan.5, as roff.
func render(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(manuals, name+".text"))
	if err != nil {
		t.Fatal(err)
	}
	page, err := manual.Render(newApp(io.Discard, io.Discard), string(text))
	if err != nil {
		t.Fatal(err)
	}
	return page
}

// The pages in the tree say what the help says: -update writes them anew.
func TestManuals(t *testing.T) {
	for _, name := range []string{"fanctl.8", "fan.5"} {
		checkFile(t, filepath.Join(manuals, name), render(t, name))
	}
}

// Every command is in the manual, and every option of it under its heading.
func TestManualHasEveryOption(t *testing.T) {
	page := strings.ReplaceAll(render(t, "fanctl.8"), `\-`, "-")
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
	if n := walk(newApp(io.Discard, io.Discard).Commands, "fanctl"); n < 40 {
		t.Errorf("only %d options were looked for", n)
	}
}

// What a line of the list may say is in the list's manual.
func TestManualOfListHasEveryWord(t *testing.T) {
	page := strings.ReplaceAll(render(t, "fan.5"), `\-`, "-")
	for _, o := range fan.Options() {
		word := o.Name
		switch o.Name {
		case "underlay", "overlay":
			word = strings.ToUpper(word)
		case "off":
		default:
			word = "--" + word
		}
		if !strings.Contains(page, "\n.TP\n\\fB"+word+`\fR`) && !strings.Contains(page, "\n.TP\n\\fI"+word+`\fR`) {
			t.Errorf("fan(5) has no %s", word)
		}
	}
}

// The readers that Debian and the BSDs have take the pages without a warning.
func TestManualsRead(t *testing.T) {
	for _, name := range []string{"fanctl.8", "fan.5"} {
		for _, reader := range [][]string{{"mandoc", "-Tlint", "-Wwarning"}, {"man", "--warnings", "-Tutf8", "-Z", "-l", "-"}} {
			if _, err := exec.LookPath(reader[0]); err != nil {
				t.Fatal("needs Debian's packages mandoc and man-db; make deps installs them")
			}
			cmd := exec.Command(reader[0], reader[1:]...)
			cmd.Stdin = strings.NewReader(render(t, name))
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
}
