package tunnel

import (
	"errors"
	"fmt"
	"slices"

	"github.com/cilium/ebpf"

	"github.com/fanctl/fanctl/fan"
	"github.com/fanctl/fanctl/internal/kernel"
	"github.com/fanctl/fanctl/tunnel/bpf"
)

// ErrNoCounters says that a fan has no programs that count.
var ErrNoCounters = errors.New("no programs attached")

// Counters is what a fan's programs have counted since the fan came up. A
// super-packet counts as the packets that it stands for.
type Counters struct {
	TxPackets uint64 `json:"tx_packets"` // sent to other hosts
	TxBytes   uint64 `json:"tx_bytes"`   // of overlay packets, without the outer headers
	RxPackets uint64 `json:"rx_packets"` // taken from other hosts
	RxBytes   uint64 `json:"rx_bytes"`
	Spoofed   uint64 `json:"spoofed"`   // dropped: the inner source is not of the host that sent it, or not of this one
	NotOurs   uint64 `json:"not_ours"`  // dropped: the inner destination is not in this host's slice
	Malformed uint64 `json:"malformed"` // dropped: headers that are cut off or make no sense
	TooBig    uint64 `json:"too_big"`   // longer than the fan's MTU: answered by ICMP, fragmented or dropped
	TTL       uint64 `json:"ttl"`       // dropped: lived too long
	ECN       uint64 `json:"ecn"`       // dropped: congestion marked on the way, but the packet can't carry the mark (RFC 6040)
	Fragments uint64 `json:"fragments"` // outer fragments, which eBPF alone can't put together, whichever fan of the host they are for
	NoRoute   uint64 `json:"no_route"`  // dropped: no route to the host
	Kept      uint64 `json:"kept"`      // did not leave: broadcast, multicast, not IPv4, not of the overlay
	TxFast    uint64 `json:"tx_fast"`   // of those sent, the ones that went past the host's network stack
	RxFast    uint64 `json:"rx_fast"`   // of those taken, the ones that went past it
}

// ReadCounters returns the counters of the fan with that bridge and tunnel. The
// error is ErrNoCounters if none of its programs is attached. ECN has also what a tunnel
// device of the kernel's dropped; the ipip device, for any of the fans that share it.
func ReadCounters(bridge, tunnel string, s kernel.State) (Counters, error) {
	maps := mapsOf(bridge, s, []string{bpf.CountersMap})
	defer maps.Close()
	m := maps[bpf.CountersMap]
	if m == nil {
		return Counters{}, ErrNoCounters
	}
	var cpus []bpf.Counters
	if err := m.Lookup(uint32(0), &cpus); err != nil {
		return Counters{}, fmt.Errorf("read counters of %s: %w", bridge, err)
	}
	var sum Counters
	for _, name := range []string{tunnel, fan.SharedTunnel} {
		if device, there := s.Link(name); there && (name == tunnel || isCaught(bridge, s)) {
			sum.ECN += device.FrameErrors
		}
	}
	for _, c := range cpus {
		sum.add(c)
	}
	return sum, nil
}

func (c *Counters) add(o bpf.Counters) {
	c.TxPackets += o.TxPackets
	c.TxBytes += o.TxBytes
	c.RxPackets += o.RxPackets
	c.RxBytes += o.RxBytes
	c.Spoofed += o.Spoofed
	c.NotOurs += o.NotOurs
	c.Malformed += o.Malformed
	c.TooBig += o.TooBig
	c.TTL += o.Ttl
	c.ECN += o.Ecn
	c.Fragments += o.Fragments
	c.NoRoute += o.NoRoute
	c.Kept += o.Kept
	c.TxFast += o.TxFast
	c.RxFast += o.RxFast
}

// mapsOf returns the maps of those names that the owner's attached programs have, as
// far as there are any.
func mapsOf(owner string, s kernel.State, names []string) bpf.Maps {
	found := bpf.Maps{}
	seen := map[int]bool{}
	for _, f := range s.Filters {
		if len(found) == len(names) {
			break
		}
		if _, ours := ownedBy(owner, f); ours && !seen[f.Program] {
			seen[f.Program] = true
			addMapsOf(ebpf.ProgramID(f.Program), names, found)
		}
	}
	return found
}

func addMapsOf(id ebpf.ProgramID, names []string, found bpf.Maps) {
	program, err := ebpf.NewProgramFromID(id)
	if err != nil {
		return
	}
	defer program.Close()
	info, err := program.Info()
	if err != nil {
		return
	}
	maps, _ := info.MapIDs()
	for _, id := range maps {
		m, err := ebpf.NewMapFromID(id)
		if err != nil {
			continue
		}
		about, err := m.Info()
		if err != nil || !slices.Contains(names, about.Name) || found[about.Name] != nil {
			m.Close()
			continue
		}
		found[about.Name] = m
	}
}
