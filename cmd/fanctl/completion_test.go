package main

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/urfave/cli/v2"

	"github.com/fanctl/fanctl/internal/clitest"
	"github.com/fanctl/fanctl/internal/completion"
)

// complete asks as a shell does and returns the words that are offered.
func complete(t *testing.T, words ...string) []string {
	t.Helper()
	var out, errOut bytes.Buffer
	if code := run(append([]string{"fanctl", "complete", "--"}, words...), &out, &errOut); code != 0 || errOut.Len() > 0 {
		t.Errorf("%q: exit code %d, %q", words, code, errOut.String())
	}
	var list []string
	for line := range strings.Lines(out.String()) {
		word, _, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "\t")
		list = append(list, word)
	}
	return list
}

// What is offered on a host that has nothing.
func TestComplete(t *testing.T) {
	ownNetwork(t)
	file := filepath.Join(t.TempDir(), "fan")
	if err := os.WriteFile(file, []byte("eth0/16 250 dhcp\nwrong\neth1/24 240.0.0.0/8 off\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	for line, want := range map[string]string{
		"|":                                      "up down show calc features watch config version completion help",
		"com|":                                   "completion",
		"up|--t|":                                "--type",
		"up|--type||":                            "ipip vxlan",
		"up|250|--type=v|":                       "--type=vxlan",
		"up|--datapath||":                        "auto device ebpf",
		"up|--fa|":                               "--fast",
		"up|--fast=|":                            "--fast=on --fast=force",
		"up|--fast||":                            "default/16 250.0.0.0/8",
		"config|set|--fast=f|":                   "--fast=force",
		"up|--port||":                            "",
		"up|--file||":                            ":path",
		"up|-u||":                                "default/16",
		"up|-o||":                                "250.0.0.0/8",
		"up||":                                   "default/16 250.0.0.0/8",
		"up|default/16||":                        "250.0.0.0/8",
		"up|-o|250||":                            "default/16",
		"up|-a|--dr|":                            "--dry-run",
		"down|-o||":                              "",
		"down|-o|2|":                             "",
		"show||":                                 "--verbose -v --json --help",
		"features||":                             "--json --help",
		"config||":                               "list show set delete",
		"config|set|--en|":                       "--enable",
		"config|set|--type||":                    "ipip vxlan",
		"config|delete|--file|" + file + "|-o||": "250.0.0.0/8 240.0.0.0/8",
		"config|delete|--file|" + file + "|-o|240.0.0.0/8|-u||": "eth1/24",
		"config|delete|--file|" + file + "|-o|250|-u||":         "eth0/16",
		"config|delete|--file|/dev/null|-o||":                   "",
		"completion||":                                          "bash zsh fish",
		"completion|bash||":                                     "--help",
		"help|c|":                                               "calc config completion",
		"help|config||":                                         "",
		"complete||":                                            "--help",
		"up|--frob||":                                           "default/16 250.0.0.0/8",
		"frob||":                                                "",
	} {
		words := strings.Split(strings.TrimSuffix(line, "|"), "|")
		if got := complete(t, words...); strings.Join(got, " ") != want {
			t.Errorf("%q is completed by %q, want %q", words, got, want)
		}
	}
	if got := complete(t); got != nil {
		t.Errorf("nothing is completed by %q", got)
	}
}

// Every value that can be offered is, and a new option has to be thought of here.
func TestCompleteEveryValue(t *testing.T) {
	ownNetwork(t)
	free := strings.Fields("bridge port mtu host-reserve wait") // names and numbers
	var walk func(commands []*cli.Command, above []string)
	walk = func(commands []*cli.Command, above []string) {
		for _, c := range commands {
			words := append(slices.Clone(above), c.Name)
			for _, f := range c.Flags {
				name := f.Names()[0]
				if !slices.Contains(complete(t, append(slices.Clone(words), "--"+name)...), "--"+name) && !c.Hidden {
					t.Errorf("%q: --%s is not offered", words, name)
				}
				fans := slices.Contains([]string{"underlay", "overlay"}, name) && !slices.Contains([]string{"up", "set"}, c.Name) // none is up or listed
				if !f.(cli.DocGenerationFlag).TakesValue() || fans || slices.Contains(free, name) {
					continue
				}
				if len(complete(t, append(slices.Clone(words), "--"+name, "")...)) == 0 {
					t.Errorf("%q: no value is offered for --%s", words, name)
				}
			}
			walk(c.Subcommands, words)
		}
	}
	walk(newApp(io.Discard, io.Discard).Commands, nil)
}

func TestCompletionScripts(t *testing.T) {
	for _, words := range [][]string{nil, {"tcsh"}, {"bash", "zsh"}} {
		var out, errOut bytes.Buffer
		code := run(append([]string{"fanctl", "completion"}, words...), &out, &errOut)
		if code != 2 || out.Len() > 0 || strings.Count(errOut.String(), "\n") != 1 || !strings.Contains(errOut.String(), "bash, zsh, fish") {
			t.Errorf("%q: exit code %d, %q, %q", words, code, out.String(), errOut.String())
		}
	}
	for _, shell := range completion.Shells() {
		var out, errOut bytes.Buffer
		if code := run([]string{"fanctl", "completion", shell}, &out, &errOut); code != 0 || out.Len() == 0 || errOut.Len() > 0 {
			t.Errorf("%s: exit code %d, %q", shell, code, errOut.String())
		}
		// Where packages take them from: a program for another processor can't print them.
		clitest.Golden(t, filepath.Join("../../docs/completion", "fanctl."+shell), out.String())
	}
}
