package host

import (
	"slices"

	"github.com/fanctl/fanctl/fan"
	"github.com/fanctl/fanctl/internal/kernel"
)

// Fans returns the fans that are up as their bridges say, and nothing else of them:
// in a fraction of the time that List takes.
func (h *Host) Fans() ([]fan.Fan, error) {
	s, err := kernel.LookLinks(h.handle)
	if err != nil {
		return nil, err
	}
	var list []fan.Fan
	for _, k := range fansOf(s) {
		list = append(list, k.Fan)
	}
	return list, nil
}

// Underlays returns this host's addresses that can be those of an underlay: all but
// the loopback's and the fans' own.
func (h *Host) Underlays() ([]fan.Local, error) {
	s, err := kernel.Look(h.handle)
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(locals(s), func(l fan.Local) bool {
		_, ours := fanWith(l.Device, s)
		return ours || l.Loopback
	}), nil
}
