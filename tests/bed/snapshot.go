package bed

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// section is one part of a snapshot: a command whose output is taken line by
// line.
type section struct {
	name    string
	command string // for sh -c
	sorted  bool   // the order of the lines means nothing
	clean   func(lines []string) []string
}

func sections() []section {
	return []section{
		{name: "link", command: "ip -d -o link show", sorted: true, clean: cleanLinks},
		{name: "address", command: "ip -o address show | sed 's/^[0-9]*: //'", sorted: true},
		{name: "route", command: "ip -4 route show table all; ip -6 route show table all", sorted: true, clean: cleanRoutes},
		{name: "rule", command: "ip -4 rule show; ip -6 rule show"},
		{name: "neighbour", command: "ip neighbour show nud permanent; bridge fdb show | grep permanent | grep -v -e 33:33: -e 01:00:5e:", sorted: true},
		{name: "iptables", command: "for t in raw mangle nat filter security; do iptables-save -t $t; done", clean: cleanIPTables},
		{name: "nft", command: "nft -s list ruleset", clean: cleanNFT},
		{name: "tc", command: tcCommand, clean: cleanTC},
		{name: "bpffs", command: "find /sys/fs/bpf -mindepth 1 2>/dev/null", sorted: true},
	}
}

// tcCommand asks for filters only where there can be any: on an emulated processor
// the processes that a snapshot starts are what tests wait for.
const tcCommand = `tc qdisc show | sort
for d in $(tc qdisc show | sed -n 's/^qdisc \(clsact\|ingress\) .* dev \([^ ]*\) .*/\2/p' | sort); do
	for way in ingress egress; do tc filter show dev $d $way 2>/dev/null | sed "s/^/$d $way /"; done
done`

// Snapshot writes down all that a fan could leave behind on a host, one fact per
// line: devices with aliases, addresses, routes of all tables, rules, permanent
// neighbours, firewall rules of both kinds, qdiscs and filters, sysctls, the
// pinned objects of eBPF. What differs although nobody has changed anything is
// left out: device indices, timers, counters, ids of eBPF programs, and the
// tables without rules that stay when iptables has once been asked.
func (n *NS) Snapshot(t testing.TB) string {
	t.Helper()
	var all []string
	for _, s := range sections() {
		// A tool that is missing shows up in the text, the same each time.
		r := n.Exec("sh", "-c", s.command)
		lines := strings.Split(strings.TrimRight(r.Stdout, "\n"), "\n")
		if s.clean != nil {
			lines = s.clean(lines)
		}
		if s.sorted {
			slices.Sort(lines)
		}
		for _, line := range lines {
			if line = strings.TrimRight(line, " "); line != "" {
				all = append(all, s.name+" "+line)
			}
		}
	}
	attached, err := n.tcx()
	if err != nil {
		t.Fatalf("in %s: list programs: %v", n.Name, err)
	}
	all = append(all, attached...)
	sysctls, err := n.sysctls()
	if err != nil {
		t.Fatalf("in %s: read sysctls: %v", n.Name, err)
	}
	return strings.Join(append(all, sysctls...), "\n") + "\n"
}

func (n *NS) sysctls() ([]string, error) {
	roots := []string{"ipv4/conf", "ipv4/neigh", "ipv4/ip_forward", "ipv6/conf", "bridge"}
	var lines []string
	err := n.Do(func() error {
		for _, root := range roots {
			if err := readTree(filepath.Join("/proc/sys/net", root), &lines); err != nil {
				return err
			}
		}
		return nil
	})
	return lines, err
}

func readTree(root string, lines *[]string) error {
	return filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if errors.Is(err, os.ErrNotExist) {
			return nil // the kernel has no IPv6, or a device went while we looked
		}
		if err != nil || d.IsDir() {
			return err
		}
		value, err := os.ReadFile(path)
		if err != nil {
			value = []byte("unreadable") // stable_secret before it is set
		}
		*lines = append(*lines, "sysctl "+strings.TrimPrefix(path, "/proc/sys/net/")+" = "+strings.TrimSpace(string(value)))
		return nil
	})
}

func replaceAll(lines []string, pattern, by string) []string {
	re := regexp.MustCompile(pattern)
	for i, line := range lines {
		lines[i] = re.ReplaceAllString(line, by)
	}
	return lines
}

func cleanLinks(lines []string) []string {
	lines = replaceAll(lines, `^\d+: ([^@:]+)(@[^:]+)?:`, "$1:")
	lines = replaceAll(lines, ` [a-z_]+_timer +[0-9.]+`, "")
	return replaceAll(lines, ` link-netns(id)? \S+`, "")
}

func cleanRoutes(lines []string) []string {
	return replaceAll(lines, ` expires \d+sec| nhid \d+`, "")
}

// cleanTC keeps a program's tag, the hash of its instructions. The hashes in
// the names of filter and program are left out: they also cover device indices.
func cleanTC(lines []string) []string {
	lines = replaceAll(lines, ` id \d+ `, " ")
	lines = replaceAll(lines, `( name [a-z]{2})_[0-9a-f]{6}_`, "${1}_")
	return replaceAll(lines, `( \S+/\w+)/[0-9a-f]{8} `, "$1 ")
}

func cleanIPTables(lines []string) []string {
	lines = replaceAll(lines, `^#.*`, "")
	lines = replaceAll(lines, ` \[\d+:\d+\]$`, "")
	var all, table []string
	for _, line := range lines {
		switch {
		case line == "":
		case strings.HasPrefix(line, "*"):
			table = []string{line}
		case line == "COMMIT":
			if !untouched(table) {
				for _, l := range table[1:] {
					all = append(all, table[0][1:]+" "+l)
				}
			}
		default:
			table = append(table, line)
		}
	}
	return all
}

// untouched says whether a table has only its built-in chains, without rules and
// with the policy they begin with: it then does nothing, and stays when anybody
// has ever asked for it.
func untouched(table []string) bool {
	for _, line := range table[1:] {
		if !strings.HasPrefix(line, ":") || !strings.HasSuffix(line, " ACCEPT") {
			return false
		}
	}
	return true
}

// cleanNFT leaves out the tables of iptables-nft that are untouched, and counters.
func cleanNFT(lines []string) []string {
	lines = replaceAll(lines, `^#.*`, "")
	lines = replaceAll(lines, `counter packets \d+ bytes \d+`, "counter")
	ofIPTables := regexp.MustCompile(`^table ip6? (filter|nat|mangle|raw|security) \{$`)
	builtIn := regexp.MustCompile(`^\t(chain (PREROUTING|INPUT|FORWARD|OUTPUT|POSTROUTING) \{|\ttype .*policy accept;|\})$`)
	var all, table []string
	keep, hidden := false, false
	for _, line := range lines {
		if strings.HasPrefix(line, "table ") {
			table, keep, hidden = nil, false, ofIPTables.MatchString(line)
		} else if line != "}" && line != "" && !builtIn.MatchString(line) {
			keep = true
		}
		table = append(table, line)
		if line == "}" && (keep || !hidden) {
			all = append(all, sortChains(table)...)
		}
	}
	return all
}

// sortChains puts a table's chains in the order of their names: nft lists them in
// the order in which they were made, which means nothing.
func sortChains(table []string) []string {
	var chains, rest []string
	for _, line := range table[1 : len(table)-1] {
		switch {
		case strings.HasPrefix(line, "\tchain "):
			chains = append(chains, line)
		case len(chains) > 0 && line != "":
			chains[len(chains)-1] += "\n" + line
		case line != "":
			rest = append(rest, line)
		}
	}
	slices.Sort(chains)
	return slices.Concat(table[:1], rest, chains, table[len(table)-1:])
}

// Settled takes snapshots until two in a row are the same and nothing is to come:
// the kernel does some of what follows from a change later (carrier, link-local
// addresses).
func (n *NS) Settled(t testing.TB) string {
	t.Helper()
	last := n.Snapshot(t)
	for range 20 {
		time.Sleep(400 * time.Millisecond)
		now := n.Snapshot(t)
		if now == last && !carrierToCome(now) {
			return now
		}
		last = now
	}
	t.Fatalf("in %s: the host does not come to rest", n.Name)
	return ""
}

// carrierToCome says whether a device in a snapshot has got or lost its carrier
// (LOWER_UP) and its operational state (NO-CARRIER) does not say so yet: the kernel
// takes up to a second for that (linkwatch).
func carrierToCome(snapshot string) bool {
	for line := range strings.Lines(snapshot) {
		if !strings.HasPrefix(line, "link ") {
			continue
		}
		_, rest, _ := strings.Cut(line, "<")
		flags, _, _ := strings.Cut(rest, ">")
		has := func(flag string) bool { return slices.Contains(strings.Split(flags, ","), flag) }
		if has("UP") && has("LOWER_UP") == has("NO-CARRIER") {
			return true
		}
	}
	return false
}

// Becomes waits until the snapshot is as wanted, and returns the difference to
// it if that does not happen: "-" is missing, "+" should not be there.
func (n *NS) Becomes(t testing.TB, want string) string {
	t.Helper()
	const tries = 15
	difference := ""
	for range tries {
		if difference = Diff(want, n.Snapshot(t)); difference == "" {
			return ""
		}
		time.Sleep(300 * time.Millisecond)
	}
	return fmt.Sprintf("snapshot differs (- before, + now):\n%s", difference)
}
