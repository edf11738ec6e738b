package tunnel

import (
	"testing"

	"github.com/fanctl/fanctl/fan"
	"github.com/fanctl/fanctl/internal/kernel"
)

// A device that only has the inlet's name is no sign of a fan, and stands in its way.
func TestForeignInlet(t *testing.T) {
	for _, kind := range []string{"veth", "bridge"} {
		w, s := wanted(t, fan.IPIP, fan.EBPF), bare()
		s.Links = append(s.Links, kernel.Link{Name: w.Fan.Inlet(), Kind: kind, Index: 9, MAC: [6]byte{0x0e, 1, 2, 3, 4, 5}})
		if d, built := BuiltAs(w.Fan, s); built {
			t.Errorf("a %s of the inlet's name is taken for a fan by %s", kind, d)
		}
		if p, err := Plan(nil, w, s); err == nil {
			t.Errorf("a %s of the inlet's name is to be taken: %s", kind, withoutSettings(p))
		}
	}
}
