package terminal

import (
	"testing"

	"github.com/fanctl/fanctl/tests/bed"
)

func TestTerminal(t *testing.T) {
	ns := bed.New(t, bed.Options{Hosts: []string{"10.0.0.11"}}).Hosts[0].NS
	c := Start(t, ns, []string{"WHO=you"}, "sh", "-c", `test -t 0 && printf 'Name [%s]: ' "$WHO"; read -r name; echo "Hello $name"; exit 3`)
	if before := c.Answer(t, "[you]: ", "Fan"); before != "Name " {
		t.Errorf("before the question came %q", before)
	}
	c.Expect(t, "Hello Fan\n")
	if code := c.Wait(t); code != 3 {
		t.Errorf("the exit code is %d, want 3", code)
	}
	if want := "Name [you]: Fan\nHello Fan\n"; c.Transcript() != want {
		t.Errorf("on the terminal is %q, want %q", c.Transcript(), want)
	}
}

func TestInterrupt(t *testing.T) {
	ns := bed.New(t, bed.Options{Hosts: []string{"10.0.0.11"}}).Hosts[0].NS
	c := Start(t, ns, nil, "sh", "-c", `trap 'echo interrupted; exit 130' INT; echo ready; while :; do read -r x; done`)
	c.Expect(t, "ready")
	c.Interrupt(t)
	c.Expect(t, "interrupted")
	if code := c.Wait(t); code != 130 {
		t.Errorf("the exit code is %d, want 130", code)
	}
	left := Start(t, ns, nil, "cat")
	left.Send(t, "x")
	left.Expect(t, "x")
}
