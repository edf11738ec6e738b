package host

import (
	"slices"
	"strings"
	"testing"

	"github.com/fanctl/fanctl/fan"
	"github.com/fanctl/fanctl/internal/kernel"
)

// A tunnel without its bridge is told of, and only one that is a fan's.
func TestLeftTunnels(t *testing.T) {
	s := withFan(t, withFan(t, plain(), "fan-250", ipipAlias), "mine", vxlanAlias)
	s.Links = append(s.Links,
		kernel.Link{Name: "ftun-7", Kind: "veth", MAC: [6]byte{0x02, 0x42, 1}}, // somebody else's
		kernel.Link{Name: "ftun-8", Kind: "dummy", MAC: [6]byte{0x06, 0xfa, 1}},
		kernel.Link{Name: fan.SharedTunnel, Kind: "ipip", External: true})
	if left := leftTunnels(s); len(left) > 0 {
		t.Errorf("with bridges, %q is left", left)
	}
	s.Links = slices.DeleteFunc(s.Links, func(l kernel.Link) bool { return l.Name == "fan-250" || l.Name == "mine" })
	left := leftTunnels(s)
	if len(left) != 2 || !strings.HasPrefix(left[0], "ftun-250 ") || !strings.HasPrefix(left[1], "ftun-240-9 ") {
		t.Errorf("without bridges, %q is left", left)
	}
}
