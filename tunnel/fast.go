package tunnel

import (
	"errors"
	"fmt"
	"slices"

	"github.com/cilium/ebpf"

	"github.com/fanctl/fanctl/fan"
	"github.com/fanctl/fanctl/internal/kernel"
	"github.com/fanctl/fanctl/internal/plan"
	"github.com/fanctl/fanctl/tunnel/bpf"
)

// FastPorts returns the names of the bridge's ports whose packets can go the fast way,
// in the order of their indices: one end each of a veth pair whose other end is in
// another network namespace, with nothing of somebody else's that packets would go past.
func FastPorts(f fan.Fan, s kernel.State) []string {
	bridge, there := s.Link(f.Bridge)
	if !there {
		return nil
	}
	var names []string
	for _, l := range s.Links {
		if l.Master == bridge.Index && l.Kind == "veth" && l.PeerElsewhere && !l.XDP &&
			!slices.Contains(s.Shaped, l.Index) && !othersFilter(l, f.Bridge, s) {
			names = append(names, l.Name)
		}
	}
	return names
}

// othersFilter says whether somebody else has filters on a device.
func othersFilter(l kernel.Link, owner string, s kernel.State) bool {
	for _, f := range s.Filters {
		if f.Link != l.Index {
			continue
		}
		if _, ours := ownedBy(owner, f); !ours {
			return true
		}
	}
	return false
}

// OnFastPorts returns how many bridge ports have the fan's program.
func OnFastPorts(f fan.Fan, s kernel.State) int {
	n := 0
	for _, filter := range s.Filters {
		if program, ours := ownedBy(f.Bridge, filter); ours && isPortProgram(program) {
			n++
		}
	}
	return n
}

// IsFast says whether a fan that is up has the fast path, whatever ports it has.
func IsFast(f fan.Fan, s kernel.State) bool {
	maps := mapsOf(f.Bridge, s, []string{bpf.PortsMap})
	defer maps.Close()
	m := maps[bpf.PortsMap]
	return m != nil && m.MaxEntries() > 1
}

// fewPorts are so few that each can have its program by tcx: that takes a second.
const fewPorts = 64

func isPortProgram(program string) bool { return program == bpf.IPIPPort || program == bpf.VXLANPort }

// fastAttachments are those of the fast path beside the programs that a fan has anyway.
// First comes what takes packets in, so that both directions of a flow can go the same
// way as soon as one can.
func (w Want) fastAttachments(s kernel.State) []attachment {
	if !w.Fast {
		return nil
	}
	program := bpf.IPIPPort
	var list []attachment
	if !w.ipip() {
		program = bpf.VXLANPort
		list = append(list, attachment{device: w.Fan.Bridge, egress: true, program: bpf.VXLANDeliver, hot: true})
		for _, device := range w.receivers(s) {
			if l, _ := s.Link(device); l.Ethernet {
				list = append(list, attachment{device: device, program: bpf.VXLANDirect, foreign: true})
			}
		}
	}
	ports := FastPorts(w.Fan, s)
	for _, port := range ports {
		list = append(list, attachment{device: port, program: program, foreign: true, crowded: len(ports) > fewPorts})
	}
	return list
}

// planForget takes ports out of the fast path's memory that lost their program: what is
// for them goes by the stack from then on.
func planForget(bridge string, ports []int, s kernel.State) plan.Plan {
	if len(ports) == 0 {
		return nil
	}
	return plan.Plan{{
		Text: fmt.Sprintf("bpftool map delete %s # of %d ports of %s", bpf.PortsMap, len(ports), bridge),
		Do: func() error {
			maps := mapsOf(bridge, s, []string{bpf.PortsMap})
			defer maps.Close()
			if m := maps[bpf.PortsMap]; m != nil {
				return forget(m, ports)
			}
			return nil
		},
	}}
}

// forget deletes the hardware addresses that are behind the ports.
func forget(m *ebpf.Map, ports []int) error {
	var gone [][8]byte
	var mac [8]byte
	var port uint32
	entries := m.Iterate()
	for entries.Next(&mac, &port) {
		if slices.Contains(ports, int(port)) {
			gone = append(gone, mac)
		}
	}
	// An entry that went in the meantime ends the walk; it is of somebody who sends, so
	// that the others will be seen again.
	if err := entries.Err(); err != nil && !errors.Is(err, ebpf.ErrIterationAborted) {
		return fmt.Errorf("read the map %s: %w", bpf.PortsMap, err)
	}
	for _, mac := range gone {
		if err := m.Delete(mac); err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
			return fmt.Errorf("delete from the map %s: %w", bpf.PortsMap, err)
		}
	}
	return nil
}
