package firewall

import (
	"slices"
	"strings"
	"testing"
)

// bothWays are the obstacles of a fan of type ipip and of one of type vxlan.
func bothWays(t *testing.T) (ipip, vxlan string) {
	t.Helper()
	have := look(t)
	around, err := LookAround(have)
	if err != nil {
		t.Fatal(err)
	}
	return strings.Join(have.Obstacles(ipipPassage(), around), "\n"), strings.Join(have.Obstacles(vxlanPassage(), around), "\n")
}

// onKernel runs commands in a namespace with the fan's devices and compares what is in
// the way, a line each.
func onKernel(t *testing.T, commands, ipip, vxlan string) {
	t.Helper()
	inNamespace(t, func() {
		output(t, "sh", "-ec", "ip link add fan-250 type bridge; ip link add ftun-250 type veth peer name other; "+
			"ip link add veth1 type veth peer name veth2; ip link set veth1 master fan-250")
		output(t, "sh", "-ec", commands)
		gotIPIP, gotVXLAN := bothWays(t)
		equal(t, "ipip:", gotIPIP, strings.TrimSpace(ipip))
		equal(t, "vxlan:", gotVXLAN, strings.TrimSpace(vxlan))
	})
}

// lxdNative and dockerNative are what LXD and Docker have in nftables for one bridge.
const (
	lxdNative = `nft -f - <<'.'
table inet lxd {
	chain pstrt.BRIDGE { type nat hook postrouting priority 100; policy accept; ip saddr 10.9.8.0/24 ip daddr != 10.9.8.0/24 masquerade; }
	chain fwd.BRIDGE { type filter hook forward priority 0; policy accept; oifname "BRIDGE" accept; iifname "BRIDGE" accept; }
	chain in.BRIDGE { type filter hook input priority 0; policy accept; iifname "BRIDGE" udp dport 67 accept; }
	chain out.BRIDGE { type filter hook output priority 0; policy accept; oifname "BRIDGE" udp sport 67 accept; }
}
.
`
	dockerNative = `nft -f - <<'.'
table ip docker-bridges {
	map filter-forward-in-jumps { type ifname : verdict; elements = { "BRIDGE" : jump filter-forward-in__BRIDGE }; }
	chain filter-forward-in__BRIDGE { counter drop comment "UNPUBLISHED PORT DROP"; }
	chain filter-FORWARD { type filter hook forward priority 0; policy accept; oifname vmap @filter-forward-in-jumps; }
	chain nat-PREROUTING { type nat hook prerouting priority -100; policy accept; fib daddr type local counter; }
	chain raw-PREROUTING { type filter hook prerouting priority -300; policy accept; }
}
.
`
)

// natives are commands, and what is in the way of a fan of type ipip and of vxlan.
func natives() map[string][3]string {
	const chain = `add chain X c { type filter hook HOOK priority 0; }`
	rule := func(table, hook string) string {
		return "nft add table " + table + "; nft '" + strings.NewReplacer("X", table, "HOOK", hook).Replace(chain) + "'; nft add rule " + table + " c counter"
	}
	const own = "nft table inet fw chain c"
	return map[string][3]string{
		"nothing":                {"true", "", ""},
		"Debian's nftables.conf": {`for h in input forward output; do nft "add table inet filter; add chain inet filter $h { type filter hook $h priority filter; }"; done`, "", ""},
		"a rule of inet":         {rule("inet fw", "forward"), own, own},
		"prerouting":             {rule("inet fw", "prerouting"), own, own},
		"postrouting":            {rule("inet fw", "postrouting"), own, own},
		"input":                  {rule("inet fw", "input"), "", ""},
		"ip":                     {rule("ip fw", "forward"), "nft table ip fw chain c", "nft table ip fw chain c"},
		"ip6 and arp":            {rule("ip6 fw", "forward") + ";" + rule("arp fw", "input"), "", ""},
		"a policy":               {"nft 'add table inet fw; add chain inet fw c { type filter hook forward priority 5; policy drop; }'", own, own},
		"firewalld": {"nft 'add table inet firewalld; add chain inet firewalld filter_FORWARD { type filter hook forward priority 10; }; add chain inet firewalld z; " +
			"add rule inet firewalld z reject; add rule inet firewalld filter_FORWARD jump z'",
			"nft table inet firewalld chain filter_FORWARD", "nft table inet firewalld chain filter_FORWARD"},
		"a bridge's":        {rule("bridge fw", "forward"), "nft table bridge fw chain c", "nft table bridge fw chain c"},
		"to a bridge":       {rule("bridge fw", "input"), "nft table bridge fw chain c", ""},
		"ebtables":          {"ebtables-nft -A FORWARD -i veth1 -j DROP", "nft table bridge filter chain FORWARD", "nft table bridge filter chain FORWARD"},
		"a port's":          {"nft 'add table netdev fw; add chain netdev fw c { type filter hook ingress device veth1 priority 0; policy drop; }'", "nft table netdev fw chain c", "nft table netdev fw chain c"},
		"ports'":            {"nft 'add table netdev fw; add chain netdev fw c { type filter hook ingress devices = { other, veth1 } priority 0; policy drop; }'", "nft table netdev fw chain c", "nft table netdev fw chain c"},
		"a stranger's":      {"nft 'add table netdev fw; add chain netdev fw c { type filter hook ingress device other priority 0; policy drop; }'", "", ""},
		"inet's of a port":  {"nft 'add table inet fw; add chain inet fw c { type filter hook ingress device veth1 priority 0; policy drop; }'", own, own},
		"LXD":               {strings.ReplaceAll(lxdNative, "BRIDGE", "lxdbr0"), "", ""},
		"Incus":             {strings.NewReplacer("BRIDGE", "incusbr0", "inet lxd", "inet incus").Replace(lxdNative), "", ""},
		"LXD's of the fan":  {strings.ReplaceAll(lxdNative, "BRIDGE", "fan-250"), "nft table inet lxd chain pstrt.fan-250\nnft table inet lxd chain fwd.fan-250", "nft table inet lxd chain pstrt.fan-250\nnft table inet lxd chain fwd.fan-250"},
		"Docker":            {strings.ReplaceAll(dockerNative, "BRIDGE", "docker0"), "", ""},
		"Docker of the fan": {strings.ReplaceAll(dockerNative, "BRIDGE", "fan-250"), "nft table ip docker-bridges chain filter-FORWARD\nnft table ip docker-bridges chain nat-PREROUTING", "nft table ip docker-bridges chain filter-FORWARD\nnft table ip docker-bridges chain nat-PREROUTING"},
		"a table like iptables'": {"nft 'add table ip filter; add chain ip filter forward { type filter hook forward priority 0; policy drop; }'",
			"nft table ip filter chain forward", "nft table ip filter chain forward"},
		"what iptables can't print": {"iptables-nft -A FORWARD -j ACCEPT; nft add rule ip filter FORWARD fib daddr type local drop",
			"nft table ip filter chain FORWARD", "nft table ip filter chain FORWARD"},
		"iptables": {"iptables-nft -A FORWARD -s 250.0.0.0/9 -j DROP", "iptables -t filter -A FORWARD -s 250.0.0.0/9 -j DROP", "iptables -t filter -A FORWARD -s 250.0.0.0/9 -j DROP"},
		"legacy": {"iptables-nft -A FORWARD -j ACCEPT; iptables-legacy -A FORWARD -s 250.0.0.0/9 -j DROP; iptables-legacy -t nat -A POSTROUTING -o eth0 -j MASQUERADE",
			"iptables-legacy -t filter -A FORWARD -s 250.0.0.0/9 -j DROP", "iptables-legacy -t filter -A FORWARD -s 250.0.0.0/9 -j DROP"},
		"legacy policy": {"iptables-legacy -P FORWARD DROP", "iptables-legacy -t filter -P FORWARD DROP", "iptables-legacy -t filter -P FORWARD DROP"},
	}
}

// What other tables than iptables' have is found on the kernel, and looking makes nothing.
func TestObstaclesOnKernel(t *testing.T) {
	for name, set := range natives() {
		t.Run(name, func(t *testing.T) { onKernel(t, set[0]+"\n"+bridgedOn, set[1], set[2]) })
	}
}

const bridgedOn = "sysctl -qw net.bridge.bridge-nf-call-iptables=1"

// What iptables and IPv4's chains have counts for bridged packets only where those are led to
// them, by all bridges or by one.
func TestObstaclesOfBridged(t *testing.T) {
	const rules = "nft 'add table inet fw; add chain inet fw c { type filter hook forward priority 0; policy drop; }'; iptables-nft -P FORWARD DROP; iptables-legacy -P FORWARD DROP; " +
		"nft 'add table bridge fw; add chain bridge fw c { type filter hook forward priority 0; policy drop; }'; "
	const all = "iptables -t filter -P FORWARD DROP\niptables-legacy -t filter -P FORWARD DROP\nnft table bridge fw chain c\nnft table inet fw chain c"
	for setting, vxlan := range map[string]string{
		"sysctl -qw net.bridge.bridge-nf-call-iptables=1":                                                     all,
		"sysctl -qw net.bridge.bridge-nf-call-iptables=0":                                                     "nft table bridge fw chain c",
		"sysctl -qw net.bridge.bridge-nf-call-iptables=0; ip link set fan-250 type bridge nf_call_iptables 1": all,
	} {
		t.Run(setting, func(t *testing.T) {
			inNamespace(t, func() {
				output(t, "sh", "-ec", "ip link add fan-250 type bridge; "+rules+setting)
				ipip, bridged := bothWays(t)
				equal(t, "ipip:", sorted(ipip), all)
				equal(t, "vxlan:", sorted(bridged), vxlan)
			})
		})
	}
}

// Where iptables is the older one, the rules of the younger are found, and where no program
// can print them, too.
func TestObstaclesOverLegacy(t *testing.T) {
	const rules = "iptables-legacy -A FORWARD -s 250.0.0.0/9 -j DROP; iptables-nft -A FORWARD -d 250.0.0.0/9 -j REJECT; iptables-nft -t nat -A POSTROUTING -o eth0 -j MASQUERADE; " + bridgedOn
	const legacy = "iptables -t filter -A FORWARD -s 250.0.0.0/9 -j DROP\n"
	withLegacy(t)
	printed := legacy + "iptables-nft -t filter -A FORWARD -d 250.0.0.0/9 -j REJECT --reject-with icmp-port-unreachable"
	onKernel(t, rules, printed, printed)
}

// sorted is lines in order.
func sorted(lines string) string {
	return strings.Join(slices.Sorted(strings.SplitSeq(lines, "\n")), "\n")
}
