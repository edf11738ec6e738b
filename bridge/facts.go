package bridge

import (
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/vishvananda/netlink"

	"github.com/fanctl/fanctl/fan"
	"github.com/fanctl/fanctl/internal/firewall"
	"github.com/fanctl/fanctl/internal/kernel"
	"github.com/fanctl/fanctl/internal/plan"
	"github.com/fanctl/fanctl/internal/sysctl"
)

const (
	forwarding = "net/ipv4/ip_forward"
	confFolder = "/proc/sys/net/ipv4/conf"
)

// maxAlias is the longest alias that the kernel keeps (IFALIASZ-1, linux/if.h).
const maxAlias = 255

// Facts is what the host was like before the first fan, as far as fans change
// it. They are words in the alias of one fan's bridge, and move to another's
// when that fan goes.
type Facts struct {
	// ForwardingOff says that the host forwarded no packets.
	ForwardingOff bool
	// ForwardingOn names the devices that forwarded although the host did not;
	// the kernel writes all of them when the host's setting is written.
	ForwardingOn []string
	// Tables are the iptables tables that nobody had used.
	Tables []string
	// Clsact names devices that are not ours but had a clsact qdisc.
	Clsact []string
}

// Words of the facts in an alias.
const (
	wordForwarding   = "fwd"
	wordForwardingOn = "fwdon"
	wordTables       = "tables"
	wordClsact       = "clsact"
)

// FactsFrom returns the facts that an alias carries among its further words.
func FactsFrom(extra map[string]string) Facts {
	list := func(word string) []string {
		if extra[word] == "" {
			return nil
		}
		return strings.Split(extra[word], ",")
	}
	return Facts{ForwardingOff: extra[wordForwarding] == "0", ForwardingOn: list(wordForwardingOn),
		Tables: list(wordTables), Clsact: list(wordClsact)}
}

func (f Facts) empty() bool {
	return !f.ForwardingOff && len(f.ForwardingOn)+len(f.Tables)+len(f.Clsact) == 0
}

func (f Facts) words() map[string]string {
	m := map[string]string{}
	if f.ForwardingOff {
		m[wordForwarding] = "0"
	}
	for word, list := range map[string][]string{wordForwardingOn: f.ForwardingOn, wordTables: f.Tables, wordClsact: f.Clsact} {
		if len(list) > 0 {
			m[word] = strings.Join(list, ",")
		}
	}
	return m
}

// alias returns the bridge's alias: the fan and the facts.
func (f Facts) alias(of fan.Fan) (string, error) {
	alias := fan.WithExtra(of.Alias(), f.words())
	if len(alias) > maxAlias {
		return "", fmt.Errorf("remember what the host was like: %q has %d bytes, an alias at most %d; give these devices one forwarding setting", alias, len(alias), maxAlias)
	}
	return alias, nil
}

// merge returns the facts of two fans; the earlier ones count.
func (f Facts) merge(g Facts) Facts {
	union := func(a, b []string) []string {
		all := append(slices.Clone(a), b...)
		slices.Sort(all)
		return slices.Compact(all)
	}
	return Facts{ForwardingOff: f.ForwardingOff || g.ForwardingOff, ForwardingOn: union(f.ForwardingOn, g.ForwardingOn),
		Tables: union(f.Tables, g.Tables), Clsact: union(f.Clsact, g.Clsact)}
}

// lookFacts returns the facts for a fan's alias: those that it has, and what the
// host is like now as far as no fan has changed it.
func lookFacts(f fan.Fan, s kernel.State, tables firewall.Tables) (Facts, error) {
	var facts Facts
	fans := false
	for _, l := range s.Links {
		_, extra, err := fan.ParseAlias(l.Name, l.Alias)
		if err != nil {
			continue
		}
		if l.Name == f.Bridge {
			return FactsFrom(extra), nil
		}
		fans = true
	}
	if underlay, ok := s.Link(f.Device); ok && s.HasClsact(underlay.Index) && !hasOurs(underlay.Index, s) {
		facts.Clsact = []string{f.Device}
	}
	if fans {
		return facts, nil
	}
	for _, table := range []string{"filter", "nat", "raw"} {
		if tables.Chains(table) == nil {
			facts.Tables = append(facts.Tables, table)
		}
	}
	now, err := sysctl.Read(forwarding)
	if err != nil || now != "0" {
		return facts, err
	}
	facts.ForwardingOff = true
	facts.ForwardingOn, err = forwardingDevices(f)
	return facts, err
}

// hasOurs says whether the device has a filter of any fan.
func hasOurs(link int, s kernel.State) bool {
	return slices.ContainsFunc(s.Filters, func(f kernel.Filter) bool {
		return f.Link == link && strings.Count(f.Name, "/") == 2
	})
}

func forwardingDevices(f fan.Fan) ([]string, error) {
	entries, err := os.ReadDir(confFolder)
	if err != nil {
		return nil, fmt.Errorf("list devices' settings: %w", err)
	}
	var names []string
	for _, e := range entries {
		if e.Name() == "all" || e.Name() == f.Bridge {
			continue
		}
		if on, err := sysctl.Read("net/ipv4/conf/" + e.Name() + "/forwarding"); err == nil && on == "1" {
			names = append(names, e.Name())
		}
	}
	return names, nil
}

// giveBack returns the steps that hand the facts to another fan or, if there is
// none, make the host as it was.
func (f Facts) giveBack(h *netlink.Handle, others []Other, s kernel.State) (plan.Plan, error) {
	if f.empty() {
		return nil, nil
	}
	if len(others) > 0 {
		heir := others[0]
		alias, err := f.merge(heir.Facts).alias(heir.Fan)
		if err != nil {
			return nil, err
		}
		l, _ := s.Link(heir.Fan.Bridge)
		if l.Alias == alias {
			return nil, nil
		}
		return plan.Plan{aliasStep(h, heir.Fan.Bridge, l.Alias, alias)}, nil
	}
	if !f.ForwardingOff {
		return nil, nil
	}
	settings := []sysctl.Setting{{Path: forwarding, Value: "0"}}
	p := sysctl.Plan(settings)
	for _, name := range f.ForwardingOn {
		// After the write above all are off.
		p = append(p, sysctl.Step(sysctl.Setting{Path: "net/ipv4/conf/" + name + "/forwarding", Value: "1", Optional: true}))
	}
	return p, nil
}
