package selftest

import (
	"cmp"
	"fmt"
	"os/exec"
	"slices"
	"strconv"
	"strings"

	"github.com/fanctl/fanctl/internal/namespace"
)

// Drop is a firewall rule, or a chain's policy, that lets packets go no further.
type Drop struct {
	Table   string `json:"table"`
	Chain   string `json:"chain"`
	Rule    string `json:"rule"` // as a person would type it: "-A FORWARD -j DROP", "-P FORWARD DROP"
	Packets uint64 `json:"packets"`
}

// lookDrops reads the rules that drop, with what they have counted. A host without
// iptables has none that can be seen.
func lookDrops(host *namespace.Namespace) ([]Drop, error) {
	path := findSave()
	if path == "" {
		return nil, nil
	}
	var out []byte
	err := host.Do(func() (err error) {
		out, err = exec.Command(path, "-c").Output()
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("iptables-save -c: %w", err)
	}
	return parseDrops(string(out)), nil
}

// findSave returns the path of iptables-save, which need not be in a user's search
// path, or "".
func findSave() string {
	for _, path := range []string{"iptables-save", "/usr/sbin/iptables-save", "/sbin/iptables-save"} {
		if found, err := exec.LookPath(path); err == nil {
			return found
		}
	}
	return ""
}

// parseDrops reads what iptables-save -c prints:
//
//	*filter
//	:FORWARD DROP [3:252]
//	[7:588] -A FORWARD -j DROP
func parseDrops(text string) []Drop {
	var drops []Drop
	table := ""
	for line := range strings.Lines(text) {
		line = strings.TrimSuffix(line, "\n")
		if name, ok := strings.CutPrefix(line, "*"); ok {
			table = name
			continue
		}
		if d, ok := policyOf(line); ok {
			d.Table = table
			drops = append(drops, d)
		}
		if d, ok := ruleOf(line); ok {
			d.Table = table
			drops = append(drops, d)
		}
	}
	return drops
}

func policyOf(line string) (Drop, bool) {
	words := strings.Fields(line)
	if len(words) != 3 || !strings.HasPrefix(line, ":") || words[1] != "DROP" {
		return Drop{}, false
	}
	packets, ok := countOf(words[2])
	chain := words[0][1:]
	return Drop{Chain: chain, Rule: "-P " + chain + " DROP", Packets: packets}, ok
}

func ruleOf(line string) (Drop, bool) {
	count, rule, ok := strings.Cut(line, " ")
	if !ok || !strings.HasPrefix(rule, "-A ") {
		return Drop{}, false
	}
	words := strings.Fields(rule)
	at := slices.Index(words, "-j")
	if at < 0 || at+1 == len(words) || words[at+1] != "DROP" && words[at+1] != "REJECT" {
		return Drop{}, false
	}
	packets, ok := countOf(count)
	return Drop{Chain: words[1], Rule: rule, Packets: packets}, ok
}

// countOf reads the packets of "[packets:bytes]".
func countOf(word string) (uint64, bool) {
	packets, _, ok := strings.Cut(strings.Trim(word, "[]"), ":")
	n, err := strconv.ParseUint(packets, 10, 64)
	return n, ok && err == nil && strings.HasPrefix(word, "[")
}

// risen returns the rules that have counted since, with by how much; the one that
// has counted most comes first.
func risen(before, after []Drop) []Drop {
	was := map[Drop]uint64{}
	for _, d := range summed(before) {
		was[d.uncounted()] = d.Packets
	}
	var rose []Drop
	for _, d := range summed(after) {
		if old := was[d.uncounted()]; d.Packets > old {
			d.Packets -= old
			rose = append(rose, d)
		}
	}
	slices.SortStableFunc(rose, func(a, b Drop) int { return cmp.Compare(b.Packets, a.Packets) })
	return rose[:min(len(rose), maxDrops)]
}

// summed makes one of rules that stand several times.
func summed(drops []Drop) []Drop {
	var sums []Drop
	for _, d := range drops {
		at := slices.IndexFunc(sums, func(s Drop) bool { return s.uncounted() == d.uncounted() })
		if at < 0 {
			sums = append(sums, d)
			continue
		}
		sums[at].Packets += d.Packets
	}
	return sums
}

func (d Drop) uncounted() Drop {
	d.Packets = 0
	return d
}

// maxDrops is how many rules are told: those that have counted most.
const maxDrops = 5
