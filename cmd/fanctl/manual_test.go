package main

import (
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/fanctl/fanctl/fan"
	"github.com/fanctl/fanctl/internal/clitest"
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
		clitest.Golden(t, filepath.Join(manuals, name), render(t, name))
	}
}

// Every command is in the manual, and every option of it under its heading.
func TestManualHasEveryOption(t *testing.T) {
	clitest.ManualHasEveryOption(t, newApp(io.Discard, io.Discard), render(t, "fanctl.8"), 40)
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
		clitest.ManualReads(t, name, render(t, name))
	}
}
