// Package shells tests completion in the shells that people use: real ones, on a
// terminal, on a host with fans, and without privilege.
package shells

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fanctl/fanctl/tests/bed"
)

// hangs is longer than any shell takes.
const hangs = 2 * time.Minute

// desk is a host with fans and a user without privilege, who has a folder there.
type desk struct {
	host *bed.Host
	dir  string // with fanctl and the completion scripts in it
}

func newDesk(t *testing.T) desk {
	t.Helper()
	h := bed.New(t, bed.Options{NoIPv6: true}).Hosts[0]
	dir, err := os.MkdirTemp("", "fanctl-shells-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o777); err != nil { // the user's, as it were
		t.Fatal(err)
	}
	program, err := bed.Build(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv(bed.BinaryVariable, program)
	d := desk{h, dir}
	d.host.MustFanctl(t, "up", "-u", "eth0/16", "-o", "250.0.0.0/8")
	d.host.MustFanctl(t, "up", "-u", "eth0/16", "-o", "240.0.0.0/8", "--type", "vxlan")
	for _, name := range []string{"list of fans", "lisp"} {
		d.write(t, name, "")
	}
	for shell, name := range map[string]string{"bash": "bash-completion/completions/fanctl", "zsh": "_fanctl", "fish": "fanctl.fish"} {
		d.write(t, name, d.host.MustFanctl(t, "completion", shell))
	}
	return d
}

func (d desk) write(t *testing.T, name, text string) {
	t.Helper()
	path := filepath.Join(d.dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// run runs a command as the user, who types a text, and returns what it shows.
func (d desk) run(t *testing.T, typed string, args ...string) string {
	t.Helper()
	if _, err := exec.LookPath(args[0]); err != nil {
		t.Fatalf("needs Debian's packages bash, zsh, fish and bash-completion; make deps installs them: %v", err)
	}
	runtime.LockOSThread() // the command ends with the thread
	defer runtime.UnlockOSThread()
	ctx, cancel := context.WithTimeout(context.Background(), hangs)
	defer cancel()
	cmd := d.host.Command(ctx, append([]string{"setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"}, args...)...)
	cmd.Dir = d.dir
	cmd.Env = []string{"PATH=" + d.dir + ":/usr/bin:/bin", "HOME=" + d.dir, "XDG_DATA_HOME=" + d.dir, "TERM=dumb", "LC_ALL=C.UTF-8"}
	cmd.Stdin = strings.NewReader(typed)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%q: %v\n%s", args, err, out)
	}
	return string(out)
}

// terminal runs a shell on a terminal. Each line is typed up to where it ends, and
// there the keys that insert all that could stand there; the words that the command
// would then get are the answers.
func (d desk) terminal(t *testing.T, name, shell, setup, keys string, lines []string) [][]string {
	t.Helper()
	typed := strings.Builder{}
	typed.WriteString(setup)
	answer := func(i int) string { return filepath.Join(d.dir, fmt.Sprintf("answer-%d", i)) }
	for i, line := range lines {
		// Control-A and Control-E go to the line's ends.
		fmt.Fprintf(&typed, "%s%s\x01printf '%%s\\0' \x05 > %s\n", line, keys, answer(i))
	}
	typed.WriteString("exit\n")
	shown := d.run(t, typed.String(), "script", "--quiet", "--return", "--command", shell, "/dev/null")
	if strings.Contains(shown, "not found") || strings.Contains(shown, "rror") || strings.Contains(shown, "broken") {
		t.Errorf("%s shows\n%s", name, shown)
	}
	var answers [][]string
	for i := range lines {
		text, err := os.ReadFile(answer(i))
		if err != nil {
			t.Fatalf("%v; %s shows\n%s", err, name, shown)
		}
		os.Remove(answer(i))
		answers = append(answers, strings.Split(strings.TrimSuffix(string(text), "\x00"), "\x00"))
	}
	return answers
}

// lines are command lines up to the cursor, and what can stand there: the words that
// a shell offers, in any order, with what is typed already.
func lines() map[string]string {
	return map[string]string{
		"fanctl com":              "completion",
		"fanctl completion ":      "bash zsh fish",
		"fanctl config ":          "list show set delete",
		"fanctl config set --dat": "--datapath",
		"fanctl up --t":           "--type",
		"fanctl up --dhcp --d":    "--datapath --debug --disable --dry-run",
		"fanctl up --type ":       "ipip vxlan",
		"fanctl up --type=v":      "--type=vxlan",
		"fanctl up --datapath=":   "--datapath=auto --datapath=device --datapath=ebpf",
		"fanctl up -u ":           "eth0/16 default/16",
		"fanctl up 250 --type ":   "ipip vxlan",
		"fanctl up eth0/16 -o ":   "250.0.0.0/8",
		"fanctl show ":            "fan-240 fan-250",
		"fanctl show fan-240 ":    "fan-250",
		"fanctl calc fan-25":      "fan-250",
		"fanctl down -o ":         "240.0.0.0/8 250.0.0.0/8",
		"fanctl down -o 250 -u ":  "10.0.0.0/16",
		"fanctl down 24":          "240.0.0.0/8",
		"fanctl up -a --file lis": "lisp|list of fans",
		"fanctl up --file=./lis":  "--file=./lisp|--file=./list of fans",
		"fanctl up --port ":       "",
		"fanctl frob nicate ":     "",
		"fanctl down --every --f": "--force",
	}
}

// compare fails the test unless a shell offers what is wanted.
func compare(t *testing.T, shell, line, want string, got []string) {
	t.Helper()
	wanted := strings.Fields(want)
	if strings.Contains(want, "|") {
		wanted = strings.Split(want, "|")
	}
	slices.Sort(wanted)
	slices.Sort(got)
	if !slices.Equal(got, wanted) {
		t.Errorf("%s: %q is completed by %q, want %q", shell, line, got, wanted)
	}
}

// compareTerminal does it for every line, in a shell on a terminal.
func (d desk) compareTerminal(t *testing.T, name, shell, setup, keys string) {
	t.Helper()
	var typed []string
	for line := range lines() {
		typed = append(typed, line)
	}
	for i, words := range d.terminal(t, name, shell, setup, keys, typed) {
		line := typed[i]
		before := strings.Fields(line[:strings.LastIndex(line, " ")])
		if len(words) < len(before) || !slices.Equal(words[:len(before)], before) {
			t.Errorf("%s: %q became %q", name, line, words)
			continue
		}
		got := words[len(before):]
		// What stands before "=" is there once; the values that are inserted follow.
		last := line[strings.LastIndex(line, " ")+1:]
		if option, _, attached := strings.Cut(last, "="); attached {
			for j := range got {
				got[j] = option + "=" + strings.TrimPrefix(got[j], option+"=")
			}
		}
		compare(t, name, line, lines()[line], got)
	}
}

// How shells are started without their files, and which keys insert all that can
// stand at the cursor.
const (
	bash     = "bash --norc --noprofile -i"
	metaStar = "\x1b*" // readline's insert-completions
	zsh      = "zsh --no-rcs --no-global-rcs --interactive"
	controlG = "\x07" // for zsh by this:

	insertAll = "insert-all() { compstate[insert]=all; unset 'compstate[list]' }\n" +
		"all-matches() { comppostfuncs=(insert-all); _main_complete }\n" +
		"zle -C all-matches complete-word all-matches\nbindkey -e\nbindkey '^G' all-matches\n"
)

func TestBash(t *testing.T) {
	d := newDesk(t)
	t.Run("alone", func(t *testing.T) {
		d.compareTerminal(t, "bash", bash, ". <(fanctl completion bash)\n", metaStar)
	})
	t.Run("with bash-completion", func(t *testing.T) { // which loads the file when it is needed
		d.compareTerminal(t, "bash", bash, ". /usr/share/bash-completion/bash_completion\n", metaStar)
	})
	t.Run("behind sudo", func(t *testing.T) {
		got := d.terminal(t, "bash", bash, ". /usr/share/bash-completion/bash_completion\n", metaStar, []string{"sudo fanctl down -o 24"})
		compare(t, bash, "sudo fanctl down -o 24", "240.0.0.0/8", got[0][4:])
	})
}

func TestZsh(t *testing.T) {
	d := newDesk(t)
	t.Run("sourced", func(t *testing.T) {
		d.compareTerminal(t, "zsh", zsh, "autoload -U compinit; compinit -D\n. <(fanctl completion zsh)\n"+insertAll, controlG)
	})
	t.Run("found", func(t *testing.T) {
		d.compareTerminal(t, "zsh", zsh, "fpath=("+d.dir+" $fpath)\nautoload -U compinit; compinit -u -D\n"+insertAll, controlG)
	})
}

// fish tells what it would offer, with descriptions.
func TestFish(t *testing.T) {
	d := newDesk(t)
	for _, setup := range []string{"fanctl completion fish | source", "set -p fish_complete_path " + d.dir} {
		for line, want := range lines() {
			var got []string
			shown := d.run(t, "", "fish", "--no-config", "--private", "-c", setup+"; complete -C \""+line+"\"")
			for l := range strings.Lines(shown) {
				word, _, _ := strings.Cut(strings.TrimSuffix(l, "\n"), "\t")
				got = append(got, strings.ReplaceAll(word, `\ `, " "))
			}
			compare(t, "fish", line, want, got)
			if line == "fanctl up --t" && !strings.Contains(shown, "\tTYPE of the tunnel") {
				t.Errorf("fish shows no description:\n%s", shown)
			}
		}
	}
}

// A program that fails, as one of another version may, is not heard of.
func TestBrokenProgram(t *testing.T) {
	d := newDesk(t)
	for _, shell := range []string{"bash", "zsh", "fish"} {
		d.write(t, shell+".script", d.host.MustFanctl(t, "completion", shell))
	}
	program := filepath.Join(d.dir, "fanctl")
	if err := os.WriteFile(program, []byte("#!/bin/sh\necho broken >&2\nexit 1\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	for shell, a := range map[string]struct{ command, setup, keys string }{
		"bash": {bash, ". ./bash.script\n", metaStar},
		"zsh":  {zsh, "autoload -U compinit; compinit -D\n. ./zsh.script\n" + insertAll, controlG},
	} {
		got := d.terminal(t, shell, a.command, a.setup, a.keys, []string{"fanctl up --t"})
		compare(t, shell, "fanctl up --t", "fanctl up --t", got[0])
	}
	if shown := d.run(t, "", "fish", "--no-config", "--private", "-c", "source fish.script; complete -C 'fanctl up --t'"); shown != "" {
		t.Errorf("fish shows %q", shown)
	}
}
