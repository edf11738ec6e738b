package tunnel

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/fanctl/fanctl/fan"
	"github.com/fanctl/fanctl/internal/kernel"
	"github.com/fanctl/fanctl/tunnel/bpf"
)

// withTCX is a host whose kernel has tcx: the program at the underlay device is
// attached by it.
func withTCX(t *testing.T, w Want) kernel.State {
	t.Helper()
	s := built(t, w)
	s.TCX = true
	underlay, _ := s.Link("eth0")
	s.Clsact = slices.DeleteFunc(s.Clsact, func(link int) bool { return link == underlay.Index })
	config, _ := w.config(s)
	for i, f := range s.Filters {
		if f.Link == underlay.Index {
			s.Filters[i] = kernel.Filter{Link: f.Link, TCX: true, Program: f.Program,
				Name: programName("fan-250", bpf.IPIPReceive, bpf.Fingerprint(bpf.IPIPReceive, config))}
		}
	}
	return s
}

// byTCX is steps by clsact with the programs that are named attached by tcx. A qdisc
// goes with a device's last filter.
func byTCX(t *testing.T, steps string, attached ...string) string {
	t.Helper()
	for _, words := range attached {
		word := strings.Fields(words)
		device, way, program := word[0], word[1], word[2]
		filter := regexp.MustCompile(fmt.Sprintf(`(?m)^tc filter add dev %s %s pref \d+ handle 1 bpf direct-action # %s$`, device, way, program))
		if !filter.MatchString(steps) {
			t.Fatalf("no step attaches %s in\n%s", words, steps)
		}
		steps = filter.ReplaceAllString(steps, fmt.Sprintf("bpftool net attach tcx_%s dev %s # %s", way, device, program))
		if !strings.Contains(steps, "tc filter add dev "+device+" ") {
			steps = strings.Replace(steps, "tc qdisc add dev "+device+" clsact\n", "", 1)
		}
	}
	return steps
}

func TestPlanWithTCX(t *testing.T) {
	fresh := bare()
	fresh.TCX = true
	checkPlan(t, "vxlan", wanted(t, fan.VXLAN, fan.Device), fresh, vxlanSteps)
	checkPlan(t, "ipip by eBPF", wanted(t, fan.IPIP, fan.EBPF), fresh, byTCX(t, directSteps,
		"ftun-250 egress ipip_send", "fan-250 egress ipip_deliver", "eth0 ingress ipip_receive"))
	checkPlan(t, "ipip by device", wanted(t, fan.IPIP, fan.Device), fresh, byTCX(t, withDevice(directSteps),
		"ftun-250 egress ipip_send", "fan-250 egress ipip_deliver", "eth0 ingress ipip_receive"))
	for _, d := range []fan.Datapath{fan.EBPF, fan.Device} {
		w := wanted(t, fan.IPIP, d)
		checkPlan(t, d.String(), w, withTCX(t, w), "")
		if is, there := BuiltAs(w.Fan, withTCX(t, w)); !there || is != d {
			t.Errorf("the tunnel is built as %s, %t, want %s", is, there, d)
		}
	}
	direct := wanted(t, fan.IPIP, fan.EBPF)
	stale := withTCX(t, direct)
	stale.Filters[3].Name = programName("fan-250", bpf.IPIPReceive, "00000000")
	checkPlan(t, "another program", direct, stale, "bpftool net replace tcx_ingress dev eth0 # ipip_receive")
	missing := withTCX(t, direct)
	missing.Filters = slices.Delete(missing.Filters, 3, 4)
	checkPlan(t, "a program missing", direct, missing, "bpftool net attach tcx_ingress dev eth0 # ipip_receive")
}

// What is attached by clsact stays there: it works, and a swap loses no packet.
func TestPlanKeepsClsact(t *testing.T) {
	w := wanted(t, fan.IPIP, fan.EBPF)
	s := built(t, w)
	s.TCX = true
	checkPlan(t, "by clsact", w, s, "")
}

func TestPlanDownWithTCX(t *testing.T) {
	w := wanted(t, fan.IPIP, fan.EBPF)
	s := withTCX(t, w)
	s.Clsact = []int{2} // somebody's, made while the fan was up
	want := "bpftool net detach tcx_ingress dev eth0 # ipip_receive\nip link del ftun-250"
	if got := withoutSettings(PlanDown(nil, w.Fan, s, Before{Known: true})); got != want {
		t.Errorf("the plan is\n%s\nwant\n%s", got, want)
	}
}

func TestProgramNames(t *testing.T) {
	seen := map[string]bool{}
	for program := range codes() {
		name := programName("fan-250", program, "0123abcd")
		f := kernel.Filter{TCX: true, Name: name}
		got, ours := ownedBy("fan-250", f)
		if len(name) > 14 || seen[name] || got != program || !ours || !isNamed(f, "fan-250", program, "0123abcd") {
			t.Errorf("%s is called %s and taken for %s, %t", program, name, got, ours)
		}
		if isNamed(f, "fan-250", program, "ffffabcd") {
			t.Errorf("%s is taken for another version", name)
		}
		if _, ours := ownedBy("fan-251", f); ours {
			t.Errorf("%s is taken for another fan's", name)
		}
		seen[name] = true
	}
	for _, name := range []string{"", "cil_from_netdev", "vs_0123ab", "xx_0123ab_" + ownerHash("fan-250")} {
		if _, ours := ownedBy("fan-250", kernel.Filter{TCX: true, Name: name}); ours {
			t.Errorf("%s is taken for ours", name)
		}
	}
}
