//go:build containers

package containers

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/fanctl/fanctl/tests/bed"
	"github.com/fanctl/fanctl/tests/bed/engine"
)

// After configure and deconfigure, and after a configure or a deconfigure that was
// killed, all is as it was: what is in the host's network namespace, files byte by byte,
// what the engines have.
func TestEverythingIsAsBefore(t *testing.T) {
	t.Parallel()
	t.Run("Docker 20 and Incus", func(t *testing.T) {
		t.Parallel()
		h := oneHost(t)
		m := newMachine(t, h, engine.Docker20(t, h), engine.StartIncus(t, h))
		before := asBefore(t, m)
		tried := map[string]bool{}
		for _, mode := range modes() {
			words := append([]string{"--yes", "--docker-mode", mode}, networks()...)
			for _, step := range m.points(t, tried, "configure", words...) {
				m.killed(t, step, "configure", words...)
				m.deconfigure(t)
				before.compare(t, m, fmt.Sprintf("after a configure, mode %s, that was killed after step %d, and deconfigure", mode, step))
			}
		}
	})
	t.Run("Docker 28 and LXD", func(t *testing.T) {
		t.Parallel()
		h := oneHost(t)
		m := newMachine(t, h, engine.Docker28(t, h), engine.StartLXD(t, h))
		before := asBefore(t, m)
		tried := map[string]bool{}
		for _, mode := range modes() {
			m.configure(t, "--docker-mode", mode)
			for _, step := range m.points(t, tried, "deconfigure", "--yes") {
				m.configure(t, "--docker-mode", mode)
				m.killed(t, step, "deconfigure", "--yes")
				m.deconfigure(t)
				before.compare(t, m, fmt.Sprintf("after a deconfigure, mode %s, that was killed after step %d, and another", mode, step))
			}
		}
	})
}

// modes of Docker, the one without restarts first.
func modes() []string { return []string{"network", "default"} }

// asBefore gives a machine something of its own, configures and deconfigures it, and
// returns what it was like before.
func asBefore(t *testing.T, m *machine) state {
	t.Helper()
	if err := os.WriteFile(m.docker.ConfigFile, []byte("{\n\t\"log-level\": \"info\",\n\t\"debug\":false, \"mtu\": 1400\n}"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(m.list, []byte("# mine\n"), 0o640); err != nil {
		t.Fatal(err)
	}
	m.docker.Restart(t)
	m.docker.MustDocker(t, "network", "create", "own")
	m.lxd.MustCLI(t, "profile", "create", "own")
	before := state{sorted(m.Settled(t)), m.kept(t)}

	for _, mode := range modes() {
		m.configure(t, "--docker-mode", mode)
		m.configure(t, "--docker-mode", mode)
		m.deconfigure(t)
		before.compare(t, m, "after configure and deconfigure, mode "+mode)
	}
	return before
}

// points are the steps after which a command is to be killed: those of its own that
// were not tried before, and one in the middle of those that bring the fan up or down;
// with FANCTL_EVERY_STEP all of them.
func (m *machine) points(t *testing.T, tried map[string]bool, command string, words ...string) (points []int) {
	t.Helper()
	n := 0
	for _, step := range stepsIn(t, m.fanatic(t, command, append(words, "--dry-run", "--json")...)) {
		again := tried[step] && os.Getenv(everyStep) == ""
		tried[step] = true
		if strings.HasPrefix(step, "fanctl up ") || strings.HasPrefix(step, "fanctl down ") {
			dry := m.FanctlEnv(m.env, append(strings.Fields(step)[1:], "--dry-run", "--json")...)
			inner := len(stepsIn(t, dry.Stdout))
			for i := range inner {
				if !again && i == inner/2 || os.Getenv(everyStep) != "" {
					points = append(points, n+i+1)
				}
			}
			n += inner
		}
		if n++; !again {
			points = append(points, n)
		}
	}
	t.Logf("%s has %d steps, and is killed after these: %v", command, n, points)
	return points
}

// changed is what --json tells of the steps of a change: of one fan, or of each.
type changed struct {
	Steps []string
	Fans  []struct{ Steps []string }
}

func stepsIn(t *testing.T, text string) (list []string) {
	t.Helper()
	var c changed
	if err := json.Unmarshal([]byte(text), &c); err != nil {
		t.Fatalf("read the steps in %q: %v", text, err)
	}
	for _, f := range c.Fans {
		c.Steps = append(c.Steps, f.Steps...)
	}
	return c.Steps
}

// killed runs a command that kills itself after a step.
func (m *machine) killed(t *testing.T, step int, command string, words ...string) {
	t.Helper()
	env := append([]string{fmt.Sprintf("FANCTL_KILL_AFTER=%d", step)}, m.env...)
	if r := m.Fanatic(env, m.words(command, words...)...); r.Signal != syscall.SIGKILL {
		t.Fatalf("%s should have been killed after step %d: %s", command, step, r)
	}
}

// state is what a machine is like.
type state struct{ network, kept string }

// sorted leaves the order of lines out: Docker 28 makes the rules of its networks in a
// different one at each start.
func sorted(text string) string {
	lines := strings.Split(text, "\n")
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

// compare fails the test unless the machine is like that again.
func (s state) compare(t *testing.T, m *machine, when string) {
	t.Helper()
	s.compareNetwork(t, m.Host, when)
	if difference := bed.Diff(s.kept, m.kept(t)); difference != "" {
		t.Errorf("%s, files and engines:\n%s", when, difference)
	}
}

// compareFiles is for a machine with Docker alone, of which only files were kept.
func (s state) compareFiles(t *testing.T, m *machine, when string) {
	t.Helper()
	if difference := bed.Diff(s.kept, m.keptFiles(t)); difference != "" {
		t.Errorf("%s, files:\n%s", when, difference)
	}
}

// compareNetwork gives the kernel time for what follows from a change later.
func (s state) compareNetwork(t *testing.T, h *bed.Host, when string) {
	t.Helper()
	difference := ""
	for range 15 {
		if difference = bed.Diff(s.network, sorted(h.Snapshot(t))); difference == "" {
			break
		}
		time.Sleep(300 * time.Millisecond)
	}
	if difference != "" {
		t.Errorf("%s:\n%s", when, difference)
	}
}

// keptFiles are the files that fanatic changes, with what is beside them.
func (m *machine) keptFiles(t *testing.T) string {
	t.Helper()
	var lines []string
	for _, dir := range []string{filepath.Dir(m.list), filepath.Dir(m.docker.ConfigFile)} {
		files, err := readFiles(dir)
		if err != nil {
			t.Fatal(err)
		}
		lines = append(lines, files...)
	}
	return strings.Join(lines, "\n")
}

// kept is what there is beside the network namespace: files, Docker's networks, and
// all that LXD has.
func (m *machine) kept(t *testing.T) string {
	t.Helper()
	lines := []string{m.keptFiles(t)}
	for _, path := range []string{"/networks", "/containers/json?all=1", "/images/json"} {
		lines = append(lines, "docker "+path+" "+plain(t, m.docker.Get(t, path)))
	}
	for _, path := range []string{"profiles", "images", "instances", "networks", "storage-pools"} {
		lines = append(lines, "lxd "+path+" "+plain(t, m.lxd.Get(t, "/1.0/"+path+"?recursion=1")))
	}
	return strings.Join(lines, "\n")
}

// plain is JSON in one form: without the order of keys, and without what Docker gives
// its default network anew at each start.
func plain(t *testing.T, text string) string {
	t.Helper()
	var value any
	err := json.Unmarshal([]byte(text), &value)
	var out []byte
	if err == nil {
		if list, ok := value.([]any); ok {
			for _, element := range list {
				if network, ok := element.(map[string]any); ok && network["Name"] == "bridge" {
					delete(network, "Id")
					delete(network, "Created")
				}
			}
			slices.SortFunc(list, func(a, b any) int { return strings.Compare(fmt.Sprint(a), fmt.Sprint(b)) })
		}
		out, err = json.MarshalIndent(value, "", " ")
	}
	if err != nil {
		t.Fatalf("read %q: %v", text, err)
	}
	return string(out)
}

// readFiles returns the files of a folder and those below, but for what the daemons
// themselves have: each with its mode and content.
func readFiles(dir string) ([]string, error) {
	var lines []string
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		if d.IsDir() && name != "." {
			lines = append(lines, "folder "+name)
			return filepath.SkipDir
		}
		info, err := d.Info()
		if err != nil || !info.Mode().IsRegular() || name == "log" || name == "pid" {
			return err
		}
		content, err := os.ReadFile(path)
		lines = append(lines, fmt.Sprintf("file %s %s %q", name, info.Mode(), content))
		return err
	})
	return lines, err
}
