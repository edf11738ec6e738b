package firewall

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"github.com/fanctl/fanctl/internal/plan"
)

// iptables over nftables makes a table, and each of its base chains, when its
// first rule needs it, and it leaves them when the last rule goes. nft(8) would
// take a table with all that another program put into it meanwhile. The kernel
// itself can be asked to refuse that (NLM_F_NONREC), and to refuse if anything
// at all was changed since we looked (NFNL_BATCH_GENID). So we ask the kernel.

// accept is NF_ACCEPT, the policy of a chain that does nothing.
const accept = 1

// nftTable is one table of nftables.
type nftTable struct {
	family byte
	name   string
	use    uint32 // chains, sets and objects in it
}

// nftChain is one chain of nftables.
type nftChain struct {
	family      byte
	table, name string
	base        bool // the kernel calls it; others are only jumped to
	hook        uint32
	priority    int32
	devices     []string // of hooks that are devices'; a + at the end is any end
	policy      uint32
	use         uint32 // rules in it and jumps to it
}

// object names something to delete: a table, or a chain of it.
type object struct{ table, chain string }

// lookNative returns the IPv4 tables and base chains that nftables has. A kernel
// without nftables has none.
func lookNative() (map[string]bool, error) {
	tables, chains, err := dumpNative(unix.NFPROTO_IPV4)
	if err != nil {
		return nil, err
	}
	native := map[string]bool{}
	for _, t := range tables {
		native[t.name] = true
	}
	for _, c := range chains {
		if c.base {
			native[c.table+"."+c.name] = true
		}
	}
	return native, nil
}

// tidyPlan returns the step that removes tables and base chains that nobody
// uses. It has no way back: what they did, they do when they are not there.
func tidyPlan(names []string) plan.Plan {
	if len(names) == 0 {
		return nil
	}
	var text []string
	for _, name := range names {
		what := "nft delete table ip " + name
		if table, chain, one := strings.Cut(name, "."); one {
			what = fmt.Sprintf("nft delete chain ip %s %s", table, chain)
		}
		text = append(text, what)
	}
	return plan.Plan{{Text: strings.Join(text, "\n"), Do: func() error { return tidy(names) }}}
}

// tidy removes those of the tables and base chains that nobody uses.
func tidy(names []string) error {
	const times = 10
	err := error(nil)
	for range times {
		var generation []byte
		if generation, err = nftGeneration(); err != nil {
			return err
		}
		tables, chains, failed := dumpNative(unix.NFPROTO_IPV4)
		if failed != nil {
			return failed
		}
		objects := removable(names, tables, chains)
		if len(objects) == 0 {
			return nil
		}
		err = deleteNative(generation, objects)
		switch {
		case errors.Is(err, unix.ERESTART): // something changed after we looked
		case errors.Is(err, unix.EBUSY): // in use, by something that we don't know
			return nil
		default:
			return err
		}
	}
	return err
}

// removable returns what there is to delete of the named tables and base chains,
// a table's chains before the table. What has a rule or another policy stays.
func removable(names []string, tables []nftTable, chains []nftChain) []object {
	var objects []object
	for _, name := range names {
		table, chain, one := strings.Cut(name, ".")
		i := slices.IndexFunc(tables, func(t nftTable) bool { return t.name == table })
		if i < 0 {
			continue
		}
		free := true
		var found []object
		for _, c := range chains {
			if c.table == table && (!one || c.name == chain) {
				free = free && c.base && c.policy == accept && c.use == 0
				found = append(found, object{table, c.name})
			}
		}
		if !one {
			free = free && int(tables[i].use) == len(found)
			found = append(found, object{table: table})
		}
		if free {
			objects = append(objects, found...)
		}
	}
	return objects
}

// dumpNative returns the tables and chains of a family, or with NFPROTO_UNSPEC of all.
func dumpNative(family byte) ([]nftTable, []nftChain, error) {
	var tables []nftTable
	var chains []nftChain
	found, err := nftDump(family, unix.NFT_MSG_GETTABLE, unix.NFT_MSG_NEWTABLE)
	if err != nil {
		return nil, nil, err
	}
	for _, o := range found {
		tables = append(tables, nftTable{family: o.family, name: text(o.attrs[unix.NFTA_TABLE_NAME]), use: number(o.attrs[unix.NFTA_TABLE_USE])})
	}
	if found, err = nftDump(family, unix.NFT_MSG_GETCHAIN, unix.NFT_MSG_NEWCHAIN); err != nil {
		return nil, nil, err
	}
	for _, o := range found {
		hook, base := o.attrs[unix.NFTA_CHAIN_HOOK]
		c := nftChain{
			family: o.family, table: text(o.attrs[unix.NFTA_CHAIN_TABLE]), name: text(o.attrs[unix.NFTA_CHAIN_NAME]),
			base: base, policy: number(o.attrs[unix.NFTA_CHAIN_POLICY]), use: number(o.attrs[unix.NFTA_CHAIN_USE])}
		if err := c.readHook(hook); err != nil {
			return nil, nil, fmt.Errorf("list nftables: %w", err)
		}
		chains = append(chains, c)
	}
	return tables, chains, nil
}

// nftObject is what the kernel tells of one object of nftables.
type nftObject struct {
	family byte
	attrs  map[uint16][]byte
}

// nftDump asks for all objects of a kind. It asks again when the ruleset changed in
// between.
func nftDump(family byte, ask, answer int) ([]nftObject, error) {
	const times = 10
	var messages [][]byte
	var err error
	for range times {
		messages, err = nftRequestOf(family, ask, unix.NLM_F_DUMP).Execute(unix.NETLINK_NETFILTER, uint16(nftMessage(answer)))
		if !errors.Is(err, netlink.ErrDumpInterrupted) {
			break
		}
	}
	switch {
	case errors.Is(err, unix.EPROTONOSUPPORT), errors.Is(err, unix.EOPNOTSUPP), errors.Is(err, unix.EINVAL):
		return nil, nil // the kernel has no nftables
	case err != nil:
		return nil, fmt.Errorf("list nftables: %w", err)
	}
	list := make([]nftObject, 0, len(messages))
	for _, m := range messages {
		attrs, err := attributes(m)
		if err != nil {
			return nil, fmt.Errorf("list nftables: %w", err)
		}
		list = append(list, nftObject{m[0], attrs}) // struct nfgenmsg begins with the family
	}
	return list, nil
}

func attributes(message []byte) (map[uint16][]byte, error) {
	if len(message) < nl.SizeofNfgenmsg {
		return nil, unix.EBADMSG
	}
	list, err := nl.ParseRouteAttr(message[nl.SizeofNfgenmsg:])
	if err != nil {
		return nil, err
	}
	attrs := map[uint16][]byte{}
	for _, a := range list {
		attrs[a.Attr.Type&nl.NLA_TYPE_MASK] = a.Value
	}
	return attrs, nil
}

// nftGeneration returns the number of the ruleset, which every change changes.
func nftGeneration() ([]byte, error) {
	messages, err := nftRequest(unix.NFT_MSG_GETGEN, 0).Execute(unix.NETLINK_NETFILTER, uint16(nftMessage(unix.NFT_MSG_NEWGEN)))
	if err != nil || len(messages) == 0 {
		return nil, fmt.Errorf("read generation of nftables: %w", errors.Join(err, unix.ENODATA))
	}
	attrs, err := attributes(messages[0])
	return attrs[unix.NFTA_GEN_ID], err
}

func nftMessage(kind int) int { return unix.NFNL_SUBSYS_NFTABLES<<8 | kind }

// nftRequest asks for something of IPv4, to which iptables belongs.
func nftRequest(kind, flags int) *nl.NetlinkRequest {
	return nftRequestOf(unix.NFPROTO_IPV4, kind, flags)
}

func nftRequestOf(family byte, kind, flags int) *nl.NetlinkRequest {
	r := nl.NewNetlinkRequest(nftMessage(kind), flags)
	r.AddData(&nl.Nfgenmsg{NfgenFamily: family, Version: nl.NFNETLINK_V0})
	return r
}

func text(value []byte) string { return unix.ByteSliceToString(value) }

// number reads a number of nftables, which are big-endian; 0 if it is not there.
func number(value []byte) uint32 {
	if len(value) != 4 {
		return 0
	}
	return binary.BigEndian.Uint32(value)
}
