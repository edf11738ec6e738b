package firewall

import (
	"os"
	"slices"
	"strings"
	"syscall"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"github.com/fanctl/fanctl/internal/sysctl"
)

// Around is what packets can meet on a host besides the rules that iptables prints. The
// zero value is nothing.
type Around struct {
	native  []nftChain // of all families
	other   ruleset    // of the iptables that "iptables" is not
	printed map[string]map[string]Chain
	unread  []string // what has rules, maybe, that no program here can print
	bridged bool     // iptables sees bridged packets
}

// LookAround reads what Obstacles needs besides the tables. On most hosts that is two dumps
// and two files. But where the other iptables has rules, it starts a program, which
// costs as much as Look: so it is for those who need it.
func LookAround(have Tables) (Around, error) {
	_, native, err := dumpNative(unix.NFPROTO_UNSPEC)
	if err != nil {
		return Around{}, err
	}
	a := Around{native: native, bridged: callsIPTables()}
	if have.legacy {
		a.other, a.printed = nftRules(native)
		return a, nil
	}
	a.printed = have.Chains
	a.other, a.unread = legacyRules()
	return a, nil
}

// nftRules has the rules printed that iptables over nftables has. What can't be
// printed is taken as nftables' own.
func nftRules(native []nftChain) (ruleset, map[string]map[string]Chain) {
	if !slices.ContainsFunc(native, func(c nftChain) bool { return c.ofIPTables() && c.acts() }) {
		return ruleset{}, nil
	}
	saved, err := call("", "iptables-nft-save")
	if err != nil {
		return ruleset{}, nil
	}
	chains := parse(saved)
	return ruleset{"iptables-nft", chains}, chains
}

// legacyRules has the rules printed that the tables of old have.
func legacyRules() (rules ruleset, unread []string) {
	names, err := os.ReadFile(legacyTables)
	if err != nil || len(names) == 0 {
		return ruleset{}, nil
	}
	saved, err := saveLegacy()
	if err != nil {
		for _, table := range slices.Sorted(strings.FieldsSeq(string(names))) {
			unread = append(unread, "iptables-legacy -t "+table+" (can't be read: "+err.Error()+")")
		}
	}
	return ruleset{"iptables-legacy", parse(saved)}, unread
}

// callsIPTables says whether iptables sees the packets of bridges: of all, or of one that
// was told so itself.
func callsIPTables() bool {
	value, err := sysctl.Read("net/bridge/bridge-nf-call-iptables")
	if err != nil {
		return false // without the module br_netfilter
	}
	return value != "0" || bridgeCalls()
}

// bridgeCalls says whether any bridge has nf_call_iptables. What can't be read counts for one.
func bridgeCalls() bool {
	r := nl.NewNetlinkRequest(unix.RTM_GETLINK, unix.NLM_F_DUMP)
	r.AddData(nl.NewIfInfomsg(unix.AF_UNSPEC))
	info := nl.NewRtAttr(unix.IFLA_LINKINFO, nil)
	info.AddRtAttr(nl.IFLA_INFO_KIND, nl.NonZeroTerminated("bridge"))
	r.AddData(info)
	links, err := r.Execute(unix.NETLINK_ROUTE, unix.RTM_NEWLINK)
	if err != nil {
		return true
	}
	return slices.ContainsFunc(links, func(m []byte) bool {
		list, err := nl.ParseRouteAttr(m[min(len(m), unix.SizeofIfInfomsg):])
		if err != nil {
			return true
		}
		for _, wanted := range []uint16{unix.IFLA_LINKINFO, nl.IFLA_INFO_DATA, unix.IFLA_BR_NF_CALL_IPTABLES} {
			i := slices.IndexFunc(list, func(a syscall.NetlinkRouteAttr) bool { return a.Attr.Type&nl.NLA_TYPE_MASK == wanted })
			if i < 0 {
				return false
			}
			if wanted == unix.IFLA_BR_NF_CALL_IPTABLES {
				return len(list[i].Value) == 0 || list[i].Value[0] != 0
			}
			if list, err = nl.ParseRouteAttr(list[i].Value); err != nil {
				return true
			}
		}
		return false
	})
}
