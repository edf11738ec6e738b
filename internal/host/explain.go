package host

import (
	"fmt"
	"net/netip"
	"strings"

	"github.com/fanctl/fanctl/bridge"
	"github.com/fanctl/fanctl/fan"
	"github.com/fanctl/fanctl/internal/kernel"
	"github.com/fanctl/fanctl/tunnel"
)

// explain tells why, one sentence a reason, to who asked for it.
func (h *Host) explain(reasons []string) {
	if h.Explain == nil {
		return
	}
	for _, reason := range reasons {
		h.Explain(reason)
	}
}

// whyUp says how what was not asked for in so many words was chosen.
func whyUp(r fan.Spec, result Result, s kernel.State) []string {
	f := result.Fan
	underlay := r.Underlay.String()
	if network := f.Mapping.Underlay().String(); network != underlay {
		underlay += " is " + network
	}
	reasons := []string{
		fmt.Sprintf("underlay %s: this host has %s", underlay, place(f, withAddress(f, s))),
		whySlice(f.Mapping, f.Host),
		whyMTU(f, s),
	}
	if f.Type == fan.IPIP {
		reasons = append(reasons, whyDatapath(r, result, s))
	}
	card, _ := s.Link(f.Device)
	if queues, spread := kernel.ReceiveQueues(card); f.Type == fan.IPIP && queues > 1 && !spread {
		reasons = append(reasons, fmt.Sprintf("%s has %d receive queues, and likely all packets of one host come by the same; fanctl(8) tells how to spread them",
			f.Device, queues))
	}
	if f.NAT {
		reasons = append(reasons, fmt.Sprintf("to the world packets go by %s, with its address", strings.Join(waysOut(f, s), " or ")))
	}
	if result.Was == nil {
		return append(reasons, fmt.Sprintf("no fan of overlay %s is up", f.Mapping.Overlay()))
	}
	return append(reasons, fmt.Sprintf("%s is up, as the alias of its bridge says; %d steps bring it to what is wanted", f.Bridge, len(result.Plan)))
}

// whySlice shows the bits: those of the overlay's prefix, then those in which hosts
// differ.
func whySlice(m fan.Mapping, host netip.Addr) string {
	slice, _ := m.Slice(host)
	o, u := m.Overlay(), m.Underlay()
	return fmt.Sprintf("slice %s: the %d bits of overlay %s, then the %d bits in which hosts of %s differ, from %s",
		slice, o.Bits(), o, 32-u.Bits(), u, host)
}

func whyMTU(f fan.Fan, s kernel.State) string {
	l := waysOf(f, s).narrowest(withAddress(f, s), s)
	if f.FixedMTU {
		return fmt.Sprintf("MTU %d as asked for; %s would leave %d", f.MTU, l.Name, f.Type.MTU(fan.MTU(l.MTU)))
	}
	return fmt.Sprintf("MTU %d: the %d of %s less the %d bytes that %s puts before a packet", f.MTU, l.MTU, l.Name, f.Type.Overhead(), f.Type)
}

func whyDatapath(r fan.Spec, result Result, s kernel.State) string {
	text := fmt.Sprintf("datapath %s: ", result.Datapath)
	is, built := tunnel.BuiltAs(result.Fan, s)
	switch {
	case r.Datapath != fan.Auto:
		return text + "as asked for"
	case built && is == result.Datapath:
		return text + "the fan is up that way"
	}
	return text + whyNew(result.Datapath, s)
}

// whyNew says why newDatapath has chosen as it has.
func whyNew(d fan.Datapath, s kernel.State) string {
	switch other := otherIPIP(s); {
	case d == fan.Device:
		return "the kernel has the ipip device, for packets in fragments"
	case other != "":
		return other + " is an ipip device that is not a fan's, and the two would take each other's packets"
	}
	return "the kernel has no ipip device"
}

// whyDown says what is taken down and what stays.
func whyDown(f fan.Fan, up bool, ports []string, others []bridge.Other) []string {
	reasons := []string{fmt.Sprintf("%s is up, as the alias of its bridge says", f.Bridge)}
	if !up {
		reasons[0] = fmt.Sprintf("%s is not up; what an interrupted run may have left is looked for", f.Bridge)
	}
	if len(ports) > 0 {
		reasons = append(reasons, fmt.Sprintf("%s: attached to %s, and detached by force", strings.Join(ports, ", "), f.Bridge))
	}
	if len(others) == 0 {
		return append(reasons, "no other fan is up: the host gets back what fans have changed")
	}
	var names []string
	for _, o := range others {
		names = append(names, o.Fan.Bridge)
	}
	return append(reasons, "what fans share stays for "+strings.Join(names, ", "))
}
