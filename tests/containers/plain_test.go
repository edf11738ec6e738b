//go:build containers

package containers

import (
	"fmt"
	"strings"
	"testing"

	"github.com/fanctl/fanctl/tests/bed"
	"github.com/fanctl/fanctl/tests/bed/engine"
)

// A machine on which Docker and LXD were installed and nothing else was done: no
// daemon.json, no list of fans. After deconfigure, also after a configure that was
// killed at any of Docker's steps, and when an engine did not run, there is neither
// again.
func TestPlainMachine(t *testing.T) {
	t.Parallel()
	h := oneHost(t)
	m := plainMachine{h, engine.PlainDocker(t, h), engine.StartLXD(t, h)}
	m.docker.Busybox(t)
	restart := []string{"--docker-restart", m.docker.RestartProgram}
	configure := append(append([]string{"configure", "--yes"}, restart...), networks()...)
	files := func() string {
		return m.docker.Inside("find", "/etc/docker", "/etc/network", "-printf", "%M %U:%G %p %l\\n", "-type", "f", "-exec", "sha256sum", "{}", ";").Stdout
	}
	before := state{sorted(h.Settled(t)), ""}
	filesBefore := files()
	sameFiles := func(when string) {
		t.Helper()
		if difference := bed.Diff(filesBefore, files()); difference != "" {
			t.Fatalf("files %s:\n%s", when, difference)
		}
		if r := m.docker.Inside("docker", "network", "inspect", "--format", "{{json .IPAM}}", "bridge"); !strings.Contains(r.Stdout, "172.17.") {
			t.Errorf("Docker's default network %s is not as it was: %s", when, r)
		}
	}
	same := func(when string) {
		t.Helper()
		sameFiles(when)
		before.compareNetwork(t, h, when)
	}
	for step, ended := 1, false; !ended && !t.Failed(); step++ {
		// With the fan up, Docker's steps are left.
		m.fanatic(t, "enable-fan", networks()...)
		m.fanatic(t, "enable-lxd", networks()...)
		r := h.Exec(m.words([]string{fmt.Sprintf("FANCTL_KILL_AFTER=%d", step)}, configure...)...)
		switch ended = r.Code == 0; {
		case ended:
			eth0(t, m.docker.Run(t, "plain"))
			t.Logf("configure has %d steps once the fan is up; daemon.json is %s", step-1, m.file(m.docker.ConfigFile))
			m.docker.MustDocker(t, "rm", "--force", "plain")
		case r.Signal == 0:
			t.Fatalf("configure, to be killed after step %d: %s", step, r)
		}
		m.fanatic(t, "deconfigure", append(restart, "--yes")...)
		same(fmt.Sprintf("after a configure that was killed after step %d, and deconfigure", step))
	}
	m.fanatic(t, configure[0], configure[1:]...)
	m.withoutLXD(t)
	same("after what was done without LXD")
	m.fanatic(t, configure[0], configure[1:]...)
	m.withoutDocker(t)
	sameFiles("after what was done without Docker") // which leaves its rules for a bridge that goes while it is stopped
}
