package bridge

import (
	"fmt"
	"strings"

	"github.com/fanctl/fanctl/fan"
	"github.com/fanctl/fanctl/internal/firewall"
)

// Our chains. A fan's rules are told from another fan's by the bridge's name or,
// where no bridge is named, by the addresses.
const (
	chainForward = "FAN-FORWARD"
	chainInput   = "FAN-INPUT"
	chainNAT     = "FAN-POSTROUTING"
	chainRaw     = "FAN-PREROUTING"
)

// jumps lead to our chains. DOCKER-USER is Docker's chain for other people's
// rules: Docker never empties it and takes it as it finds it, so it is made
// before Docker starts. In POSTROUTING we must be before Docker's MASQUERADE, and
// in raw PREROUTING before the DROPs of Docker 28.
func jumps(withRaw bool) []firewall.Jump {
	list := []firewall.Jump{
		{Table: "filter", From: "FORWARD", To: chainForward},
		{Table: "filter", From: "DOCKER-USER", To: chainForward},
		{Table: "filter", From: "INPUT", To: chainInput},
		{Table: "nat", From: "POSTROUTING", To: chainNAT, First: true},
	}
	if withRaw {
		list = append(list, firewall.Jump{Table: "raw", From: "PREROUTING", To: chainRaw, First: true})
	}
	return list
}

// rules returns a fan's rules.
func rules(w Want) firewall.Want {
	f := w.Fan
	slice, overlay, underlay := f.Slice().String(), f.Mapping.Overlay().String(), f.Mapping.Underlay().String()
	want := firewall.Want{Jumps: jumps(f.Type == fan.IPIP)}
	add := func(table, chain, format string, a ...any) {
		want.Rules = append(want.Rules, firewall.Rule{Table: table, Chain: chain, Spec: fmt.Sprintf(format, a...)})
	}

	// Bridged packets pass here too where bridge-nf-call-iptables is on.
	add("filter", chainForward, "-i %s -o %s -j ACCEPT", f.Bridge, f.Bridge)
	if f.Type == fan.IPIP {
		add("filter", chainForward, "-s %s -d %s -i %s -o %s -j ACCEPT", slice, overlay, f.Bridge, w.Tunnel)
		add("filter", chainForward, "-s %s -d %s -i %s -o %s -j ACCEPT", overlay, slice, w.Tunnel, f.Bridge)
		add("raw", chainRaw, "-s %s -d %s -i %s -j ACCEPT", overlay, slice, w.Tunnel)
		add("filter", chainInput, "-s %s -d %s/32 -p 4 -j ACCEPT", underlay, f.Host)
	} else {
		add("filter", chainInput, "-s %s -d %s/32 -p udp -m udp --dport %d -j ACCEPT", underlay, f.Host, f.Port)
	}
	add("filter", chainInput, "-s %s -d %s/32 -p icmp -m icmp --icmp-type 8 -j ACCEPT", overlay, f.BridgeAddr())
	// To the world by the devices that lead there, not by all: that would open
	// other bridges, such as Docker's networks, to the fan's containers.
	for _, device := range w.WaysOut {
		add("filter", chainForward, "-i %s -o %s -j ACCEPT", f.Bridge, device)
	}
	add("filter", chainForward, "-o %s -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT", f.Bridge)

	// Nothing inside the overlay is translated, whoever's rules come later.
	add("nat", chainNAT, "-s %s -d %s -j ACCEPT", slice, overlay)
	if f.NAT {
		add("nat", chainNAT, "-s %s ! -o %s -j MASQUERADE", slice, f.Bridge)
	}
	return want
}

// ownedBy says whether a rule of our chains is the fan's: it names the bridge,
// the slice or the bridge's address, or lets in the fan's tunnel.
func ownedBy(f fan.Fan, r firewall.Rule) bool {
	switch r.Chain {
	case chainForward, chainInput, chainNAT, chainRaw:
	default:
		return false
	}
	words := strings.Fields(r.Spec)
	for i, word := range words[:max(len(words)-1, 0)] {
		value := words[i+1]
		switch word {
		case "-i", "-o":
			if value == f.Bridge {
				return true
			}
		case "-s", "-d":
			if value == f.Slice().String() || value == f.BridgeAddr().String()+"/32" {
				return true
			}
		}
	}
	return false
}

// tunnelInput says whether a rule lets in tunnel packets of the fan's type to
// its host address; fans over the same underlay share it.
func tunnelInput(f fan.Fan, r firewall.Rule) bool {
	w := Want{Fan: f}
	for _, own := range rules(w).Rules {
		if own == r && r.Chain == chainInput && !ownedBy(f, r) {
			return true
		}
	}
	return false
}
