package tunnel

import (
	"strings"
	"testing"

	"github.com/fanctl/fanctl/fan"
	"github.com/fanctl/fanctl/internal/kernel"
	"github.com/fanctl/fanctl/tunnel/bpf"
)

func TestPlanRoom(t *testing.T) {
	w := wanted(t, fan.IPIP, fan.EBPF)
	w.Room = true
	room := kernel.Link{Name: "ftrm-250", Kind: "vxlan", Index: 9, MAC: roomMAC(w.Fan), Master: 3}
	loose := room
	loose.Master = 0
	const add = "ip link add ftrm-250 address 16:fa:0a:00:00:2d type vxlan id 16384000 dstport 9 nolearning"
	for name, test := range map[string]struct {
		links      []kernel.Link
		want, away string
	}{
		"none":            {nil, add + "\nip link set ftrm-250 master fan-250", ""},
		"as it should be": {[]kernel.Link{room}, "", "ip link del ftrm-250"},
		"no port":         {[]kernel.Link{loose}, "ip link set ftrm-250 master fan-250", "ip link del ftrm-250"},
	} {
		s := bare()
		s.Links = append(s.Links, test.links...)
		if got := withoutSettings(planRoom(nil, w, s)); got != test.want {
			t.Errorf("%s: the plan is\n%s\nwant\n%s", name, got, test.want)
		}
		if got := withoutSettings(planRoomAway(nil, w.Fan, s)); got != test.away {
			t.Errorf("%s: the plan of down is\n%s\nwant\n%s", name, got, test.away)
		}
	}
	steps := strings.Replace(directSteps, "\ntc qdisc", "\n"+add+"\nip link set ftrm-250 master fan-250\ntc qdisc", 1)
	steps = strings.Replace(steps, "\nip link set ftin-250 master", `
tc qdisc add dev ftrm-250 clsact
tc filter add dev ftrm-250 ingress pref 1 handle 1 bpf direct-action # ipip_close
ip link set ftin-250 master`, 1)
	checkPlan(t, "with a room", w, bare(), steps)
	for _, without := range []Want{wanted(t, fan.VXLAN, fan.Device), wanted(t, fan.IPIP, fan.EBPF)} {
		without.Room = without.Fan.Type == fan.VXLAN
		p, err := Plan(nil, without, bare())
		if err != nil || strings.Contains(withoutSettings(p), "ftrm-") {
			t.Errorf("%s gets a room: %v", without.Fan.Type, err)
		}
	}
}

// The room is closed, and somebody else's device is
// left alone.
func TestRoomIsClosed(t *testing.T) {
	for _, d := range []fan.Datapath{fan.EBPF, fan.Device} {
		w := wanted(t, fan.IPIP, d)
		w.Room = true
		p, err := Plan(nil, w, bare())
		want := "tc qdisc add dev ftrm-250 clsact\ntc filter add dev ftrm-250 ingress pref 1 handle 1 bpf direct-action # ipip_close"
		if got := withoutSettings(p); err != nil || !strings.Contains(got, want) {
			t.Errorf("%s: the plan is\n%s, %v\nwant in it\n%s", d, got, err, want)
		}
		s := bare()
		s.Links = append(s.Links, kernel.Link{Name: "ftrm-250", Kind: "dummy", Index: 9})
		if _, err := Plan(nil, w, s); err == nil || !strings.Contains(err.Error(), "ftrm-250") {
			t.Errorf("%s: somebody else's device is taken: %v", d, err)
		}
		if got := withoutSettings(PlanDown(nil, w.Fan, s, Before{Known: true})); got != "" {
			t.Errorf("%s: down of somebody else's device: %s", d, got)
		}
	}
}

// withRoom is a host with the whole tunnel and its room.
func withRoom(t *testing.T, w Want) kernel.State {
	t.Helper()
	s := built(t, w)
	config, _ := w.config(s)
	s.Links = append(s.Links, kernel.Link{Name: "ftrm-250", Kind: "vxlan", Index: 9, MAC: roomMAC(w.Fan), Master: 3})
	s.Clsact = append(s.Clsact, 9)
	s.Filters = append(s.Filters, kernel.Filter{Link: 9, Priority: 1, Handle: 1, Program: 300,
		Name: filterName("fan-250", bpf.IPIPClose, bpf.Fingerprint(bpf.IPIPClose, config))})
	return s
}

// The room's filter goes with the room.
func TestRoomComesAndGoesAsAWhole(t *testing.T) {
	for d, want := range map[fan.Datapath]string{
		fan.Device: "tc filter del dev eth0 ingress pref 13 # ipip_receive\ntc qdisc del dev eth0 clsact\nip link del ftrm-250\nip link del ftun-250\nip link del ftun-ipip",
		fan.EBPF:   "tc filter del dev eth0 ingress pref 13 # ipip_receive\ntc qdisc del dev eth0 clsact\nip link del ftrm-250\nip link del ftun-250",
	} {
		w := wanted(t, fan.IPIP, d)
		s := withRoom(t, w)
		w.Room = true
		checkPlan(t, d.String(), w, s, "")
		if got := withoutSettings(PlanDown(nil, w.Fan, s, Before{Known: true})); got != want {
			t.Errorf("%s: the plan of down is\n%s\nwant\n%s", d, got, want)
		}
	}
}

func TestIsRoom(t *testing.T) {
	f := wanted(t, fan.IPIP, fan.EBPF).Fan
	mac := roomMAC(f)
	for _, test := range []struct {
		link kernel.Link
		want bool
	}{
		{kernel.Link{Name: "ftrm-250", Kind: "vxlan", MAC: mac}, true},
		{kernel.Link{Name: "ftrm-250", Kind: "vxlan", MAC: [6]byte{mac[0], mac[1], 9}}, true}, // of another host address
		{kernel.Link{Name: "ftrm-250", Kind: "vxlan", MAC: [6]byte{mac[0], 9}}, false},
		{kernel.Link{Name: "ftrm-250", Kind: "vxlan", MAC: [6]byte{2, mac[1]}}, false},
		{kernel.Link{Name: "ftrm-250", Kind: "dummy", MAC: mac}, false},
		{kernel.Link{Name: "ftrm-251", Kind: "vxlan", MAC: mac}, false},
	} {
		if got := isRoom(f, test.link); got != test.want {
			t.Errorf("%+v: room %t, want %t", test.link, got, test.want)
		}
	}
}
