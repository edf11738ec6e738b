package features

import (
	"errors"
	"io/fs"
	"strings"

	"github.com/fanctl/fanctl/internal/firewall"
	"github.com/fanctl/fanctl/internal/kernel"
	"github.com/fanctl/fanctl/internal/sysctl"
)

func firewallProbes() []probe {
	const group = "firewall"
	program := func(name string) func(lab) answer {
		return func(lab) answer { return tryProgram(name) }
	}
	return []probe{
		{group, IPTables, "fans put their rules in by it", "there are no fans", program("iptables")},
		{group, "iptables-nft", "the rules can be in nftables", "only iptables itself counts", program("iptables-nft")},
		{group, "iptables-legacy", "the rules can be in the tables of old", "only iptables itself counts", program("iptables-legacy")},
		{group, NFTables, "iptables can keep its rules there", "iptables must be of the legacy kind", tryNFTables},
		{group, LegacyTables, "iptables of the legacy kind can keep its rules in the tables of old", "iptables must be over nftables", tryLegacyTables},
		{group, "firewall-rules", "rules of a fan come beside others", "rules of a fan will be the only ones", tryRules},
	}
}

func hostProbes() []probe {
	const group = "host"
	setting := func(path string) func(lab) answer {
		return func(lab) answer { return trySetting(path) }
	}
	return []probe{
		{group, "forwarding", "a fan has nothing to change", "the first fan turns it on, the last one off again", setting("net/ipv4/ip_forward")},
		{group, "bridge-firewall", "bridged packets pass iptables, those of vxlan between hosts too", "bridged packets do not pass iptables", setting("net/bridge/bridge-nf-call-iptables")},
	}
}

// tryProgram asks one of the programs of iptables what it is.
func tryProgram(name string) answer {
	version, err := firewall.Version(name)
	switch {
	case errors.Is(err, firewall.ErrMissing):
		return no("there is no such program")
	case err != nil:
		return unknown(err)
	}
	return yes("%s", version)
}

func tryNFTables(lab) answer {
	has, err := firewall.HasNFTables()
	switch {
	case err != nil:
		return unknown(err)
	case !has:
		return no("the kernel does not know of nftables")
	}
	return yes("")
}

func tryLegacyTables(lab) answer {
	has, err := firewall.HasLegacyTables()
	return legacyTables(has, err, kernel.Listed("ip_tables"))
}

// legacyTables reads what can be seen without loading a module, which the kernel does not
// do for those tables: iptables itself does, with its first rule.
func legacyTables(has bool, err error, listed bool) answer {
	switch {
	case err != nil:
		return unknown(err)
	case has:
		return yes("")
	case listed:
		return unknown(errors.New("there is a module, which iptables loads"))
	}
	return unknown(errors.New("they are not in the kernel, and there seems to be no module"))
}

func tryRules(lab) answer {
	native, legacy, err := firewall.TablesWithRules()
	if err != nil {
		return unknown(err)
	}
	var detail []string
	if len(native) > 0 {
		detail = append(detail, "nft: "+strings.Join(native, ", "))
	}
	if len(legacy) > 0 {
		detail = append(detail, "legacy: "+strings.Join(legacy, ", "))
	}
	if detail == nil {
		return no("no table has one")
	}
	return yes("%s", strings.Join(detail, "; "))
}

// trySetting reads a switch. One that is not there is off: what it switches is not in
// the kernel.
func trySetting(path string) answer {
	value, err := sysctl.Read(path)
	name := strings.ReplaceAll(path, "/", ".")
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return no("there is no %s", name)
	case err != nil:
		return unknown(err)
	case value == "0":
		return no("%s=0", name)
	}
	return yes("%s=%s", name, value)
}
