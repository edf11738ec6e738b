// Package firewall changes iptables rules, in chains of our own and by jumps to
// them from the kernel's.
//
// A table is read with iptables-save and changed with iptables-restore, in one
// call each: with one call a rule, as go-iptables does it, putting up a fan
// would take longer than all the rest, and a table would be seen half changed.
// go-iptables finds the program and says what it can do.
package firewall

import (
	"bytes"
	"errors"
	"fmt"
	"os/exec"
	"slices"
	"strings"

	"github.com/coreos/go-iptables/iptables"

	"github.com/fanctl/fanctl/internal/plan"
)

// ErrMissing says that the host has no iptables.
var ErrMissing = errors.New("iptables: not found; install the package iptables")

// lockSeconds is how long a change waits for another program's.
const lockSeconds = "10"

// Rule is one rule. Spec is what follows the chain, as iptables-save prints it,
// such as "-i fan-250 -j ACCEPT".
type Rule struct{ Table, Chain, Spec string }

// Want is the rules that are to be.
type Want struct {
	// Rules are in our own chains, in their order; chains that are missing are
	// made.
	Rules []Rule
	// Jumps to our own chains come first in their chains. A chain of somebody
	// else's that is missing is made, so that a later program finds it.
	Jumps []Jump
}

// Jump leads from the kernel's or somebody else's chain to one of ours.
type Jump struct {
	Table, From, To string
	// First says that the jump must stay before other programs' rules, so that
	// it is moved there when they have come before it.
	First bool
}

// Rule returns the jump as a rule.
func (j Jump) Rule() Rule { return Rule{j.Table, j.From, "-j " + j.To} }

// Tables is what the host has: the rules of each chain of each table.
type Tables map[string]map[string][]string

// Chains returns a table's chains; nil if the table was never used.
func (t Tables) Chains(table string) map[string][]string { return t[table] }

// Has says whether a rule is there.
func (t Tables) Has(r Rule) bool { return slices.Contains(t[r.Table][r.Chain], r.Spec) }

// Look reads the tables. The error is ErrMissing without iptables.
func Look() (Tables, error) {
	if _, err := exec.LookPath("iptables-save"); err != nil {
		return nil, ErrMissing
	}
	out, err := run("", "iptables-save", "-M", "modprobe")
	if err != nil {
		return nil, err
	}
	return parse(out), nil
}

// parse reads what iptables-save(8) prints.
func parse(saved string) Tables {
	tables := Tables{}
	table := ""
	for line := range strings.Lines(saved) {
		line = strings.TrimRight(line, "\n")
		switch {
		case strings.HasPrefix(line, "*"):
			table = line[1:]
			tables[table] = map[string][]string{}
		case strings.HasPrefix(line, ":") && table != "":
			chain, _, _ := strings.Cut(line[1:], " ")
			tables[table][chain] = nil
		case strings.HasPrefix(line, "-A ") && table != "":
			chain, spec, _ := strings.Cut(line[3:], " ")
			tables[table][chain] = append(tables[table][chain], canonical(spec))
		}
	}
	return tables
}

// canonical undoes the only choice that iptables-save has: the name of protocol
// 4, if /etc/protocols has one.
func canonical(spec string) string {
	return strings.Replace(spec, "-p ipencap", "-p 4", 1)
}

func run(input, name string, args ...string) (string, error) {
	cmd := exec.Command(name, args...)
	cmd.Stdin = strings.NewReader(input)
	var out, errOut bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errOut
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("%s: %w: %s", name, err, strings.Join(strings.Fields(errOut.String()), " "))
	}
	return out.String(), nil
}

// change is a table's change: commands and those that take them back.
type change struct {
	table    string
	do, undo []string
}

func (c *change) add(do, undo string) {
	c.do = append(c.do, do)
	c.undo = append(c.undo, undo)
}

// step applies the change of one table at once.
func (c change) step() plan.Step {
	texts := make([]string, len(c.do))
	for i, command := range c.do {
		texts[i] = fmt.Sprintf("iptables -t %s %s", c.table, command)
	}
	undo := slices.Clone(c.undo)
	slices.Reverse(undo)
	undo = slices.DeleteFunc(undo, func(s string) bool { return s == "" })
	return plan.Step{
		Text: strings.Join(texts, "\n"),
		Do:   func() error { return restore(c.table, c.do) },
		Undo: func() error { return restore(c.table, undo) },
	}
}

func restore(table string, commands []string) error {
	if len(commands) == 0 {
		return nil
	}
	if _, err := exec.LookPath("iptables-restore"); err != nil {
		return ErrMissing
	}
	input := fmt.Sprintf("*%s\n%s\nCOMMIT\n", table, strings.Join(commands, "\n"))
	_, err := run(input, "iptables-restore", "--noflush", "-w", lockSeconds)
	return err
}

// Mode returns which kernel interface the host's iptables uses: "nf_tables" or
// "legacy".
func Mode() (string, error) {
	if _, err := exec.LookPath("iptables"); err != nil {
		return "", ErrMissing
	}
	ipt, err := iptables.New(iptables.IPFamily(iptables.ProtocolIPv4))
	if err != nil {
		return "", fmt.Errorf("iptables: %w", err)
	}
	major, minor, patch := ipt.GetIptablesVersion()
	if major == 1 && (minor < 6 || minor == 6 && patch < 2) {
		return "", fmt.Errorf("iptables %d.%d.%d is too old; 1.6.2 is needed", major, minor, patch)
	}
	out, err := run("", "iptables", "--version")
	if err != nil {
		return "", err
	}
	if strings.Contains(out, "nf_tables") {
		return "nf_tables", nil
	}
	return "legacy", nil
}
