//go:build containers

package containers

import (
	"strings"
	"testing"

	"github.com/fanctl/fanctl/tests/bed/engine"
)

// A test that could have no container is refused before anything is changed, and the
// wizard, which has brought a fan up beside a Docker that does not run, ends well and
// says that nothing was tested.
func TestNothingToTestWith(t *testing.T) {
	t.Parallel()
	h := oneHost(t)
	m := newMachine(t, h, engine.Docker28(t, h), nil)
	before := state{sorted(h.Settled(t)), m.keptFiles(t)}
	configure := m.words("configure", append([]string{"--yes", "--test", "--no-docker"}, networks()...)...)
	for _, more := range []string{"", "--no-lxd"} { // LXD is not here
		r := m.Fanatic(m.env, append(configure, strings.Fields(more)...)...)
		if r.Code != 2 || r.Stdout != "" {
			t.Errorf("configure --test --no-docker %s: %s", more, r)
		}
		oneLine(t, "configure", r.Stderr, "--test", "--no-docker", more)
	}
	before.compareNetwork(t, h, "after what was refused")
	before.compareFiles(t, m, "after what was refused")

	m.docker.Stop(t)
	defer m.docker.Start(t)
	c := m.sit(t, "")
	c.Answer(t, "Configure fan underlay ", "")
	c.Answer(t, "Configure fan overlay ", "")
	c.Expect(t, "Docker is left as it is")
	c.Expect(t, "This host has ")
	c.Expect(t, "Nothing was tested, for no container engine answers: the Docker daemon ")
	c.MustEnd(t)
	r := m.Fanatic(m.env, m.words("deconfigure", "--yes", "--dry-run")...)
	if r.Code != 0 {
		t.Errorf("deconfigure, without Docker: %s", r)
	}
	oneLine(t, "deconfigure", r.Stderr, "Docker daemon", bridge)
	if r := m.Fanatic(m.env, m.words("test", "--serve")...); r.Code != 1 || !strings.Contains(r.Stderr, "Docker daemon") {
		t.Errorf("fanatic test, which has nothing but the test to do, without Docker: %s", r)
	}
}
