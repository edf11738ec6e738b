package firewall

import (
	"slices"
	"strings"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// hookIngress is NF_INET_INGRESS, which netlink's names lack.
const hookIngress = unix.NF_INET_NUMHOOKS

// seesIPv4 says whether the passage's packets meet the chains of IPv4.
func (a Around) seesIPv4(p Passage) bool { return !p.Bridged || a.bridged }

// nativeObstacles returns the base chains of nftables itself that such packets meet, and
// that have rules or drop.
func (a Around) nativeObstacles(p Passage) []string {
	var found []string
	for _, c := range a.native {
		if c.acts() && c.meets(p, a.seesIPv4(p)) && !a.hasPrinted(c) && !a.harmless(c, p) {
			found = append(found, "nft table "+families()[c.family]+" "+c.table+" chain "+c.name)
		}
	}
	return found
}

func families() map[byte]string {
	return map[byte]string{unix.NFPROTO_INET: "inet", unix.NFPROTO_IPV4: "ip", unix.NFPROTO_ARP: "arp",
		unix.NFPROTO_NETDEV: "netdev", unix.NFPROTO_BRIDGE: "bridge", unix.NFPROTO_IPV6: "ip6"}
}

// acts says whether the kernel gives packets to the chain and it does anything with them.
func (c nftChain) acts() bool { return c.base && (c.use > 0 || c.policy != accept) }

// meets says whether a passage's packets come to the base chain. Bridges see those that are
// routed as well: as frames to the host and from it.
func (c nftChain) meets(p Passage, seesIPv4 bool) bool {
	onTheWay := slices.Contains([]uint32{unix.NF_INET_PRE_ROUTING, unix.NF_INET_FORWARD, unix.NF_INET_POST_ROUTING}, c.hook)
	switch c.family {
	case unix.NFPROTO_NETDEV:
		return c.onDeviceOf(p)
	case unix.NFPROTO_INET:
		return c.hook == hookIngress && c.onDeviceOf(p) || onTheWay && seesIPv4
	case unix.NFPROTO_IPV4:
		return onTheWay && seesIPv4
	case unix.NFPROTO_BRIDGE:
		return onTheWay || !p.Bridged
	}
	return false
}

func (c nftChain) onDeviceOf(p Passage) bool {
	return slices.ContainsFunc(c.devices, func(pattern string) bool {
		return slices.ContainsFunc(p.Devices, func(d string) bool { return onDevice(pattern, d) == always })
	})
}

// ofIPTables says whether the base chain is one that iptables makes.
func (c nftChain) ofIPTables() bool {
	hooks := map[string]uint32{"PREROUTING": unix.NF_INET_PRE_ROUTING, "INPUT": unix.NF_INET_LOCAL_IN, "FORWARD": unix.NF_INET_FORWARD,
		"OUTPUT": unix.NF_INET_LOCAL_OUT, "POSTROUTING": unix.NF_INET_POST_ROUTING}
	priorities := map[string][]int32{"raw": {-300}, "mangle": {-150}, "nat": {-100, 100}, "filter": {0}, "security": {50}}
	hook, builtin := hooks[c.name]
	return c.family == unix.NFPROTO_IPV4 && builtin && c.hook == hook && slices.Contains(priorities[c.table], c.priority)
}

// hasPrinted says whether the chain's rules are among those that iptables prints. It prints
// nothing of a table with rules that it does not understand.
func (a Around) hasPrinted(c nftChain) bool {
	_, there := a.printed[c.table][c.name]
	return there && c.ofIPTables()
}

// harmless says whether the chain is one that LXD, Incus or Docker has for its own bridges,
// by its name. LXD's and Incus' end with the bridge's ("fwd.lxdbr0"), and so do those of
// Docker's ("filter-forward-in__docker0") to which its base chains lead, by maps of
// devices.
func (a Around) harmless(c nftChain, p Passage) bool {
	ofIPv4 := c.family == unix.NFPROTO_INET || c.family == unix.NFPROTO_IPV4
	if !ofIPv4 || c.policy != accept {
		return false
	}
	switch c.table {
	case "lxd", "incus":
		_, device, _ := strings.Cut(c.name, ".")
		return device != "" && !strings.Contains(device, ".") && !slices.Contains(p.Devices, device)
	case "docker-bridges":
		return !slices.ContainsFunc(a.native, func(other nftChain) bool {
			_, device, _ := strings.Cut(other.name, "__")
			return other.family == c.family && other.table == c.table && slices.Contains(p.Devices, device)
		})
	}
	return false
}

// readHook reads where a base chain is.
func (c *nftChain) readHook(value []byte) error {
	// enum nft_hook_attributes, enum nft_devices_attributes
	const hookDevice, hookDevices, deviceName, devicePrefix = 3, 4, 1, 2
	list, err := nl.ParseRouteAttr(value)
	if err != nil {
		return err
	}
	for _, a := range list {
		switch a.Attr.Type & nl.NLA_TYPE_MASK {
		case unix.NFTA_HOOK_HOOKNUM:
			c.hook = number(a.Value)
		case unix.NFTA_HOOK_PRIORITY:
			c.priority = int32(number(a.Value))
		case hookDevice:
			c.devices = append(c.devices, text(a.Value))
		case hookDevices:
			devices, err := nl.ParseRouteAttr(a.Value)
			if err != nil {
				return err
			}
			for _, d := range devices {
				switch d.Attr.Type & nl.NLA_TYPE_MASK {
				case deviceName:
					c.devices = append(c.devices, text(d.Value))
				case devicePrefix:
					c.devices = append(c.devices, text(d.Value)+"+")
				}
			}
		}
	}
	return nil
}
