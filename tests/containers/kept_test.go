//go:build containers

package containers

import (
	"strings"
	"testing"

	"github.com/fanctl/fanctl/tests/bed/engine"
)

// What somebody has chosen stays: the mode of Docker when configure runs once more, and
// a line of the list with the fan that it makes when fanatic goes.
func TestKept(t *testing.T) {
	t.Parallel()
	h := oneHost(t)
	m := newMachine(t, h, engine.Docker20(t, h), engine.StartLXD(t, h))
	m.docker.Restart(t) // Docker tells its default gateway from the second start on
	before := state{sorted(m.Settled(t)), m.kept(t)}
	for _, mode := range []string{"network", "default"} {
		m.configure(t, "--docker-mode", mode)
		pid := m.docker.PID()
		m.configure(t)
		if shown := m.fanatic(t, "show", "--json"); !strings.Contains(shown, `"mode": "`+mode+`"`) {
			t.Errorf("configure once more, without a mode, has changed mode %s:\n%s", mode, shown)
		}
		if m.docker.PID() != pid {
			t.Errorf("configure once more has restarted Docker in mode %s", mode)
		}
		m.deconfigure(t)
		before.compare(t, m, "after mode "+mode)
	}

	write(t, m.list, "# of the operator\n  10.0.0.0/16\t250.0.0.0/8  --mtu 1300   # mine\n")
	if r := m.FanctlEnv(m.env, "up", "-a", "--file", m.list); r.Code != 0 {
		t.Fatal(r)
	}
	before = state{sorted(m.Settled(t)), m.kept(t)}
	m.configure(t, "--no-docker")
	if shown := m.fanatic(t, "show", "--json"); !strings.Contains(shown, `"LXD"`) {
		t.Errorf("LXD is not on the fan that was there:\n%s", shown)
	}
	m.deconfigure(t)
	before.compare(t, m, "of a line and a fan that were there before fanatic")
}
