//go:build containers

package containers

import (
	"testing"

	"github.com/fanctl/fanctl/tests/bed/engine"
	"github.com/fanctl/fanctl/tests/bed/terminal"
)

// The wizard's questions up to the last, with the fan that is proposed.
func questions() []string {
	return []string{
		"Configure fan underlay ", "Configure fan overlay ",
		"Create docker networking for underlay:10.0.0.0/16 overlay:250.0.0.0/8 [Yn]: ",
	}
}

// Wrong answers are asked again with the reason; Ctrl-C at any question, or while Docker
// restarts, leaves the machine as it was; a later run shows what is configured and
// offers it.
func TestWizardAnswers(t *testing.T) {
	t.Parallel()
	h := oneHost(t)
	m := newMachine(t, h, engine.Docker20(t, h), nil)
	before := state{sorted(h.Settled(t)), m.keptFiles(t)}
	for count := range len(questions()) {
		c := m.sit(t, "")
		for _, question := range questions()[:count] {
			c.Answer(t, question, "")
		}
		c.Expect(t, questions()[count])
		before.interrupted(t, m, c, "at "+questions()[count])
	}
	c := m.sit(t, "")
	for _, question := range questions() {
		c.Answer(t, question, "")
	}
	c.Expect(t, "+ "+m.docker.RestartProgram)
	before.interrupted(t, m, c, "while Docker restarts")

	c = m.sit(t, "")
	c.Answer(t, "Configure fan underlay ", "10.9.0.0/16")
	c.Expect(t, "10.9.0.0/16")
	c.Answer(t, "Configure fan underlay ", "nonsense")
	c.Expect(t, "nonsense")
	c.Answer(t, "Configure fan underlay ", underlay)
	c.Answer(t, "Configure fan overlay ", "10.0.0.0/8")
	c.Expect(t, "10.0.0.0/8")
	c.Answer(t, "Configure fan overlay ", "")
	c.Answer(t, questions()[2], "maybe")
	c.Expect(t, `"maybe"`)
	c.Answer(t, questions()[2], "Y")
	c.Answer(t, "Test docker networking for underlay:10.0.0.0/16 overlay:250.0.0.0/8 [Yn]: ", "n")
	c.Answer(t, "Remote test host IP address (none to skip): ", h.Addr.String())
	c.Expect(t, h.Addr.String())
	c.Answer(t, "Remote test host IP address (none to skip): ", "none")
	c.Expect(t, "Testing skipped")
	c.MustEnd(t)

	c = m.sit(t, "")
	c.Expect(t, "enabled")
	c.Answer(t, "Reconfigure fan underlay ", "")
	c.Answer(t, "Reconfigure fan overlay ", "")
	c.Answer(t, questions()[2], "n")
	c.Expect(t, "there is nothing to test")
	c.MustEnd(t)
	m.deconfigure(t)
	before.compareNetwork(t, h, "after deconfigure")
	before.compareFiles(t, m, "after deconfigure")
}

// interrupted presses Ctrl-C, and fails the test unless the program ends badly and the
// machine is as it was.
func (s state) interrupted(t *testing.T, m *machine, c *terminal.Terminal, when string) {
	t.Helper()
	c.Interrupt(t)
	if code := c.Wait(t); code == 0 {
		t.Errorf("interrupted %s, the program has ended well:\n%s", when, c.Transcript())
	}
	s.compareNetwork(t, m.Host, "interrupted "+when)
	s.compareFiles(t, m, "interrupted "+when)
	m.docker.MustDocker(t, "ps") // it runs
}
