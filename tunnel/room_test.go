package tunnel

import (
	"strings"
	"testing"

	"github.com/fanctl/fanctl/fan"
	"github.com/fanctl/fanctl/internal/kernel"
)

func TestPlanRoom(t *testing.T) {
	w := wanted(t, fan.IPIP, fan.Device)
	w.Room = true
	room := kernel.Link{Name: "ftrm-250", Kind: "vxlan", Index: 9, MAC: roomMAC(w.Fan), Master: 3}
	foreign, loose := room, room
	foreign.MAC, loose.Master = [6]byte{2}, 0
	const add = "ip link add ftrm-250 address 16:fa:0a:00:00:2d type vxlan id 16384000 dstport 9 nolearning"
	for name, test := range map[string]struct {
		links      []kernel.Link
		want, away string
	}{
		"none":            {nil, add + "\nip link set ftrm-250 master fan-250", ""},
		"as it should be": {[]kernel.Link{room}, "", "ip link del ftrm-250"},
		"no port":         {[]kernel.Link{loose}, "ip link set ftrm-250 master fan-250", "ip link del ftrm-250"},
		"somebody else's": {[]kernel.Link{foreign}, "", ""},
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
	for _, without := range []Want{wanted(t, fan.VXLAN, fan.Device), wanted(t, fan.IPIP, fan.EBPF)} {
		without.Room = without.Fan.Type == fan.VXLAN
		p, err := Plan(nil, without, bare())
		if err != nil || strings.Contains(withoutSettings(p), "ftrm-") {
			t.Errorf("%s gets a room: %v", without.Fan.Type, err)
		}
	}
}
