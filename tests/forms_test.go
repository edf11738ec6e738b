package tests

import (
	_ "embed"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/fanctl/fanctl/tests/bed"
)

var update = flag.Bool("update", false, "write transcripts anew")

//go:embed testdata/forms.txt
var forms string

// Every form of the commands, on one host from first to last: its answer, its errors
// and its exit code.
func TestEveryForm(t *testing.T) {
	b := bed.New(t, bed.Options{Hosts: []string{"10.0.0.45"}, NoIPv6: true})
	h := b.Hosts[0]
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	tools := filepath.Join(dir, "bin")
	list := filepath.Join(dir, "fan")
	write := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(tools, name), []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(tools, 0o755); err != nil {
		t.Fatal(err)
	}
	fanctl, err := os.ReadFile(os.Getenv(bed.BinaryVariable))
	if err != nil {
		t.Fatal(err)
	}
	write("fanctl", string(fanctl))
	write("nobody", "#!/bin/sh\nexec setpriv --reuid=65534 --regid=65534 --clear-groups \"$@\"\n")
	t.Cleanup(func() { h.Fanctl("down", "-e", "--force") })
	before := h.Settled(t)

	var got strings.Builder
	for line := range strings.Lines(forms) {
		command, isCommand := strings.CutPrefix(line, "$ ")
		switch {
		case strings.HasPrefix(line, "  "):
			continue // what came before
		case !isCommand:
			got.WriteString(line)
			continue
		}
		script := "export PATH=" + tools + ":$PATH FANCTL_STATE=" + filepath.Join(dir, "state") + "\n" + strings.ReplaceAll(command, "LIST", list)
		got.WriteString(line + answer(h.Exec("sh", "-c", script), list))
	}
	if difference := h.Becomes(t, before); difference != "" {
		t.Errorf("after all of them: %s", difference)
	}
	if *update {
		if err := os.WriteFile("testdata/forms.txt", []byte(got.String()), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if difference := bed.Diff(forms, got.String()); difference != "" {
		t.Errorf("the forms answer otherwise:\n%s", difference)
	}
}

// answer is a command's result as the transcript has it. Which way ipip takes is the
// kernel's affair.
func answer(r bed.Result, list string) string {
	var text strings.Builder
	for line := range strings.Lines(r.Stdout) {
		text.WriteString("  " + line)
	}
	for line := range strings.Lines(r.Stderr) {
		text.WriteString("  ! " + line)
	}
	if r.Code != 0 {
		fmt.Fprintf(&text, "  exit code %d\n", r.Code)
	}
	way := regexp.MustCompile(`datapath=(ebpf|device)`)
	return way.ReplaceAllString(strings.ReplaceAll(text.String(), list, "LIST"), "datapath=WAY")
}
