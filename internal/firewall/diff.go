package firewall

import (
	"os/exec"
	"slices"
	"strings"

	"github.com/fanctl/fanctl/internal/plan"
)

// tableOrder is the order in which tables are changed.
const tableOrder = "raw nat filter"

// Plan returns the steps that make the rules be there: one step a table that
// needs a change. stale says which rules of our chains should not be there.
func Plan(want Want, have Tables, stale func(Rule) bool) plan.Plan {
	var p plan.Plan
	for _, table := range strings.Fields(tableOrder) {
		c := &change{table: table}
		made := map[string]bool{}
		ensure := func(chain string) {
			if _, ok := have[table][chain]; !ok && !made[chain] && !builtin(chain) {
				made[chain] = true
				c.add("-N "+chain, "-X "+chain)
			}
		}
		for _, r := range want.Rules {
			if r.Table != table {
				continue
			}
			ensure(r.Chain)
			if !have.Has(r) {
				c.add("-A "+r.Chain+" "+r.Spec, "-D "+r.Chain+" "+r.Spec)
			}
		}
		for _, j := range want.Jumps {
			if j.Table == table {
				ensure(j.From)
				planJump(c, j, have)
			}
		}
		for _, r := range rulesOf(have, table) {
			if stale(r) && !slices.Contains(want.Rules, r) {
				c.add("-D "+r.Chain+" "+r.Spec, "-A "+r.Chain+" "+r.Spec)
			}
		}
		if len(c.do) > 0 {
			p = append(p, c.step())
		}
	}
	return p
}

func planJump(c *change, j Jump, have Tables) {
	r := j.Rule()
	if have.Has(r) {
		if !j.First || have[j.Table][j.From][0] == r.Spec {
			return
		}
		c.add("-D "+r.Chain+" "+r.Spec, "-A "+r.Chain+" "+r.Spec)
	}
	c.add("-I "+r.Chain+" 1 "+r.Spec, "-D "+r.Chain+" "+r.Spec)
}

// PlanAway returns the steps that take rules away; with last also the jumps and
// the chains. madeTables are tables that nobody had used before us: when nothing
// is left in one, it goes too.
func PlanAway(ours func(Rule) bool, jumps []Jump, last bool, madeTables []string, have Tables) plan.Plan {
	var p plan.Plan
	for _, table := range strings.Fields(tableOrder) {
		c := &change{table: table}
		left := leftAfter(have[table])
		remove := func(r Rule) {
			c.add("-D "+r.Chain+" "+r.Spec, "-A "+r.Chain+" "+r.Spec)
			left[r.Chain]--
		}
		var chains []string
		for _, j := range jumps {
			if last && j.Table == table {
				if have.Has(j.Rule()) {
					remove(j.Rule())
				}
				chains = append(chains, j.To, j.From)
			}
		}
		for _, r := range rulesOf(have, table) {
			if ours(r) {
				remove(r)
			}
		}
		slices.Sort(chains)
		for _, chain := range slices.Compact(chains) {
			if n, there := left[chain]; there && n == 0 && !builtin(chain) && !jumpedTo(have[table], chain, jumps) {
				c.add("-X "+chain, "-N "+chain)
				delete(left, chain)
			}
		}
		if len(c.do) > 0 {
			p = append(p, c.step())
		}
		if last && slices.Contains(madeTables, table) && isEmpty(left) {
			p = append(p, dropTable(table))
		}
	}
	return p
}

// leftAfter counts the rules of each chain.
func leftAfter(chains map[string][]string) map[string]int {
	left := map[string]int{}
	for chain, rules := range chains {
		left[chain] = len(rules)
	}
	return left
}

func isEmpty(left map[string]int) bool {
	for chain, n := range left {
		if n > 0 || !builtin(chain) {
			return false
		}
	}
	return true
}

// jumpedTo says whether a rule other than our jumps leads to the chain.
func jumpedTo(chains map[string][]string, chain string, jumps []Jump) bool {
	for from, rules := range chains {
		for _, spec := range rules {
			if !strings.HasSuffix(spec, "-j "+chain) && !strings.HasSuffix(spec, "-g "+chain) {
				continue
			}
			if !slices.ContainsFunc(jumps, func(j Jump) bool { return j.From == from && j.To == chain }) {
				return true
			}
		}
	}
	return false
}

// dropTable removes a table that is empty. Only iptables over nftables can:
// the legacy kernel tables stay once they were used.
func dropTable(table string) plan.Step {
	return plan.Step{
		Text: "nft delete table ip " + table + " # if nothing is in it",
		Do: func() error {
			if _, err := exec.LookPath("nft"); err != nil {
				return nil
			}
			now, err := run("", "nft", "list", "table", "ip", table)
			if err != nil || hasRules(now) {
				return nil // not there, or in use by somebody else by now
			}
			_, err = run("", "nft", "delete", "table", "ip", table)
			return err
		},
	}
}

// hasRules says whether a listing of nft has more than empty chains that accept.
func hasRules(listing string) bool {
	for line := range strings.Lines(listing) {
		line = strings.TrimSpace(line)
		switch {
		case line == "", line == "}", strings.HasPrefix(line, "table "), strings.HasPrefix(line, "chain "):
		case strings.HasPrefix(line, "type ") && strings.HasSuffix(line, "policy accept;"):
		default:
			return true
		}
	}
	return false
}

// rulesOf lists a table's rules in a stable order.
func rulesOf(have Tables, table string) []Rule {
	var names []string
	for chain := range have[table] {
		names = append(names, chain)
	}
	slices.Sort(names)
	var rules []Rule
	for _, chain := range names {
		for _, spec := range have[table][chain] {
			rules = append(rules, Rule{table, chain, spec})
		}
	}
	return rules
}

func builtin(chain string) bool {
	return slices.Contains([]string{"PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING"}, chain)
}
