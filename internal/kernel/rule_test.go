package kernel

import (
	"net"
	"net/netip"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

func TestRuleFromNetlink(t *testing.T) {
	network := func(s string) *net.IPNet {
		_, n, err := net.ParseCIDR(s)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	for name, test := range map[string]struct {
		change func(*netlink.Rule)
		want   Rule
	}{
		"any":        {func(*netlink.Rule) {}, Rule{Table: 100, Suppress: -1}},
		"from":       {func(r *netlink.Rule) { r.Src = network("10.0.0.11/32") }, Rule{Table: 100, From: netip.MustParsePrefix("10.0.0.11/32"), Suppress: -1}},
		"to":         {func(r *netlink.Rule) { r.Dst = network("10.0.0.0/16") }, Rule{Table: 100, To: netip.MustParsePrefix("10.0.0.0/16"), Suppress: -1}},
		"not marked": {func(r *netlink.Rule) { r.Mark, r.Invert = 0xca6c, true }, Rule{Table: 100, Never: true, Not: true, Suppress: -1}},
		"iif":        {func(r *netlink.Rule) { r.IifName = "lo" }, Rule{Table: 100, Input: "lo", Suppress: -1}},
		"oif":        {func(r *netlink.Rule) { r.OifName = "eth1" }, Rule{Table: 100, Never: true, Suppress: -1}},
		"not oif":    {func(r *netlink.Rule) { r.OifName, r.Invert = "eth1", true }, Rule{Table: 100, Never: true, Not: true, Suppress: -1}},
		"port":       {func(r *netlink.Rule) { r.Dport = netlink.NewRulePortRange(8472, 8472) }, Rule{Table: 100, More: true, Suppress: -1}},
		"protocol":   {func(r *netlink.Rule) { r.IPProto = 4 }, Rule{Table: 100, More: true, Suppress: -1}},
		"suppress":   {func(r *netlink.Rule) { r.SuppressPrefixlen = 0 }, Rule{Table: 100}},
	} {
		r := netlink.NewRule()
		r.Table = 100
		test.change(r)
		if got := ruleFrom(*r); got != test.want {
			t.Errorf("%s: %+v, want %+v", name, got, test.want)
		}
	}
}

// The rules of a new namespace are those of local, which is left out, main and default.
// A family without rules has none.
func TestLookRules(t *testing.T) {
	h, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	var s State
	if err := s.lookRules(h); err != nil {
		t.Fatal(err)
	}
	main := false
	for _, r := range s.Rules {
		main = main || r == Rule{Table: unix.RT_TABLE_MAIN, Suppress: -1}
		if r.Table == unix.RT_TABLE_LOCAL {
			t.Errorf("the table local is one of %+v", s.Rules)
		}
	}
	if !main {
		t.Errorf("the table main is none of %+v", s.Rules)
	}
	if rules, err := listRules(h, unix.AF_APPLETALK); err != nil || len(rules) > 0 {
		t.Errorf("the rules of a family without are %v, %v", rules, err)
	}
}
