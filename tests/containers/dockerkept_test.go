//go:build containers

package containers

import (
	"context"
	"errors"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/fanctl/fanctl/fan"
	"github.com/fanctl/fanctl/internal/docker"
	"github.com/fanctl/fanctl/internal/plan"
	"github.com/fanctl/fanctl/tests/bed/engine"
)

func later() planned {
	return func(ctx context.Context, d *docker.Daemon) (docker.Change, error) {
		return d.PlanLater(ctx, bridge)
	}
}

// A fan bridge that the user has made Docker's default bridge by hand is not taken
// away, and comes back when it was ours for a while.
func TestDockerForeignDefault(t *testing.T) {
	t.Parallel()
	h := newDockerHost(t, engine.Docker20, fan.IPIP, "")
	h.configure(t, `{"bridge": "fan-250"}`)
	h.engine.Restart(t)
	before, pid := h.state(t), h.engine.PID()
	for name, p := range map[string]planned{"away": away(true), "later": later()} {
		if c := h.must(t, p); len(c.Plan) > 0 || !strings.Contains(strings.Join(c.Notes, "\n"), bridge) {
			t.Errorf("%s: the notes are %q, and it does:\n%s", name, c.Notes, steps(c.Plan))
		}
	}
	if _, err := h.apply(h.to(docker.Network), nil); !errors.Is(err, fan.ErrUsage) || !strings.Contains(err.Error(), bridge) {
		t.Errorf("a network on the bridge that Docker has: %v", err)
	}
	h.asBefore(t, before, "not taken away")
	if h.engine.PID() != pid {
		t.Error("Docker was restarted")
	}
	h.must(t, h.to(docker.Default))
	h.must(t, away(false))
	h.asBefore(t, before, "ours and taken away")
}

// running returns the names of the running containers, sorted.
func (h *dockerHost) running(t *testing.T) []string {
	t.Helper()
	names := strings.Fields(h.engine.MustDocker(t, "ps", "--format", "{{.Names}}"))
	slices.Sort(names)
	return names
}

// Containers that a restart has stopped run again after it, whether they come back by
// themselves, and also when a later step fails.
func TestDockerStartsAgain(t *testing.T) {
	t.Parallel()
	h := newDockerHost(t, engine.Docker20, fan.IPIP, `{"debug": false}`)
	h.engine.MustDocker(t, "network", "create", "own")
	h.engine.Run(t, "plain")
	h.engine.Run(t, "linked", "--link", "plain") // which starts after it only
	h.engine.Run(t, "own", "--network", "own")
	h.engine.Run(t, "kept", "--restart", "always")
	h.engine.Run(t, "gone", "--rm")
	check := func(when string, onFan bool) {
		t.Helper()
		if names := h.running(t); !slices.Equal(names, []string{"kept", "linked", "own", "plain"}) {
			t.Errorf("%s, %q run", when, names)
		}
		for _, name := range []string{"plain", "linked", "kept"} {
			if addr := h.engine.Container(t, name).Address(t, "eth0").Addr(); h.fan.Slice().Contains(addr) != onFan {
				t.Errorf("%s, container %s has %s", when, name, addr)
			}
		}
	}
	c := h.must(t, h.to(docker.Default))
	if want := []string{"gone", "kept", "linked", "own", "plain"}; !slices.Equal(c.Stops, want) || !strings.Contains(strings.Join(c.Notes, "\n"), "gone") {
		t.Errorf("it stops %q, with the notes %q", c.Stops, c.Notes)
	}
	check("on the fan", true)
	c, err := h.apply(away(true), func(_ int, s plan.Step) error {
		if strings.HasPrefix(s.Text, "docker start") {
			return errStep
		}
		return nil
	})
	if !errors.Is(err, errStep) {
		t.Errorf("a step that fails after the restart: %v, steps:\n%s", err, steps(c.Plan))
	}
	check("on the fan again", true)
	h.must(t, away(true))
	check("taken away", false)
}

// What is taken away without a restart leaves Docker and its containers as they are
// until the next one.
func TestDockerLater(t *testing.T) {
	t.Parallel()
	h := newDockerHost(t, engine.Docker20, fan.IPIP, `{"debug": false}`)
	before := h.state(t)
	h.must(t, h.to(docker.Default))
	one, pid := h.engine.Run(t, "one"), h.engine.PID()
	if c := h.must(t, later()); c.Restart || len(c.Stops) > 0 || !strings.Contains(strings.Join(c.Notes, "\n"), bridge) {
		t.Errorf("taken away without a restart: %+v", c)
	}
	if now := h.engine.Container(t, "one"); h.engine.PID() != pid || now.PID != one.PID || !h.fan.Slice().Contains(eth0(t, now)) {
		t.Error("Docker or its container did not stay as they were")
	}
	if s := h.status(t); s.Mode != docker.Default {
		t.Errorf("before Docker restarts, the mode is %s", s.Mode)
	}
	h.engine.MustDocker(t, "rm", "--force", "one")
	h.engine.Restart(t)
	if err := h.Do(func() error { return os.WriteFile("/proc/sys/net/ipv6/conf/"+bridge+"/accept_ra", []byte("1"), 0) }); err != nil {
		t.Fatal(err) // Docker leaves it off, and the bridge was to go
	}
	h.asBefore(t, before, "restarted")

	h.must(t, h.to(docker.Network))
	h.engine.Run(t, "two", "--network", bridge)
	h.engine.MustDocker(t, "stop", "two")
	if c := h.must(t, later()); len(c.Plan) > 0 || !strings.Contains(strings.Join(c.Notes, "\n"), "two") {
		t.Errorf("a network that a container has: %q, %q", steps(c.Plan), c.Notes)
	}
	h.engine.MustDocker(t, "rm", "two")
	h.must(t, later())
	h.asBefore(t, before, "the network taken away")
}
