//go:build containers

package containers

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/fanctl/fanctl/tests/bed"
	"github.com/fanctl/fanctl/tests/bed/engine"
	"github.com/fanctl/fanctl/tests/bed/terminal"
)

// What can't be done is refused with one line that says why, and all is as it was:
// files byte by byte, Docker and LXD, and both of them run.
func TestRefused(t *testing.T) {
	t.Parallel()
	h := oneHost(t)
	m := newMachine(t, h, engine.Docker20(t, h), engine.StartLXD(t, h))
	write(t, m.docker.ConfigFile, `{"debug":false,  "mtu": 1400}`)
	restarts(t, h, m.docker)
	before := state{sorted(m.Settled(t)), m.kept(t)}
	if said := m.fanatic(t, "deconfigure", "--yes"); said != "nothing is configured by fanatic on this host\n" {
		t.Errorf("deconfigure of what is not configured says %q", said)
	}

	t.Run("Docker does not start with it", func(t *testing.T) {
		// The daemon itself refuses what this makes of the new configuration.
		spoils := filepath.Join(t.TempDir(), "restart")
		write(t, spoils, fmt.Sprintf("#!/bin/sh\nsed -i 's/\"fixed-cidr\": *\"/&9/' %s\nexec %s\n", m.docker.ConfigFile, m.docker.RestartProgram))
		pid := m.docker.PID()
		m.refuses(t, 1, []string{"--docker-restart", spoils}, spoils, "invalid CIDR address: 9250.")
		if m.docker.PID() == pid {
			t.Error("Docker was not restarted")
		}
		before.compare(t, m, "after a configure with which Docker did not start")
	})
	t.Run("a profile of somebody else's", func(t *testing.T) {
		m.lxd.MustCLI(t, "profile", "create", bridge)
		m.refuses(t, 2, nil, "profile", bridge)
		m.lxd.MustCLI(t, "profile", "delete", bridge)
		before.compare(t, m, "after a configure with a profile in its way")
	})
	t.Run("a network of somebody else's", func(t *testing.T) {
		m.docker.MustDocker(t, "network", "create", bridge)
		m.refuses(t, 2, []string{"--docker-mode", "network"}, "network", bridge)
		m.docker.MustDocker(t, "network", "rm", bridge)
		before.compare(t, m, "after a configure with a network in its way")
	})
	t.Run("a daemon.json that is invalid", func(t *testing.T) {
		text, err := os.ReadFile(m.docker.ConfigFile)
		if err != nil {
			t.Fatal(err)
		}
		const invalid = `{"debug": false`
		write(t, m.docker.ConfigFile, invalid)
		m.refuses(t, 2, nil, m.docker.ConfigFile, "JSON")
		if now, err := os.ReadFile(m.docker.ConfigFile); err != nil || string(now) != invalid {
			t.Errorf("%s is %q (%v) now", invalid, now, err)
		}
		write(t, m.docker.ConfigFile, string(text))
		before.compare(t, m, "after a configure with an invalid daemon.json")
	})
	t.Run("not root", func(t *testing.T) { m.refusesNobody(t, before) })
	t.Run("a list before the command", func(t *testing.T) {
		r := m.Fanatic(m.env, append([]string{"--file", m.list, "enable-fan"}, networks()...)...)
		if r.Code != 2 {
			t.Errorf("the option is not refused: %s", r)
		}
		oneLine(t, "--file X enable-fan", r.Stderr, "fanatic enable-fan --file "+m.list)
		before.compare(t, m, "after an option before the command")
	})
}

// write writes a file that exists already, or is to be a program.
func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o755); err != nil {
		t.Fatal(err)
	}
}

// refuses fails the test unless configure ends with a code and one line that has words.
func (m *machine) refuses(t *testing.T, code int, more []string, words ...string) {
	t.Helper()
	r := m.Fanatic(m.env, m.words("configure", append(append([]string{"--yes"}, networks()...), more...)...)...)
	t.Logf("fanatic configure %q: %s", more, r.Stderr)
	if r.Code != code {
		t.Errorf("configure should end with code %d: %s", code, r)
	}
	oneLine(t, "configure", r.Stderr, words...)
}

func oneLine(t *testing.T, command, said string, words ...string) {
	t.Helper()
	if strings.Count(said, "\n") != 1 {
		t.Errorf("fanatic %s should say one line, not %q", command, said)
	}
	for _, word := range words {
		if !strings.Contains(said, word) {
			t.Errorf("fanatic %s says nothing of %q: %s", command, word, said)
		}
	}
}

// refusesNobody runs every command that changes something, and the wizard, as nobody.
func (m *machine) refusesNobody(t *testing.T, before state) {
	t.Helper()
	dir, err := os.MkdirTemp("", "fanctl-test-") // t.TempDir is closed to nobody
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	text, err := os.ReadFile(os.Getenv(bed.FanaticVariable))
	if err := errors.Join(err, os.Chmod(dir, 0o755)); err != nil {
		t.Fatal(err)
	}
	program := filepath.Join(dir, "fanatic")
	write(t, program, string(text))
	nobody := func(words ...string) []string {
		return append([]string{"setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", program}, append(words, "--file", filepath.Join(dir, "fan"))...)
	}
	const why = " root"
	for _, words := range [][]string{
		append([]string{"configure", "--yes"}, networks()...), {"deconfigure", "--yes"},
		append([]string{"enable-fan"}, networks()...), append([]string{"disable-fan"}, networks()...),
		append([]string{"enable-docker"}, networks()...), append([]string{"enable-lxd"}, networks()...),
	} {
		r := m.Exec(append(append([]string{"env"}, m.env...), nobody(words...)...)...)
		if r.Code != 1 {
			t.Errorf("%q as nobody should end with code 1: %s", words, r)
		}
		oneLine(t, words[0], r.Stderr, why)
	}
	c := terminal.Start(t, m.NS, m.env, nobody()...)
	c.Expect(t, why)
	if code := c.Wait(t); code != 1 {
		t.Errorf("the wizard as nobody ends with code %d:\n%s", code, c.Transcript())
	}
	before.compare(t, m, "after nobody's commands")
}
