package firewall

import (
	"maps"
	"slices"
	"strings"

	"github.com/fanctl/fanctl/internal/plan"
)

// Plan returns the step that makes the rules be there; none if they are. stale
// says which other rules of our chains are to go. made names the tables and base
// chains that nftables gets through it; PlanAway wants to know them again.
//
// A chain is filled before something jumps to it. All of a table happens at
// once, so the order within it is for whoever types the commands.
func Plan(want Want, have Tables, stale func(Rule) bool) (p plan.Plan, made []string) {
	changes := changesFor(want, have, stale)
	for _, c := range changes {
		made = append(made, missing(c.table, want.Jumps, have)...)
	}
	return planOf(changes, made), made
}

// After returns the tables as they are when Plan's step is done.
func After(want Want, have Tables, stale func(Rule) bool) Tables {
	after := have
	after.Chains = maps.Clone(have.Chains)
	if after.Chains == nil {
		after.Chains = map[string]map[string]Chain{}
	}
	for _, c := range changesFor(want, have, stale) {
		after.Chains[c.table] = c.chains
	}
	return after
}

// changesFor returns the changes of the tables that are not as wanted.
func changesFor(want Want, have Tables, stale func(Rule) bool) []*change {
	var changes []*change
	for _, table := range tables() {
		c := newChange(table, have)
		for _, chain := range chainsOf(want, table) {
			planChain(c, chain, specs(want, table, chain))
		}
		for _, j := range want.Jumps {
			if j.Table == table {
				planJump(c, j)
			}
		}
		for _, chain := range slices.Sorted(maps.Keys(have.Chains[table])) {
			for _, spec := range have.Chains[table][chain].Rules {
				r := Rule{table, chain, spec}
				if stale(r) && !slices.Contains(want.Rules, r) {
					c.remove(chain, spec)
				}
			}
		}
		if len(c.do) > 0 {
			changes = append(changes, c)
		}
	}
	return changes
}

// planChain makes a chain hold the wanted rules, in their order and once each.
// Those that are there must be the first of them; more are appended. Else they
// are all put anew.
func planChain(c *change, chain string, want []string) {
	c.ensure(chain)
	var there []string
	for _, spec := range c.chains[chain].Rules {
		if slices.Contains(want, spec) {
			there = append(there, spec)
		}
	}
	if len(there) > len(want) || !slices.Equal(there, want[:len(there)]) {
		for _, spec := range there {
			c.remove(chain, spec)
		}
		there = nil
	}
	for _, spec := range want[len(there):] {
		c.last(chain, spec)
	}
}

func planJump(c *change, j Jump) {
	c.ensure(j.To)
	c.ensure(j.From)
	spec := j.Rule().Spec
	rules := c.chains[j.From].Rules
	copies := 0
	for _, r := range rules {
		if r == spec {
			copies++
		}
	}
	if copies == 1 && (!j.First || rules[0] == spec) {
		return
	}
	for range copies {
		c.remove(j.From, spec)
	}
	c.first(j.From, spec)
}

// PlanAway returns the steps that take our rules away. A chain that is empty
// then goes, with the jumps to it; with last all our chains go, whatever is in
// them. made names what nftables got from us: what nobody uses of it goes too.
func PlanAway(ours func(Rule) bool, jumps []Jump, last bool, made []string, have Tables) plan.Plan {
	var changes []*change
	var empty []string
	for _, table := range tables() {
		c := newChange(table, have)
		for _, chain := range ownChains(jumps, table) {
			planChainAway(c, chain, ours, jumps, last)
		}
		if len(c.do) > 0 {
			changes = append(changes, c)
		}
		for _, name := range made {
			if have.Native[name] && unused(c, name) {
				empty = append(empty, name)
			}
		}
	}
	return append(planOf(changes, nil), tidyPlan(empty)...)
}

func planChainAway(c *change, chain string, ours func(Rule) bool, jumps []Jump, last bool) {
	now, there := c.chains[chain]
	if !there {
		return
	}
	isOurs := func(spec string) bool { return ours(Rule{c.table, chain, spec}) }
	goes := last || !slices.ContainsFunc(now.Rules, func(spec string) bool { return !isOurs(spec) })
	var from []string
	for _, j := range jumps {
		if goes && j.Table == c.table && j.To == chain {
			for c.remove(j.From, j.Rule().Spec) {
				from = append(from, j.From)
			}
		}
	}
	if goes && !c.referenced(chain) {
		c.drop(chain)
	} else {
		for _, spec := range now.Rules {
			if last || isOurs(spec) {
				c.remove(chain, spec)
			}
		}
	}
	// A chain such as DOCKER-USER that holds nothing else, and that nothing leads
	// to, was made by us, and whom it is for never came.
	for _, other := range slices.Compact(from) {
		if !builtin(other) && len(c.chains[other].Rules) == 0 && !c.referenced(other) {
			c.drop(other)
		}
	}
}

// chainsOf returns the chains of the wanted rules, in their order.
func chainsOf(want Want, table string) []string {
	var chains []string
	for _, r := range want.Rules {
		if r.Table == table && !slices.Contains(chains, r.Chain) {
			chains = append(chains, r.Chain)
		}
	}
	return chains
}

func specs(want Want, table, chain string) []string {
	var list []string
	for _, r := range want.Rules {
		if r.Table == table && r.Chain == chain {
			list = append(list, r.Spec)
		}
	}
	return list
}

// ownChains returns the chains that the jumps lead to.
func ownChains(jumps []Jump, table string) []string {
	var chains []string
	for _, j := range jumps {
		if j.Table == table && !slices.Contains(chains, j.To) {
			chains = append(chains, j.To)
		}
	}
	return chains
}

// missing names what nftables does not have yet of a table that is about to be
// changed: the table, or those base chains that the jumps start from.
func missing(table string, jumps []Jump, have Tables) []string {
	if !have.Native[table] {
		return []string{table}
	}
	var names []string
	for _, j := range jumps {
		name := table + "." + j.From
		if j.Table == table && builtin(j.From) && !have.Native[name] {
			names = append(names, name)
		}
	}
	return names
}

// unused says whether a table or base chain of nftables has nothing left in it
// after the change, as far as iptables knows.
func unused(c *change, name string) bool {
	table, chain, one := strings.Cut(name, ".")
	if table != c.table {
		return false
	}
	for name, now := range c.chains {
		if (!one || name == chain) && (len(now.Rules) > 0 || now.Policy != "ACCEPT") {
			return false
		}
	}
	return true
}
