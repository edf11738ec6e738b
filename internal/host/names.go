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
// the loopback's and the fans' own. Those of the device with the default route come
// first.
func (h *Host) Underlays() ([]fan.Local, error) {
	s, err := kernel.Look(h.handle)
	if err != nil {
		return nil, err
	}
	list := slices.DeleteFunc(locals(s), func(l fan.Local) bool {
		_, ours := fanWith(l.Device, s)
		return ours || l.Loopback
	})
	main := s.DefaultDevices()
	slices.SortStableFunc(list, func(a, b fan.Local) int {
		rank := func(l fan.Local) int {
			if len(main) > 0 && l.Device == main[0] {
				return 0
			}
			return 1
		}
		return rank(a) - rank(b)
	})
	return list, nil
}
