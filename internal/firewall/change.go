package firewall

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/fanctl/fanctl/internal/plan"
)

// tables are those that we change, in the order in which they are changed.
func tables() []string { return []string{"raw", "nat", "filter"} }

// change collects commands for one table, with those that take them back, and
// follows what the table is like after them.
type change struct {
	table    string
	chains   map[string]Chain
	do, undo []string
}

func newChange(table string, have Tables) *change {
	c := &change{table: table, chains: maps.Clone(have.Chains[table])}
	if c.chains == nil {
		c.chains = map[string]Chain{}
	}
	return c
}

func (c *change) add(do, undo string) {
	c.do = append(c.do, do)
	c.undo = append(c.undo, undo)
}

// ensure makes a chain if it is not there.
func (c *change) ensure(chain string) {
	if _, there := c.chains[chain]; there {
		return
	}
	c.chains[chain] = Chain{Policy: "-"}
	if builtin(chain) {
		c.chains[chain] = Chain{Policy: "ACCEPT"} // comes with its first rule
		return
	}
	c.add("-N "+chain, "-X "+chain)
}

// first puts a rule at a chain's start. It says so even if nothing is in the
// chain: by the time of the change there may be.
func (c *change) first(chain, spec string) {
	now := c.chains[chain]
	now.Rules = slices.Insert(slices.Clone(now.Rules), 0, spec)
	c.chains[chain] = now
	c.add(fmt.Sprintf("-I %s 1 %s", chain, spec), fmt.Sprintf("-D %s %s", chain, spec))
}

// last puts a rule at a chain's end.
func (c *change) last(chain, spec string) {
	now := c.chains[chain]
	now.Rules = append(slices.Clone(now.Rules), spec)
	c.chains[chain] = now
	c.add(fmt.Sprintf("-A %s %s", chain, spec), fmt.Sprintf("-D %s %s", chain, spec))
}

// remove deletes the first copy of a rule. It is named by what it says and not
// by its number, which another program may have changed in the meantime.
func (c *change) remove(chain, spec string) bool {
	now := c.chains[chain]
	index := slices.Index(now.Rules, spec)
	if index < 0 {
		return false
	}
	undo := fmt.Sprintf("-I %s %d %s", chain, index+1, spec)
	if index == len(now.Rules)-1 {
		undo = fmt.Sprintf("-A %s %s", chain, spec)
	}
	now.Rules = slices.Delete(slices.Clone(now.Rules), index, index+1)
	c.chains[chain] = now
	c.add(fmt.Sprintf("-D %s %s", chain, spec), undo)
	return true
}

// drop removes a chain and all that is in it.
func (c *change) drop(chain string) {
	if rules := c.chains[chain].Rules; len(rules) > 0 {
		for i, spec := range rules {
			do := ""
			if i == 0 {
				do = "-F " + chain
			}
			c.add(do, fmt.Sprintf("-I %s 1 %s", chain, spec))
		}
	}
	delete(c.chains, chain)
	c.add("-X "+chain, "-N "+chain)
}

// referenced says whether any rule leads to the chain.
func (c *change) referenced(chain string) bool {
	for _, from := range c.chains {
		if slices.ContainsFunc(from.Rules, func(spec string) bool { return leadsTo(spec, chain) }) {
			return true
		}
	}
	return false
}

// script is the change as iptables-restore reads it.
func (c *change) script() string { return script(c.table, c.do) }

// back takes the change back.
func (c *change) back() string {
	commands := slices.Clone(c.undo)
	slices.Reverse(commands)
	return script(c.table, commands)
}

func script(table string, commands []string) string {
	commands = slices.DeleteFunc(slices.Clone(commands), func(s string) bool { return s == "" })
	return fmt.Sprintf("*%s\n%s\nCOMMIT\n", table, strings.Join(commands, "\n"))
}

// planOf returns the step that makes the changes in one call, and none if there
// is nothing to change. made is what nftables did not have before.
func planOf(changes []*change, made []string) plan.Plan {
	var text, do, undo []string
	for _, c := range changes {
		for _, command := range c.do {
			if command != "" {
				text = append(text, fmt.Sprintf("iptables -t %s %s", c.table, command))
			}
		}
		if len(c.do) > 0 {
			do, undo = append(do, c.script()), append(undo, c.back())
		}
	}
	if len(do) == 0 {
		return nil
	}
	slices.Reverse(undo)
	return plan.Plan{{
		Text: strings.Join(text, "\n"),
		Do: func() error {
			err := restore(strings.Join(do, ""))
			if err == nil {
				return nil
			}
			// The tables before the one that failed are changed already. Taking a
			// change back fails as a whole where it was not made.
			for _, input := range undo {
				_ = restore(input)
			}
			_ = tidy(made)
			return err
		},
		Undo: func() error {
			if err := restore(strings.Join(undo, "")); err != nil {
				return err
			}
			return tidy(made)
		},
	}}
}
