package firewall

import (
	"errors"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

func TestWithRules(t *testing.T) {
	for saved, want := range map[string]string{
		"": "",
		"*filter\n:INPUT ACCEPT [0:0]\n:MINE - [0:0]\nCOMMIT\n":                                                           "",
		"*filter\n:INPUT DROP [0:0]\nCOMMIT\n":                                                                            "filter",
		"*nat\n:MINE - [0:0]\n-A MINE -j RETURN\nCOMMIT\n*mangle\n:INPUT ACCEPT [0:0]\n*filter\n-A INPUT -j DROP\nCOMMIT": "filter nat",
	} {
		if got := strings.Join(withRules(parse(saved)), " "); got != want {
			t.Errorf("%q has rules in %q, want %q", saved, got, want)
		}
	}
}

func TestOverNFTables(t *testing.T) {
	for version, want := range map[string]bool{"v1.8.9 (nf_tables)": true, "v1.8.9 (legacy)": false, "v1.6.0": false, "": false} {
		if got := OverNFTables(version); got != want {
			t.Errorf("%q: %t", version, got)
		}
	}
}

func TestVersion(t *testing.T) {
	if _, err := Version("iptables-that-is-not-there"); !errors.Is(err, ErrMissing) {
		t.Errorf("a program that is not there: %v", err)
	}
	if _, err := find("iptables"); err != nil {
		t.Skip("needs iptables")
	}
	want := strings.TrimPrefix(strings.TrimSpace(output(t, "iptables", "--version")), "iptables ")
	if got, err := Version("iptables"); err != nil || got != want {
		t.Errorf("iptables is %q, %v; want %q", got, err, want)
	}
}

// The tables of either kind are told apart, and looking makes none.
func TestTablesWithRules(t *testing.T) {
	inNamespace(t, func() {
		check := func(when string, native, legacy []string) {
			t.Helper()
			gotNative, gotLegacy, err := TablesWithRules()
			if err != nil || !slices.Equal(gotNative, native) || !slices.Equal(gotLegacy, legacy) {
				t.Errorf("%s: %q, %q, %v; want %q, %q", when, gotNative, gotLegacy, err, native, legacy)
			}
		}
		has, err := HasNFTables()
		if _, failed := exec.Command("nft", "list", "tables").Output(); has != (failed == nil) || err != nil {
			t.Errorf("the kernel has nftables: %t, %v; nft says %v", has, err, failed)
		}
		check("nothing", nil, nil)
		hasOld, err := HasLegacyTables()
		if _, missing := os.Stat("/proc/net/ip_tables_names"); hasOld != (missing == nil) || err != nil {
			t.Errorf("the kernel has the tables of old: %t, %v", hasOld, err)
		}
		output(t, "iptables-legacy", "-t", "raw", "-A", "PREROUTING", "-i", "lo", "-j", "ACCEPT")
		output(t, "iptables-legacy", "-t", "filter", "-S")
		check("a legacy rule", nil, []string{"raw"})
		if has, err := HasLegacyTables(); !has || err != nil {
			t.Errorf("with a legacy rule, the kernel has the tables of old: %t, %v", has, err)
		}
		output(t, "iptables-nft", "-t", "nat", "-A", "POSTROUTING", "-o", "lo", "-j", "ACCEPT")
		output(t, "iptables-nft", "-t", "filter", "-N", "MINE")
		check("rules of both kinds", []string{"ip nat"}, []string{"raw"})
		output(t, "iptables-legacy", "-t", "raw", "-F")
		output(t, "iptables-nft", "-t", "nat", "-F")
		check("none any more", nil, nil)
		output(t, "iptables-nft", "-P", "FORWARD", "DROP")
		check("a policy", []string{"ip filter"}, nil)
		output(t, "iptables-nft", "-P", "FORWARD", "ACCEPT")
		// As Debian's nftables.conf and firewalld have it, and what is not of IPv4.
		for _, table := range []string{"inet filter", "inet firewalld", "ip6 filter", "bridge filter"} {
			output(t, "nft", "add table "+table)
			output(t, "nft", "add chain "+table+" forward { type filter hook forward priority 0; }")
		}
		check("tables without rules", nil, nil)
		for _, rule := range []string{"inet firewalld forward accept", "ip6 filter forward accept", "bridge filter forward accept"} {
			output(t, "nft", "add rule "+rule)
		}
		check("rules of other families", []string{"inet firewalld"}, nil)
		output(t, "nft", "chain inet filter forward { policy drop; }")
		check("a policy of inet", []string{"inet filter", "inet firewalld"}, nil)
	})
}
