package kernel

import (
	"testing"

	"github.com/vishvananda/netlink"
)

// A step that can't be taken back says so to the plan by having no Undo.
func TestLinkStepWithoutUndo(t *testing.T) {
	nothing := func(netlink.Link) error { return nil }
	if s := LinkStep(nil, "eth0", "ip link set eth0 up", nothing, nil); s.Undo != nil || s.Do == nil || s.Text != "ip link set eth0 up" {
		t.Errorf("the step is %+v, want one without Undo", s)
	}
	if s := LinkStep(nil, "eth0", "", nothing, nothing); s.Undo == nil {
		t.Error("the step has no Undo")
	}
}
