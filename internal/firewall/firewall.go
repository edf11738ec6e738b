// Package firewall changes iptables rules, in chains of our own and by jumps to
// them from the kernel's.
//
// The tables are read by one iptables-save and changed by one iptables-restore,
// and not by one command a rule as go-iptables does it. A fan has some 20
// rules, chains and jumps. At 1.5 ms a command they would take most of the time
// that bringing up a fan may take; one call for all tables takes 3 ms. A deleted
// rule costs far more: with nftables below, each command that deletes waits up to
// 20 ms for the packets that still read the rule (an RCU grace period). And
// iptables-restore changes a table as a whole, so that a run which is ended half
// way leaves no table half changed, and a jump can be moved without a packet
// slipping through. go-iptables is asked when a call has failed: what is
// installed, and is it too old?
//
// What can't be given back: iptables-legacy never drops a kernel table that was
// used once. Over nftables, tables and base chains that our first rule brought
// into being go with the last (see nft.go).
package firewall

import (
	"errors"
	"maps"
	"slices"
	"strings"
)

// ErrMissing says that the host has no iptables.
var ErrMissing = errors.New("iptables: not found; install the package iptables")

// Rule is one rule. Spec is what follows the chain, as iptables-save prints it
// with the number of protocol 4: "-s 10.0.0.0/16 -p 4 -j ACCEPT".
type Rule struct{ Table, Chain, Spec string }

// Want is the rules that are to be.
type Want struct {
	// Rules are in our own chains and in the order in which they are to stand
	// there. Chains that are missing are made.
	Rules []Rule
	// Jumps lead to our own chains. A chain of somebody else's that they start
	// from is made if it is missing, so that a later program finds it.
	Jumps []Jump
}

// Jump leads from the kernel's or somebody else's chain to one of ours. It is
// put first in its chain.
type Jump struct {
	Table, From, To string
	// Match is what a packet must match to be led on, as iptables-save prints it;
	// empty: every packet.
	Match string
	// First says that the jump must also stay first: it is moved there again
	// when other programs' rules have come before it.
	First bool
}

// Rule returns the jump as a rule.
func (j Jump) Rule() Rule {
	return Rule{j.Table, j.From, strings.TrimPrefix(j.Match+" -j "+j.To, " ")}
}

// Chain is one chain. Policy is "-" for a chain that is not the kernel's.
type Chain struct {
	Policy string
	Rules  []string // as Rule.Spec
}

// Tables is what the host has. The zero value is a host that never used a table.
type Tables struct {
	// Chains are those that iptables knows, by table and name.
	Chains map[string]map[string]Chain
	// Native are the IPv4 tables and base chains that nftables has, "filter" and
	// "filter.FORWARD". They tell what was there before us; iptables-save can't,
	// because it prints all base chains of a table that has one.
	Native map[string]bool
}

// Look reads the tables. The error is ErrMissing without iptables.
func Look() (Tables, error) {
	// First, because older versions of iptables-save make the tables they read.
	native, err := lookNative()
	if err != nil {
		return Tables{}, err
	}
	out, err := call("", "iptables-save")
	return Tables{Chains: parse(out), Native: native}, err
}

// Translation returns the first rule of a chain that is not ours by which packets that
// are passed on get another source, as iptables-save prints it, or "".
func (t Tables) Translation(ours func(chain string) bool) string {
	for _, chain := range slices.Sorted(maps.Keys(t.Chains["nat"])) {
		for _, spec := range t.Chains["nat"][chain].Rules {
			if !ours(chain) && (leadsTo(spec, "MASQUERADE") || leadsTo(spec, "SNAT")) {
				return "-A " + chain + " " + spec
			}
		}
	}
	return ""
}

// builtin says whether a chain is one of the kernel's.
func builtin(chain string) bool {
	return slices.Contains([]string{"PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING"}, chain)
}

// leadsTo says whether a rule jumps or goes to the chain.
func leadsTo(spec, chain string) bool {
	words := strings.Fields(spec)
	for i, word := range words[:max(len(words)-1, 0)] {
		if (word == "-j" || word == "-g") && words[i+1] == chain {
			return true
		}
	}
	return false
}
