//go:build containers

package containers

import (
	"os"
	"strings"
	"testing"

	"github.com/fanctl/fanctl/tests/bed"
	"github.com/fanctl/fanctl/tests/bed/engine"
	"github.com/fanctl/fanctl/tests/bed/terminal"
)

// plainMachine is a host whose Docker, and whose list of fans, are where they are by
// default, beside LXD.
type plainMachine struct {
	*bed.Host
	docker *engine.Dockerd
	lxd    *engine.LXD
}

// words are a command of fanatic, with more environment variables, to run on the host.
func (m plainMachine) words(env []string, command ...string) []string {
	env = append([]string{"env", "LXD_DIR=" + m.lxd.Dir, "INCUS_DIR=/nowhere"}, env...)
	return m.docker.Enter(append(append(env, os.Getenv(bed.FanaticVariable)), command...)...)
}

func (m plainMachine) fanatic(t *testing.T, command string, more ...string) bed.Result {
	t.Helper()
	r := m.Exec(m.words(nil, append([]string{command}, more...)...)...)
	if r.Code != 0 {
		t.Errorf("fanatic %s %q: %s", command, more, r)
	}
	return r
}

func (m plainMachine) file(path string) string { return m.docker.Inside("cat", path).Stdout }

// withoutDocker tries what goes on while Docker is stopped, on a machine with a fan.
func (m plainMachine) withoutDocker(t *testing.T) {
	t.Helper()
	config := m.file(m.docker.ConfigFile)
	m.docker.Stop(t)
	defer m.docker.Start(t)
	if r := m.fanatic(t, "show"); !strings.Contains(r.Stdout, "up       -        enabled") || !strings.Contains(r.Stderr, "Docker") {
		t.Errorf("show, with Docker stopped: %s", r)
	}
	c := terminal.Start(t, m.NS, nil, m.words(nil)...)
	c.Answer(t, "Reconfigure fan underlay ", "")
	c.Answer(t, "Reconfigure fan overlay ", "")
	c.Answer(t, "Create LXD networking for underlay:10.0.0.0/16 overlay:250.0.0.0/8 [Yn]: ", "")
	c.Expect(t, "Docker is left as it is")
	c.Answer(t, "Test LXD networking for underlay:10.0.0.0/16 overlay:250.0.0.0/8 [Yn]: ", "n")
	c.Answer(t, "Remote test host IP address (none to skip): ", "")
	c.MustEnd(t)
	if now := m.file(m.docker.ConfigFile); now != config {
		t.Errorf("the wizard has left Docker as it was, with %q instead of %q", now, config)
	}
	r := m.Exec(m.words(nil, append([]string{"configure", "--yes"}, networks()...)...)...)
	if r.Code != 1 {
		t.Errorf("configure, with Docker stopped, should name what to do: %s", r)
	}
	oneLine(t, "configure", r.Stderr, "--no-docker")
	m.fanatic(t, "configure", append([]string{"--yes", "--no-docker"}, networks()...)...)
	if r := m.fanatic(t, "deconfigure", "--yes"); !strings.Contains(r.Stderr, "Docker") {
		t.Errorf("deconfigure does not say that Docker is stopped: %s", r)
	}
}

// withoutLXD tries the same while LXD does not run. Its profile stays until it does.
func (m plainMachine) withoutLXD(t *testing.T) {
	t.Helper()
	m.lxd.Kill(t)
	if r := m.fanatic(t, "show"); !strings.Contains(r.Stdout, "up       enabled  -") || !strings.Contains(r.Stderr, "LXD") {
		t.Errorf("show, without LXD: %s", r)
	}
	c := terminal.Start(t, m.NS, nil, m.words(nil, "configure", "--docker-restart", m.docker.RestartProgram)...)
	c.Answer(t, "Reconfigure fan underlay ", "")
	c.Answer(t, "Reconfigure fan overlay ", "")
	c.Expect(t, "LXD")
	c.Expect(t, "it is left as it is")
	c.Answer(t, "Create docker networking for underlay:10.0.0.0/16 overlay:250.0.0.0/8 [Yn]: ", "")
	c.MustEnd(t)
	r := m.Exec(m.words(nil, append([]string{"configure", "--yes"}, networks()...)...)...)
	if r.Code != 1 {
		t.Errorf("configure, without LXD, should name what to do: %s", r)
	}
	oneLine(t, "configure", r.Stderr, "--no-lxd")
	restart := []string{"--docker-restart", m.docker.RestartProgram}
	if r := m.fanatic(t, "deconfigure", append(restart, "--yes")...); !strings.Contains(r.Stderr, "LXD") || !strings.Contains(r.Stderr, bridge) {
		t.Errorf("deconfigure does not say that LXD may keep its profile: %s", r)
	}
	m.lxd.Start(t)
	m.lxd.MustCLI(t, "profile", "show", bridge)
	m.fanatic(t, "deconfigure", append(restart, "--yes")...)
	if r := m.lxd.CLI("profile", "show", bridge); r.Code == 0 {
		t.Errorf("LXD has its profile after deconfigure when it ran again: %s", r)
	}
}
