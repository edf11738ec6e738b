package host

import (
	"fmt"
	"os"

	"github.com/fanctl/fanctl/fan"
	"github.com/fanctl/fanctl/internal/dnsmasq"
	"github.com/fanctl/fanctl/internal/firewall"
	"github.com/fanctl/fanctl/internal/kernel"
	"github.com/fanctl/fanctl/tunnel"
)

// Status is a fan that is up, and all that is known of it.
type Status struct {
	Fan      fan.Fan
	Datapath fan.Datapath
	Tunnel   string
	// On is the device that has the host's address: the fan's, or a loopback device.
	On string
	// Counters are nil where they could not be read: without privilege, or if
	// the fan's programs are gone.
	Counters *tunnel.Counters
	// Server is the process that does a fan's DHCP, 0 if there should be one and is
	// none; nil for a fan without, or if the caller may not know.
	Server *int
	// FastPorts is how many containers' ports have the program of a fast fan; nil for
	// others, or if the caller may not know.
	FastPorts *int
	// SlowBecause says what keeps a fast fan from being so, nil if nothing does or if the
	// caller may not know.
	SlowBecause []string
}

// Place says where the host's address is, and by what packets leave if that is another
// device.
func (s Status) Place() string { return place(s.Fan, s.On) }

func place(f fan.Fan, on string) string {
	if on == f.Device {
		return fmt.Sprintf("%s on %s", f.Host, on)
	}
	return fmt.Sprintf("%s on %s and sends by %s", f.Host, on, f.Device)
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
		datapath := datapathOf(k.Fan, s)
		status := Status{Fan: k.Fan, Datapath: datapath, Tunnel: k.Tunnel(), On: withAddress(k.Fan, s)}
		if counters, err := tunnel.ReadCounters(k.Bridge, status.Tunnel, s); err == nil {
			status.Counters = &counters
		}
		if k.Fast != fan.Normal && os.Geteuid() == 0 {
			if err := h.lookFast(&status, s); err != nil {
				return nil, err
			}
		}
		if k.DHCP && os.Geteuid() == 0 {
			running, err := dnsmasq.Find(k.Bridge)
			if err != nil {
				return nil, err
			}
			status.Server = new(int)
			for _, p := range running {
				*status.Server = p.PID
			}
		}
		list = append(list, status)
	}
	return list, nil
}

// lookFast finds out what has become of a fan that is to be fast.
func (h *Host) lookFast(status *Status, s kernel.State) error {
	f := status.Fan
	ports := tunnel.OnFastPorts(f, s)
	status.FastPorts = &ports
	if f.Fast == fan.FastAnyway || tunnel.IsFast(f, s) {
		return nil
	}
	tables, err := firewall.Look()
	if err != nil {
		return err
	}
	status.SlowBecause, err = slowReasons(wantedBridge(f, status.Tunnel, s, tables), s, tables)
	return err
}
