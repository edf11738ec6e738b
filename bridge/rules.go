package bridge

import (
	"fmt"
	"slices"
	"strings"

	"github.com/fanctl/fanctl/fan"
	"github.com/fanctl/fanctl/internal/firewall"
)

// Our chains, which all fans share.
const (
	chainForward = "FAN-FORWARD"
	chainInput   = "FAN-INPUT"
	chainNAT     = "FAN-POSTROUTING"
	chainRaw     = "FAN-PREROUTING"
)

// IsOwnChain says whether a chain is ours.
func IsOwnChain(chain string) bool {
	return slices.Contains([]string{chainForward, chainInput, chainNAT, chainRaw}, chain)
}

// jumps lead to our chains. DOCKER-USER is Docker's chain for other people's
// rules: Docker never empties it and takes it as it finds it, so it is made
// before Docker starts. In POSTROUTING we must be before Docker's MASQUERADE, and
// in raw PREROUTING before the DROPs of Docker 28. Hosts without Docker do without the
// latter: a table more costs each packet a twentieth of its way.
func jumps(withRaw bool) []firewall.Jump {
	list := []firewall.Jump{
		{Table: "filter", From: "FORWARD", To: chainForward},
		{Table: "filter", From: "DOCKER-USER", To: chainForward},
		{Table: "filter", From: "INPUT", To: chainInput},
		{Table: "nat", From: "POSTROUTING", To: chainNAT, First: true},
	}
	if withRaw {
		list = append(list, firewall.Jump{Table: "raw", From: "PREROUTING", Match: "-i " + fan.TunnelPrefix + "+", To: chainRaw, First: true})
	}
	return list
}

// hasRawRules says whether fans have rules in raw PREROUTING. They stay until the last
// fan goes: whether Docker is there may look different to another caller.
func hasRawRules(tables firewall.Tables) bool {
	_, there := tables.Chains["raw"][chainRaw]
	return there
}

// rules returns a fan's rules. They have no comments: those would tell fans
// apart as well, but for iptables over nftables a comment is one more match that
// each packet has to pass.
func rules(w Want) firewall.Want {
	f := w.Fan
	slice, overlay := f.Slice(), f.Mapping.Overlay()
	withRaw := f.Type == fan.IPIP && w.Docker
	want := firewall.Want{Jumps: jumps(withRaw)}
	add := func(table, chain, format string, a ...any) {
		want.Rules = append(want.Rules, firewall.Rule{Table: table, Chain: chain, Spec: fmt.Sprintf(format, a...)})
	}

	// What most packets match comes first and is as little as will do, for every
	// match costs each packet time: the tunnel's programs let nothing through whose
	// source and destination are not right, and the way out follows from the
	// destination. Bridged packets pass here too where bridge-nf-call-iptables is on.
	add("filter", chainForward, "-d %s -i %s -j ACCEPT", overlay, f.Bridge)
	if f.Type == fan.IPIP {
		add("filter", chainForward, "-s %s -i %s -j ACCEPT", overlay, w.Tunnel)
	}
	if withRaw {
		add("raw", chainRaw, "-s %s -j ACCEPT", overlay)
	}
	add("filter", chainForward, "-i %s -o %s -j ACCEPT", f.Bridge, f.Bridge)
	add("filter", chainForward, "-o %s -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT", f.Bridge)
	// To the world by the devices that lead there, not by all: that would open
	// other bridges, such as Docker's networks, to the fan's containers. They come
	// last, because they change while the fan is up.
	for _, device := range w.WaysOut {
		add("filter", chainForward, "-i %s -o %s -j ACCEPT", f.Bridge, device)
	}

	want.Rules = append(want.Rules, tunnelRule(f))
	// The bridge's address is the containers' gateway and the first thing that a
	// person pings, here and from other hosts. What else the host offers there is
	// for its own firewall to open.
	add("filter", chainInput, "-s %s -d %s/32 -p icmp -m icmp --icmp-type 8 -j ACCEPT", overlay, f.BridgeAddr())

	if f.DHCP {
		add("filter", chainInput, "-i %s -p udp -m udp --dport 67 -j ACCEPT", f.Bridge)
		for _, protocol := range []string{"udp", "tcp"} {
			add("filter", chainInput, "-s %s -d %s/32 -i %s -p %s -m %s --dport 53 -j ACCEPT", overlay, f.BridgeAddr(), f.Bridge, protocol, protocol)
		}
	}

	// Nothing inside the overlay is translated, whoever's rules come later.
	add("nat", chainNAT, "-s %s -d %s -j ACCEPT", slice, overlay)
	if f.NAT {
		add("nat", chainNAT, "-s %s ! -o %s -j MASQUERADE", slice, f.Bridge)
	}
	return want
}

// tunnelRule lets the tunnel's packets in. Fans of one type over the same
// underlay share it.
func tunnelRule(f fan.Fan) firewall.Rule {
	match := "-p 4" // RFC 2003
	if f.Type == fan.VXLAN {
		match = fmt.Sprintf("-p udp -m udp --dport %d", f.Port)
	}
	return firewall.Rule{Table: "filter", Chain: chainInput,
		Spec: fmt.Sprintf("-s %s -d %s/32 %s -j ACCEPT", f.Mapping.Underlay(), f.Host, match)}
}

// checkNames refuses (fan.ErrUsage) names of devices that iptables takes for
// something else: a + at the end for any end, quotes for a word's bounds.
func checkNames(w Want) error {
	for _, name := range append([]string{w.Fan.Bridge, w.Tunnel}, w.WaysOut...) {
		if strings.HasSuffix(name, "+") || strings.HasPrefix(name, "-") || strings.HasPrefix(name, "!") || strings.ContainsAny(name, `"'\`) {
			return fan.Usagef("device name %s: iptables does not take it as a name; use one of letters, digits, dots and dashes", name)
		}
	}
	return nil
}
