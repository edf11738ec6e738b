package host

import (
	"github.com/fanctl/fanctl/fan"
	"github.com/fanctl/fanctl/internal/kernel"
	"github.com/fanctl/fanctl/tunnel"
)

// Status is a fan that is up, and all that is known of it.
type Status struct {
	Fan      fan.Fan
	Datapath fan.Datapath
	Tunnel   string
	// Counters are nil where they could not be read: without privilege, or if
	// the fan's programs are gone.
	Counters *tunnel.Counters
}

// List returns the fans that are up. It needs no privilege, but without it there
// are no counters.
func (h *Host) List() ([]Status, error) {
	s, err := kernel.Look(h.handle)
	if err != nil {
		return nil, err
	}
	var list []Status
	for _, k := range fansOf(s) {
		datapath, built := tunnel.BuiltAs(k.Fan, s)
		if !built {
			datapath = chooseDatapath(k.Fan, s)
		}
		status := Status{Fan: k.Fan, Datapath: datapath, Tunnel: k.Tunnel(datapath)}
		if counters, err := tunnel.ReadCounters(k.Bridge, status.Tunnel, s); err == nil {
			status.Counters = &counters
		}
		list = append(list, status)
	}
	return list, nil
}
