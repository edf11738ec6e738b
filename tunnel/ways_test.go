package tunnel

import (
	"strings"
	"testing"

	"github.com/fanctl/fanctl/fan"
	"github.com/fanctl/fanctl/internal/kernel"
	"github.com/fanctl/fanctl/tunnel/bpf"
)

// The program that receives is on every way, and stays on one that was a way.
func TestReceivers(t *testing.T) {
	w := wanted(t, fan.IPIP, fan.EBPF)
	s := built(t, w)
	s.Links = append(s.Links, kernel.Link{Name: "eth1", Kind: "device", Index: 20, MTU: 1500, Up: true, Ethernet: true},
		kernel.Link{Name: "ppp0", Kind: "device", Index: 21, MTU: 1492, Up: true})
	checkPlan(t, "as it was", w, s, "")

	w.Ways = []string{"eth0", "eth1", "ppp0"}
	p, err := Plan(nil, w, s)
	if err != nil {
		t.Fatal(err)
	}
	text := withoutSettings(p)
	for _, device := range []string{"eth1", "ppp0"} {
		if got := strings.Count(text, "tc qdisc add dev "+device+" clsact") + strings.Count(text, "tc filter add dev "+device+" ingress"); got != 2 {
			t.Errorf("%s gets %d of 2 steps:\n%s", device, got, text)
		}
	}
	if strings.Contains(text, "eth0") {
		t.Errorf("what is there is changed:\n%s", text)
	}

	config, _ := w.config(s)
	for i, device := range []string{"eth1", "ppp0"} {
		l, _ := s.Link(device)
		own := config
		own.LinkHeader = linkHeader(l)
		s.Clsact = append(s.Clsact, l.Index)
		s.Filters = append(s.Filters, kernel.Filter{Link: l.Index, Priority: 250, Handle: 1, Program: 300 + i,
			Name: filterName("fan-250", bpf.IPIPReceive, bpf.Fingerprint(bpf.IPIPReceive, own))})
	}
	checkPlan(t, "with three ways", w, s, "")
	w.Ways = []string{"eth0"}
	checkPlan(t, "two were withdrawn", w, s, "")
	away := withoutSettings(PlanDown(nil, w.Fan, s, Before{Known: true, Clsact: []string{"eth1"}, Ways: w.Ways}))
	for step, want := range map[string]bool{"tc filter del dev eth0": true, "tc filter del dev eth1": true, "tc filter del dev ppp0": true,
		"tc qdisc del dev ppp0 clsact": true, "tc qdisc del dev eth1 clsact": false} {
		if strings.Contains(away, step) != want {
			t.Errorf("down has %q: %t, want %t\n%s", step, !want, want, away)
		}
	}
}
