package main

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/fanctl/fanctl/fan"
	"github.com/fanctl/fanctl/internal/command"
	"github.com/fanctl/fanctl/internal/host"
	"github.com/fanctl/fanctl/tunnel"
)

// selectFans returns the fans that are named, each by its bridge or its overlay in the
// words that up takes.
func selectFans(all []host.Status, names []string) ([]host.Status, error) {
	var chosen []host.Status
	for _, name := range names {
		overlay, _ := fan.ParseOverlay(name)
		i := slices.IndexFunc(all, func(s host.Status) bool { return s.Fan.Bridge == name })
		if i < 0 {
			i = slices.IndexFunc(all, func(s host.Status) bool { return s.Fan.Mapping.Overlay() == overlay })
		}
		if i < 0 {
			return nil, fmt.Errorf("fan %q is not up; those that are: %s", name, bridgesOf(all))
		}
		chosen = append(chosen, all[i])
	}
	return chosen, nil
}

func bridgesOf(list []host.Status) string {
	var names []string
	for _, s := range list {
		names = append(names, s.Fan.Bridge)
	}
	if len(names) == 0 {
		return "none"
	}
	return strings.Join(names, ", ")
}

// showDetail prints all that is known of each fan, for people.
func showDetail(out io.Writer, list []host.Status) error {
	var text strings.Builder
	for i, s := range list {
		if i > 0 {
			text.WriteString("\n")
		}
		fmt.Fprintln(&text, command.PainterOf(out).Bold(s.Fan.Bridge))
		for _, row := range append(describe(s), describeCounters(s.Counters)...) {
			fmt.Fprintf(&text, "  %-10s %s\n", row[0], row[1])
		}
	}
	_, err := io.WriteString(out, text.String())
	return err
}

func describeBridge(f fan.Fan) string {
	if kept := f.Kept(); len(kept) > 0 {
		return fmt.Sprintf("%s, and up to %s", f.BridgePrefix(), kept[len(kept)-1])
	}
	return f.BridgePrefix().String()
}

func describe(s host.Status) [][2]string {
	f := s.Fan
	kind := fmt.Sprintf("%s, by eBPF through %s", f.Type, s.Tunnel)
	switch {
	case f.Type == fan.VXLAN:
		kind = fmt.Sprintf("%s, by the kernel's device %s, UDP port %d, network identifier %d", f.Type, s.Tunnel, f.Port, fan.VNI(f.Mapping.Overlay()))
	case s.Datapath == fan.Device:
		kind += "; fragments come by the kernel's device " + fan.SharedTunnel
	}
	mtu := fmt.Sprintf("%d, what the underlay leaves", f.MTU)
	if f.FixedMTU {
		mtu = fmt.Sprintf("%d, as given", f.MTU)
	}
	nat := "to the address of the device that leads out"
	if !f.NAT {
		nat = "none: packets leave the overlay with the containers' addresses"
	}
	start := "by hand"
	if f.Auto {
		start = "with the list of fans (up -a)"
	}
	rows := [][2]string{
		{"underlay", fmt.Sprintf("%s, this host has %s", f.Mapping.Underlay(), s.Place())},
		{"overlay", fmt.Sprintf("%s, this host has %s", f.Mapping.Overlay(), f.Slice())},
		{"bridge", describeBridge(f)},
		{"type", kind}, {"MTU", mtu},
	}
	if fast := describeFast(s); fast != "" {
		rows = append(rows, [2]string{"fast", fast})
	}
	return append(rows, [][2]string{{"NAT", nat}, {"DHCP", describeDHCP(s)}, {"brought up", start}}...)
}

// describeFast says what became of what was asked for; a fan is not fast by default,
// which needs no words.
func describeFast(s host.Status) string {
	if s.Fan.Fast == fan.Normal {
		return ""
	}
	if len(s.SlowBecause) > 0 {
		return "not now because of " + strings.Join(s.SlowBecause, ", and of ")
	}
	text := "asked for"
	if s.FastPorts != nil {
		text = fmt.Sprintf("on, at %d of the bridge's ports", *s.FastPorts)
	}
	if s.Fan.Fast == fan.FastAnyway {
		text += ", in spite of rules of this host's firewall"
	}
	return text
}

func describeDHCP(s host.Status) string {
	if !s.Fan.DHCP {
		return "none"
	}
	first, last := s.Fan.Leases()
	text := fmt.Sprintf("%s to %s", first, last)
	switch {
	case s.Server == nil:
		return text
	case *s.Server == 0:
		return text + ", but dnsmasq does not run; fanctl up starts it"
	}
	return fmt.Sprintf("%s, by dnsmasq, process %d", text, *s.Server)
}

// describeCounters has what passed, and of what did not the reasons that occurred.
func describeCounters(c *tunnel.Counters) [][2]string {
	if c == nil {
		return [][2]string{{"counters", "could not be read; that takes root, and programs that are attached"}}
	}
	rows := [][2]string{
		{"sent", passed(c.TxPackets, c.TxBytes, c.TxFast)},
		{"received", passed(c.RxPackets, c.RxBytes, c.RxFast)},
	}
	label := "dropped"
	for _, r := range []struct {
		n    uint64
		text string
	}{
		{c.Spoofed, "with the source of another host's container"}, {c.NotOurs, "not for this host"},
		{c.Malformed, "with broken headers"}, {c.TTL, "that had lived too long"}, {c.ECN, "that could not carry a mark of congestion"},
		{c.Fragments, "fragments of wrapped packets, which eBPF alone can't put together"}, {c.NoRoute, "without a route to their host"},
	} {
		if r.n > 0 {
			rows = append(rows, [2]string{label, fmt.Sprintf("%d %s", r.n, r.text)})
			label = ""
		}
	}
	if c.TooBig > 0 {
		rows = append(rows, [2]string{"too long", fmt.Sprintf("%d: answered by ICMP, cut up or dropped", c.TooBig)})
	}
	if c.Kept > 0 {
		rows = append(rows, [2]string{"stayed", fmt.Sprintf("%d: broadcast, multicast, not IPv4, or not of the overlay", c.Kept)})
	}
	return rows
}

func passed(packets, bytes, fast uint64) string {
	text := fmt.Sprintf("%d packets, %d bytes", packets, bytes)
	if fast > 0 {
		text += fmt.Sprintf("; %d of the packets the fast way", fast)
	}
	return text
}
