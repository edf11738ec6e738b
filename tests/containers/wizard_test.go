//go:build containers

package containers

import (
	"testing"

	"github.com/fanctl/fanctl/tests/bed"
	"github.com/fanctl/fanctl/tests/bed/engine"
	"github.com/fanctl/fanctl/tests/bed/terminal"
)

// The original's session on two hosts, up to the test of both together; then what a
// user does next. And what the test says when something breaks.
func TestWizardWithDocker(t *testing.T) {
	t.Parallel()
	b := bed.New(t, bed.Options{Routed: true})
	machines := make([]*machine, 2)
	for i, h := range b.Hosts {
		d := engine.Docker28(t, h)
		d.Busybox(t)
		machines[i] = newMachine(t, h, d, nil)
	}
	session(t, machines...)
	one, two := machines[0].docker.Run(t, "one"), machines[1].docker.Run(t, "two")
	reach(t, one, two)
	figure(t, one, two)
	namesCauses(t, b, machines)
}

// The same with LXD, whose containers ask the fan for their addresses.
func TestWizardWithLXD(t *testing.T) {
	t.Parallel()
	b := bed.New(t, bed.Options{})
	machines := make([]*machine, 2)
	for i, h := range b.Hosts {
		l := engine.StartLXD(t, h)
		l.Busybox(t)
		machines[i] = newMachine(t, h, nil, l)
	}
	session(t, machines...)
	one, two := machines[0].launch(t, "one"), machines[1].launch(t, "two")
	reach(t, one, two)
	figure(t, one, two)
}

// session answers the wizard on two machines of a bed, with one engine each, as the
// original's transcript does. Each is told the other's address for the last test.
func session(t *testing.T, machines ...*machine) {
	t.Helper()
	var sessions []*terminal.Terminal
	for _, m := range machines {
		create, test := "docker", "docker"
		if m.lxd != nil {
			create, test = m.lxd.Kind, "LXD"
		}
		c := m.sit(t, "")
		c.Answer(t, "Configure fan underlay ", "")
		c.Answer(t, "Configure fan overlay ", "")
		c.Answer(t, "Create "+create+" networking for underlay:10.0.0.0/16 overlay:250.0.0.0/8 [Yn]: ", "y")
		c.Answer(t, "Test "+test+" networking for underlay:10.0.0.0/16 overlay:250.0.0.0/8 [Yn]: ", "")
		c.Expect(t, "PASS (master=0 slave=0)")
		c.Expect(t, "This host IP address: "+m.Addr.String())
		c.Expect(t, "Remote test host IP address (none to skip): ")
		sessions = append(sessions, c)
	}
	for i, c := range sessions {
		c.Send(t, machines[1-i].Addr.String()+"\n")
	}
	for i, c := range sessions {
		c.Expect(t, "PASS (master=0 slave=0)")
		c.MustEnd(t)
		t.Logf("%s:\n%s", machines[i], c.Transcript())
	}
}
