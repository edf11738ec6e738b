package bridge

import (
	"fmt"
	"slices"
	"strings"

	"github.com/fanctl/fanctl/fan"
	"github.com/fanctl/fanctl/internal/kernel"
)

// maxAlias is the longest alias that the kernel keeps (IFALIASZ-1, linux/if.h).
const maxAlias = 255

// Facts is what the host was like before the fan, as far as fans change it. They
// are words in the alias of the fan's bridge, and move to another's when that fan
// goes and others stay.
type Facts struct {
	// ForwardingOff says that the host forwarded no packets.
	ForwardingOff bool
	// ForwardingOn names the devices that forwarded although the host did not,
	// "default" for those to come. The kernel writes all of them when the host's
	// setting is written.
	ForwardingOn []string
	// RedirectsOff says that the host took no ICMP redirects although it
	// forwarded no packets; the kernel writes that setting too.
	RedirectsOff bool
	// Translating says that somebody's rules translated sources although the host
	// forwarded no packets, so that such rules say nothing of who needs it.
	Translating bool
	// Tables names the tables and base chains of nftables that the fan's rules
	// brought into being, as firewall.Plan returns them.
	Tables []string
	// Clsact names devices that are not ours but had a clsact qdisc.
	Clsact []string
}

// Words of the facts in an alias, and what separates the parts of one: no
// device's name has a slash.
const (
	wordForwarding   = "fwd"
	wordForwardingOn = "fwdon"
	wordRedirects    = "redir"
	wordTranslating  = "snat"
	wordTables       = "tables"
	wordClsact       = "clsact"
	separator        = "/"
)

// FactsFrom returns the facts that an alias carries among its further words.
func FactsFrom(extra map[string]string) Facts {
	list := func(word string) []string {
		if extra[word] == "" {
			return nil
		}
		return strings.Split(extra[word], separator)
	}
	return Facts{
		ForwardingOff: extra[wordForwarding] == "0", ForwardingOn: list(wordForwardingOn),
		RedirectsOff: extra[wordRedirects] == "0", Translating: extra[wordTranslating] == "1",
		Tables: list(wordTables), Clsact: list(wordClsact),
	}
}

func (f Facts) words() map[string]string {
	m := map[string]string{}
	if f.ForwardingOff {
		m[wordForwarding] = "0"
	}
	if f.RedirectsOff {
		m[wordRedirects] = "0"
	}
	if f.Translating {
		m[wordTranslating] = "1"
	}
	for word, list := range map[string][]string{wordForwardingOn: f.ForwardingOn, wordTables: f.Tables, wordClsact: f.Clsact} {
		if len(list) > 0 {
			m[word] = strings.Join(list, separator)
		}
	}
	return m
}

// alias returns the bridge's alias: the fan and the facts. Where there is no
// room for all devices that forwarded, the last of them are forgotten: better
// than no fan, and only where a host forwards for some devices and not as such.
func (f Facts) alias(of fan.Fan) (string, error) {
	for {
		alias := fan.WithExtra(of.Alias(), f.words())
		if len(alias) <= maxAlias {
			return alias, nil
		}
		if len(f.ForwardingOn) == 0 {
			return "", fmt.Errorf("remember what the host was like: %q has %d bytes, an alias at most %d", alias, len(alias), maxAlias)
		}
		f.ForwardingOn = f.ForwardingOn[:len(f.ForwardingOn)-1]
	}
}

// merge returns the facts of two fans together.
func (f Facts) merge(g Facts) Facts {
	union := func(a, b []string) []string {
		all := append(slices.Clone(a), b...)
		slices.Sort(all)
		return slices.Compact(all)
	}
	return Facts{
		ForwardingOff: f.ForwardingOff || g.ForwardingOff, ForwardingOn: union(f.ForwardingOn, g.ForwardingOn),
		RedirectsOff: f.RedirectsOff || g.RedirectsOff, Translating: f.Translating || g.Translating,
		Tables: union(f.Tables, g.Tables), Clsact: union(f.Clsact, g.Clsact),
	}
}

// Forwarding returns the facts of a host that is to go on forwarding packets: what
// a write to ip_forward has changed is not given back.
func (f Facts) Forwarding() Facts {
	return Facts{Tables: f.Tables, Clsact: f.Clsact}
}

// without returns the facts but for what went with the fan's rules: only ipip
// fans use the table raw.
func (f Facts) without(others []Other) Facts {
	if !slices.ContainsFunc(others, func(o Other) bool { return o.Fan.Type == fan.IPIP }) {
		f.Tables = slices.DeleteFunc(slices.Clone(f.Tables), func(name string) bool {
			table, _, _ := strings.Cut(name, ".")
			return table == "raw"
		})
	}
	return f
}

// factsOf returns the facts for a fan's alias: those that it has or, before it
// has one, what the host is like now.
func factsOf(w Want, s kernel.State, now Facts) Facts {
	if l, there := s.Link(w.Fan.Bridge); there {
		if _, extra, err := fan.ParseAlias(l.Name, l.Alias); err == nil {
			return FactsFrom(extra)
		}
	}
	ways := w.Ways
	if len(ways) == 0 {
		ways = []string{w.Fan.Device}
	}
	for _, device := range ways {
		if l, ok := s.Link(device); ok && s.HasClsact(l.Index) && !hasOurs(l.Index, s) {
			now.Clsact = append(now.Clsact, device)
		}
	}
	return now
}

// hasOurs says whether the device has a filter of any fan.
func hasOurs(link int, s kernel.State) bool {
	return slices.ContainsFunc(s.Filters, func(f kernel.Filter) bool {
		return f.Link == link && strings.Count(f.Name, "/") == 2
	})
}

// othersIn returns the host's fans but the one with that bridge.
func othersIn(s kernel.State, bridge string) []Other {
	var others []Other
	for _, l := range s.Links {
		if l.Name == bridge || l.Kind != "bridge" {
			continue
		}
		if f, extra, err := fan.ParseAlias(l.Name, l.Alias); err == nil {
			others = append(others, Other{Fan: f, Facts: FactsFrom(extra)})
		}
	}
	return others
}
