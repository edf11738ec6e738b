package kernel

import (
	"errors"
	"fmt"
	"net"
	"net/netip"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Rule is one rule that says which routing table packets are led by
// (ip-rule(8)). Rules of other kinds are left out.
type Rule struct {
	Table    int
	From, To netip.Prefix // zero: any
	// Not says that the rule is for the packets that do not match.
	Not bool
	// Never says that it asks for what the packets of a tunnel don't have: a mark, or a
	// device that a socket is bound to ("oif").
	Never bool
	// Input names the device by which packets have come in, "lo" for those of this
	// host; "" for any.
	Input string
	// More says that it asks for something else that is not told here, such as a
	// port.
	More bool
	// Suppress is the length of mask up to which the table's routes do not count; -1
	// for none.
	Suppress int
}

// lookRules adds the rules in their order.
func (s *State) lookRules(h *netlink.Handle) error {
	rules, err := listRules(h, unix.AF_INET)
	if err != nil {
		return err
	}
	for _, r := range rules {
		if r.Table != unix.RT_TABLE_UNSPEC && r.Table != unix.RT_TABLE_LOCAL && r.Goto < 0 {
			s.Rules = append(s.Rules, ruleFrom(r))
		}
	}
	return nil
}

// listRules returns the rules of a family. A kernel without them has the table main and
// no other; one that has rules of other families only says so in other words.
func listRules(h *netlink.Handle, family int) ([]netlink.Rule, error) {
	rules, err := retry(func() ([]netlink.Rule, error) { return h.RuleList(family) })
	if errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.EAFNOSUPPORT) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list routing rules: %w", err)
	}
	return rules, nil
}

func ruleFrom(r netlink.Rule) Rule {
	rule := Rule{Table: r.Table, Not: r.Invert, Never: r.Mark != 0 || r.OifName != "", Input: r.IifName, Suppress: r.SuppressPrefixlen}
	rule.From, rule.To = rulePrefix(r.Src), rulePrefix(r.Dst)
	rule.More = r.Tos != 0 || r.TunID != 0 || r.IPProto != 0 || r.Dport != nil || r.Sport != nil ||
		r.UIDRange != nil || r.SuppressIfgroup >= 0
	return rule
}

func rulePrefix(n *net.IPNet) netip.Prefix {
	if n == nil {
		return netip.Prefix{}
	}
	return prefixFrom(n)
}
