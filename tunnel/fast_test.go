package tunnel

import (
	"slices"
	"strings"
	"testing"

	"github.com/fanctl/fanctl/fan"
	"github.com/fanctl/fanctl/internal/kernel"
	"github.com/fanctl/fanctl/tunnel/bpf"
)

// portState is a fan bridge with containers' ports, of which the last is as a case
// has it.
func portState(change func(port *kernel.Link, s *kernel.State)) kernel.State {
	s := kernel.State{Links: []kernel.Link{
		{Index: 2, Name: "fan-250", Kind: "bridge"},
		{Index: 3, Name: "c1", Kind: "veth", Master: 2, PeerElsewhere: true},
	}}
	port := kernel.Link{Index: 4, Name: "c2", Kind: "veth", Master: 2, PeerElsewhere: true}
	change(&port, &s)
	s.Links = append(s.Links, port)
	return s
}

func ownFilter(link int, program string) kernel.Filter {
	return kernel.Filter{Link: link, Name: filterName("fan-250", program, "01234567"), Priority: priorityOnForeign}
}

// A port has the program of the fast path only where nobody's work is gone past.
func TestFastPorts(t *testing.T) {
	for name, c := range map[string]struct {
		fast   bool
		change func(port *kernel.Link, s *kernel.State)
	}{
		"a container's":       {true, func(*kernel.Link, *kernel.State) {}},
		"with our program":    {true, func(_ *kernel.Link, s *kernel.State) { s.Filters = append(s.Filters, ownFilter(4, bpf.IPIPPort)) }},
		"a place for filters": {true, func(_ *kernel.Link, s *kernel.State) { s.Clsact = append(s.Clsact, 4) }},
		"a filter elsewhere":  {true, func(_ *kernel.Link, s *kernel.State) { s.Filters = append(s.Filters, kernel.Filter{Link: 9}) }},
		"no port":             {false, func(port *kernel.Link, _ *kernel.State) { port.Master = 0 }},
		"of another bridge":   {false, func(port *kernel.Link, _ *kernel.State) { port.Master = 7 }},
		"of a machine":        {false, func(port *kernel.Link, _ *kernel.State) { port.Kind = "tun" }},
		"both ends here":      {false, func(port *kernel.Link, _ *kernel.State) { port.PeerElsewhere = false }},
		"with XDP":            {false, func(port *kernel.Link, _ *kernel.State) { port.XDP = true }},
		"shaped":              {false, func(_ *kernel.Link, s *kernel.State) { s.Shaped = append(s.Shaped, 4) }},
		"somebody's filter":   {false, func(_ *kernel.Link, s *kernel.State) { s.Filters = append(s.Filters, kernel.Filter{Link: 4}) }},
		"somebody's way out": {false, func(_ *kernel.Link, s *kernel.State) {
			s.Filters = append(s.Filters, kernel.Filter{Link: 4, Egress: true, Name: "limit"})
		}},
		"somebody's by tcx": {false, func(_ *kernel.Link, s *kernel.State) {
			s.Filters = append(s.Filters, kernel.Filter{Link: 4, TCX: true, Name: "cil_from"})
		}},
		"another fan's": {false, func(_ *kernel.Link, s *kernel.State) {
			s.Filters = append(s.Filters, kernel.Filter{Link: 4, Name: filterName("fan-240", bpf.IPIPPort, "01234567")})
		}},
	} {
		t.Run(name, func(t *testing.T) {
			want := []string{"c1"}
			if c.fast {
				want = append(want, "c2")
			}
			if got := FastPorts(fan.Fan{Bridge: "fan-250"}, portState(c.change)); !slices.Equal(got, want) {
				t.Errorf("fast ports are %q, want %q", got, want)
			}
		})
	}
	if got := FastPorts(fan.Fan{Bridge: "fan-240"}, portState(func(*kernel.Link, *kernel.State) {})); got != nil {
		t.Errorf("a fan without a bridge has the fast ports %q", got)
	}
}

// A port that is not to be fast any more loses the program, and the place for filters if
// nobody else has one there.
func TestPortsLoseTheirPlace(t *testing.T) {
	w := wanted(t, fan.VXLAN, fan.Device)
	for name, c := range map[string]struct {
		more  []kernel.Filter
		place bool
	}{
		"alone":                  {nil, true},
		"beside somebody's":      {[]kernel.Filter{{Link: 4, Egress: true, Name: "theirs"}}, false},
		"beside somebody by tcx": {[]kernel.Filter{{Link: 4, TCX: true, Name: "theirs"}}, true},
	} {
		t.Run(name, func(t *testing.T) {
			s := portState(func(_ *kernel.Link, s *kernel.State) {
				s.Clsact = []int{4}
				s.Filters = append(c.more, ownFilter(4, bpf.VXLANPort))
			})
			var steps []string
			for _, step := range planObsolete(nil, w, s) {
				steps = append(steps, step.Text)
			}
			text := strings.Join(steps, "\n")
			if !strings.Contains(text, "tc filter del dev c2 ingress pref 250") {
				t.Errorf("the program stays:\n%s", text)
			}
			if got := strings.Contains(text, "tc qdisc del dev c2 clsact"); got != c.place {
				t.Errorf("the place for filters goes: %t, want %t:\n%s", got, c.place, text)
			}
		})
	}
}
