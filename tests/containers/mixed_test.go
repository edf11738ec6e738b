//go:build containers

package containers

import (
	"strings"
	"testing"

	"github.com/fanctl/fanctl/tests/bed"
	"github.com/fanctl/fanctl/tests/bed/engine"
)

// Hosts with different engines are on one fan: Docker 20 and 28, LXD, Incus, and
// Docker in a container of LXD. Two of the hosts are set up by the wizard.
func TestEnginesTogether(t *testing.T) {
	t.Parallel()
	b := bed.New(t, bed.Options{Hosts: []string{"10.0.0.20", "10.0.0.28", "10.0.3.4", "10.0.3.5"}})
	older, newer := engine.Docker20(t, b.Hosts[0]), engine.Docker28(t, b.Hosts[1])
	lxd, incus := engine.StartLXD(t, b.Hosts[2]), engine.StartIncus(t, b.Hosts[3])
	one, two := newMachine(t, b.Hosts[0], older, nil), newMachine(t, b.Hosts[1], newer, nil)
	three, four := newMachine(t, b.Hosts[2], nil, lxd), newMachine(t, b.Hosts[3], nil, incus)
	for _, d := range []*engine.Dockerd{older, newer} {
		d.Busybox(t)
	}
	for _, l := range []*engine.LXD{lxd, incus} {
		l.Busybox(t)
	}
	session(t, one, three)
	two.configure(t, "--docker-mode", "network")
	four.configure(t)
	test := two.sit(t, "test", "--serve")
	test.Expect(t, "waiting for other hosts")
	if said := four.fanatic(t, "test", two.Addr.String()); !strings.Contains(said, "test complete PASS (master=0 slave=0)") {
		t.Errorf("the test of Incus against Docker: %s", said)
	}
	test.Interrupt(t)
	test.Wait(t)

	in20, in28 := older.Run(t, "in-docker20"), newer.Run(t, "in-docker28", "--network", bridge)
	inLXD, inIncus := three.launch(t, "in-lxd"), four.launch(t, "in-incus")
	nested := lxd.NestDocker(t, "nest", "--profile", "default", "--profile", bridge)
	reach(t, in20, in28, inLXD, inIncus, nested.Container)
	figure(t, in20, inLXD)
	figure(t, in28, inIncus)

	nested.MustDocker(t, "run", "--detach", "--init", "--name", "web", "--publish", "8080:80", engine.BusyboxImage,
		"sh", "-c", "mkdir /w; echo nested >/w/index.html; exec httpd -f -h /w")
	for _, c := range []*engine.Container{in20, in28, inIncus} {
		if got, err := fetch(c.NS, eth0(t, nested.Container), 8080); err != nil || got != "nested\n" {
			t.Errorf("%s gets %q (%v) from Docker in a container of LXD", c.Name, got, err)
		}
	}
	far := eth0(t, in28).String()
	if out := nested.MustDocker(t, "exec", "web", "ping", "-c", "2", "-W", "2", far); bed.Answered(out) != 2 {
		t.Errorf("from Docker in a container of LXD to %s:\n%s", far, out)
	}
}
