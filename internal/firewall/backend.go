package firewall

import (
	"errors"
	"io/fs"
	"maps"
	"os"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// overNFTables is what versions of iptables say of themselves that keep rules in
// nftables. The others say "legacy" or, before 1.8, nothing.
const overNFTables = "nf_tables"

// Version asks a program of the package iptables what it is: "v1.8.9 (nf_tables)". The
// error is ErrMissing if it is not there.
func Version(program string) (string, error) {
	out, err := call("", program, "--version")
	if err != nil {
		return "", err
	}
	_, version, _ := strings.Cut(strings.TrimSpace(out), " ")
	return version, nil
}

// OverNFTables says whether a program of that version keeps its rules in nftables.
func OverNFTables(version string) bool { return strings.Contains(version, overNFTables) }

// HasNFTables says whether the kernel has nftables. The kernel loads its module if
// there is one. It takes privilege (unix.EPERM).
func HasNFTables() (bool, error) {
	_, err := nftGeneration()
	for _, missing := range []error{unix.EPROTONOSUPPORT, unix.EOPNOTSUPP, unix.EINVAL} {
		if errors.Is(err, missing) {
			return false, nil
		}
	}
	return err == nil, err
}

// TablesWithRules returns the names of the tables that have rules for IPv4, or drop
// what has none: in nftables, as nft calls them ("inet filter"), and in the tables of
// old, in order. It makes no table, and takes privilege (unix.EPERM).
func TablesWithRules() (native, legacy []string, err error) {
	tables, chains, err := dumpNative(unix.NFPROTO_UNSPEC)
	if err != nil {
		return nil, nil, err
	}
	native = nativeWithRules(tables, chains)
	legacy, err = legacyWithRules()
	return native, legacy, err
}

// nativeWithRules is withRules of nftables.
func nativeWithRules(tables []nftTable, chains []nftChain) []string {
	families := map[byte]string{unix.NFPROTO_IPV4: "ip", unix.NFPROTO_INET: "inet"}
	var names []string
	for _, t := range tables {
		family, ofIPv4 := families[t.family]
		if ofIPv4 && slices.ContainsFunc(chains, func(c nftChain) bool {
			return c.family == t.family && c.table == t.name && (c.use > 0 || c.base && c.policy != accept)
		}) {
			names = append(names, family+" "+t.name)
		}
	}
	slices.Sort(names)
	return names
}

// legacyTables names the tables of old that the network namespace has. The file is
// there with the kernel's module.
const legacyTables = "/proc/thread-self/net/ip_tables_names"

// HasLegacyTables says whether the kernel has the tables of old now. It loads nothing:
// their module comes with the first rule.
func HasLegacyTables() (bool, error) {
	_, err := os.Stat(legacyTables)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}

// legacyWithRules reads the tables of old. Without a program that can, those that
// there are have to do for those with rules.
func legacyWithRules() ([]string, error) {
	names, err := os.ReadFile(legacyTables)
	if errors.Is(err, fs.ErrNotExist) || err == nil && len(names) == 0 {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	saved, err := saveLegacy()
	if errors.Is(err, ErrMissing) {
		return slices.Sorted(strings.FieldsSeq(string(names))), nil
	}
	return withRules(parse(saved)), err
}

// saveLegacy has the tables of old printed that there are. Before iptables 1.8 there
// was nothing else to print.
func saveLegacy() (string, error) {
	saved, err := call("", "iptables-legacy-save")
	if !errors.Is(err, ErrMissing) {
		return saved, err
	}
	version, err := Version("iptables")
	if err != nil {
		return "", err
	}
	if OverNFTables(version) {
		return "", ErrMissing
	}
	return call("", "iptables-save")
}

// withRules returns the tables that have a rule or drop what has none, in order.
func withRules(tables map[string]map[string]Chain) []string {
	var names []string
	for _, table := range slices.Sorted(maps.Keys(tables)) {
		for _, c := range tables[table] {
			if len(c.Rules) > 0 || c.Policy == "DROP" {
				names = append(names, table)
				break
			}
		}
	}
	return names
}
