package firewall

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
)

func isFanChain(chain string) bool { return strings.HasPrefix(chain, "FAN-") }

func ipipPassage() Passage {
	return Passage{Overlay: netip.MustParsePrefix("250.0.0.0/8"), Local: []netip.Addr{netip.MustParseAddr("250.0.45.1")},
		Devices: []string{"fan-250", "ftun-250", "veth1", "veth2"}, Own: isFanChain}
}

func vxlanPassage() Passage {
	p := ipipPassage()
	p.Bridged = true
	return p
}

// fanRules are those of the fan 250.0.0.0/8 of a host, with another fan, by table.
const (
	fanFilter = `
-A FAN-FORWARD -d 251.0.0.0/8 -i fan-251 -j ACCEPT
-A FAN-FORWARD -i fan-251 -o eth0 -j ACCEPT
-A FAN-FORWARD -d 250.0.0.0/8 -i fan-250 -j ACCEPT
-A FAN-FORWARD -s 250.0.0.0/8 -i ftun-250 -j ACCEPT
-A FAN-FORWARD -i fan-250 -o fan-250 -j ACCEPT
-A FAN-FORWARD -o fan-250 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A FAN-FORWARD -i fan-250 -o eth0 -j ACCEPT
`
	fanNAT = `
-A POSTROUTING -j FAN-POSTROUTING
-A FAN-POSTROUTING -s 251.0.45.0/24 -d 251.0.0.0/8 -j ACCEPT
-A FAN-POSTROUTING -s 251.0.45.0/24 ! -o fan-251 -j MASQUERADE
-A FAN-POSTROUTING -s 250.0.45.0/24 -d 250.0.0.0/8 -j ACCEPT
-A FAN-POSTROUTING -s 250.0.45.0/24 ! -o fan-250 -j MASQUERADE
`
	fanRaw = `
*raw
-A PREROUTING -i ftun+ -j FAN-PREROUTING
-A FAN-PREROUTING -s 250.0.0.0/8 -j ACCEPT
`
	fanFirst = "*filter\n:FORWARD DROP [0:0]\n-A FORWARD -j FAN-FORWARD" + fanFilter
	fan      = fanFirst + "*nat\n:POSTROUTING ACCEPT [0:0]" + fanNAT
)

// ruleSet is rules of a host and what is in the way of its fan of a type.
type ruleSet struct {
	saved       string // as iptables-save prints it
	ipip, vxlan string // obstacles, a line each
}

func TestObstacles(t *testing.T) {
	for _, sets := range []map[string]ruleSet{hosts(), operators(), orders(), matches()} {
		for name, set := range sets {
			t.Run(name, func(t *testing.T) {
				have := Tables{Chains: parse(set.saved)}
				expect(t, "ipip", have.Obstacles(ipipPassage(), Around{}), set.ipip)
				expect(t, "vxlan", have.Obstacles(vxlanPassage(), Around{bridged: true}), set.vxlan)
				expect(t, "vxlan past iptables", have.Obstacles(vxlanPassage(), Around{}), "")
			})
		}
	}
}

func expect(t *testing.T, what string, got []string, want string) {
	t.Helper()
	if got := strings.Join(got, "\n"); got != strings.TrimSpace(want) {
		t.Errorf("%s: in the way are\n%s\nwant\n%s", what, got, strings.TrimSpace(want))
	}
}

// hosts are rule sets that must have nothing in the way.
func hosts() map[string]ruleSet {
	return map[string]ruleSet{
		"nothing at all":                      {},
		"only fans":                           {saved: fan},
		"only fans, with Docker's table":      {saved: fan + fanRaw},
		"Docker 20.10, started after the fan": {saved: fanNAT20 + docker20},
		"Docker 28 and its networks":          {saved: fan + fanRaw + docker28},
		"Docker 28, started after the fan":    {saved: "*nat" + fanNAT + fanRaw + strings.ReplaceAll(docker28, "-A DOCKER-USER -j RETURN", fanUser)},
		"Docker Swarm":                        {saved: fan + swarm},
		"LXD by iptables":                     {saved: fan + lxdXtables},
		"libvirt":                             {saved: fan + libvirt},
		"ufw":                                 {saved: fan + ufw},
		"firewalld by iptables":               {saved: fan + firewalld},
		"Tailscale":                           {saved: fan + tailscale},
	}
}

const (
	fanUser = `-A DOCKER-USER -j FAN-FORWARD
-A DOCKER-USER -j RETURN` + fanFilter
	fanNAT20 = "*nat\n:POSTROUTING ACCEPT [0:0]" + fanNAT + `
:PREROUTING ACCEPT [0:0]
:DOCKER - [0:0]
-A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER
-A OUTPUT ! -d 127.0.0.0/8 -m addrtype --dst-type LOCAL -j DOCKER
-A POSTROUTING -s 172.17.0.0/16 ! -o docker0 -j MASQUERADE
-A POSTROUTING -s 250.0.45.0/24 ! -o fan-250 -j MASQUERADE
-A POSTROUTING -s 172.17.0.2/32 -d 172.17.0.2/32 -p tcp -m tcp --dport 80 -j MASQUERADE
-A DOCKER -i docker0 -j RETURN
-A DOCKER ! -i docker0 -p tcp -m tcp --dport 8080 -j DNAT --to-destination 172.17.0.2:80
`
	docker20 = `*filter
:FORWARD DROP [0:0]
-A FORWARD -j DOCKER-USER
-A FORWARD -j DOCKER-ISOLATION-STAGE-1
-A FORWARD -o docker0 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A FORWARD -o docker0 -j DOCKER
-A FORWARD -i docker0 ! -o docker0 -j ACCEPT
-A FORWARD -i docker0 -o docker0 -j ACCEPT
-A FORWARD -o fan-250 -j DOCKER
-A FORWARD -j FAN-FORWARD
-A DOCKER -d 172.17.0.2/32 ! -i docker0 -o docker0 -p tcp -m tcp --dport 80 -j ACCEPT
-A DOCKER-ISOLATION-STAGE-1 -i docker0 ! -o docker0 -j DOCKER-ISOLATION-STAGE-2
-A DOCKER-ISOLATION-STAGE-1 -i fan-250 ! -o fan-250 -j DOCKER-ISOLATION-STAGE-2
-A DOCKER-ISOLATION-STAGE-1 -j RETURN
-A DOCKER-ISOLATION-STAGE-2 -o docker0 -j DROP
-A DOCKER-ISOLATION-STAGE-2 -o fan-250 -j DROP
-A DOCKER-ISOLATION-STAGE-2 -j RETURN
` + fanUser
	docker28 = `*filter
:FORWARD DROP [0:0]
-A FORWARD -j DOCKER-USER
-A FORWARD -j DOCKER-FORWARD
-A DOCKER ! -i docker0 -o docker0 -j DROP
-A DOCKER ! -i fan-250 -o fan-250 -j DROP
-A DOCKER-BRIDGE -o docker0 -j DOCKER
-A DOCKER-BRIDGE -o fan-250 -j DOCKER
-A DOCKER-CT -o docker0 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A DOCKER-CT -o fan-250 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A DOCKER-FORWARD -j DOCKER-CT
-A DOCKER-FORWARD -j DOCKER-INTERNAL
-A DOCKER-FORWARD -j DOCKER-BRIDGE
-A DOCKER-FORWARD -i docker0 -j ACCEPT
-A DOCKER-INTERNAL ! -s 172.18.0.0/16 -o br-0123456789ab -j DROP
-A DOCKER-INTERNAL ! -d 172.18.0.0/16 -i br-0123456789ab -j DROP
-A DOCKER-USER -j RETURN
*raw
-A PREROUTING -d 172.17.0.2/32 ! -i docker0 -j DROP
-A PREROUTING -d 250.0.45.130/32 ! -i fan-250 -j DROP
-A PREROUTING -d 127.0.0.1/32 ! -i lo -p tcp -m tcp --dport 8080 -j DROP
*nat
-A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER
-A POSTROUTING -s 172.17.0.0/16 ! -o docker0 -j MASQUERADE
-A DOCKER ! -i docker0 -p tcp -m tcp --dport 8080 -j DNAT --to-destination 172.17.0.2:80
`
	swarm = `*filter
-A FORWARD -j DOCKER-INGRESS
-A DOCKER-INGRESS -p tcp -m tcp --dport 80 -j ACCEPT
-A DOCKER-INGRESS -p tcp -m state --state RELATED,ESTABLISHED -m tcp --sport 80 -j ACCEPT
-A DOCKER-INGRESS -j RETURN
*nat
-A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER-INGRESS
-A POSTROUTING -o docker_gwbridge -m addrtype --src-type LOCAL -j MASQUERADE
-A DOCKER-INGRESS -p tcp -m tcp --dport 80 -j DNAT --to-destination 172.18.0.2:80
`
	lxdXtables = `*filter
-A FORWARD -o lxdbr0 -m comment --comment "generated for LXD network lxdbr0" -j ACCEPT
-A FORWARD -i lxdbr0 -m comment --comment "generated for LXD network lxdbr0" -j ACCEPT
*nat
-A POSTROUTING -s 10.9.8.0/24 ! -d 10.9.8.0/24 -m comment --comment "generated for LXD network lxdbr0" -j MASQUERADE
*mangle
-A POSTROUTING -o lxdbr0 -p udp -m udp --dport 68 -m comment --comment "generated for LXD network lxdbr0" -j CHECKSUM --checksum-fill
`
	libvirt = `*filter
-A FORWARD -j LIBVIRT_FWX
-A LIBVIRT_FWI -o virbr0 -j REJECT --reject-with icmp-port-unreachable
-A LIBVIRT_FWX -i virbr0 -o virbr0 -j ACCEPT
*nat
-A POSTROUTING -j LIBVIRT_PRT
-A LIBVIRT_PRT -s 192.168.122.0/24 -d 224.0.0.0/24 -j RETURN
-A LIBVIRT_PRT -s 192.168.122.0/24 ! -d 192.168.122.0/24 -p tcp -j MASQUERADE --to-ports 1024-65535
*mangle
-A POSTROUTING -j LIBVIRT_PRT
-A LIBVIRT_PRT -o virbr0 -p udp -m udp --dport 68 -j CHECKSUM --checksum-fill
`
	ufw = `*filter
-A FORWARD -j ufw-before-logging-forward
-A FORWARD -j ufw-before-forward
-A FORWARD -j ufw-reject-forward
-A ufw-before-logging-forward -m limit --limit 3/min -j LOG --log-prefix "[UFW AUDIT] "
-A ufw-before-forward -m conntrack --ctstate INVALID -j DROP
-A ufw-reject-forward -j REJECT --reject-with icmp-port-unreachable
`
	firewalld = `*filter
-A FORWARD -m conntrack --ctstate INVALID -j DROP
-A FORWARD -j REJECT --reject-with icmp-host-prohibited
*mangle
-A PREROUTING -j PREROUTING_ZONES
-A PREROUTING_ZONES -i eth0 -g PRE_public
-A PREROUTING_ZONES -g PRE_public
-A PRE_public -j PRE_public_log
-A PRE_public -j PRE_public_deny
:PRE_public_log - [0:0]
:PRE_public_deny - [0:0]
*nat
-A POSTROUTING -j POSTROUTING_ZONES
-A POSTROUTING_ZONES -o fan-250 -g POST_trusted
-A POSTROUTING_ZONES -g POST_public
:POST_trusted - [0:0]
-A POST_public -j POST_public_allow
:POST_public_allow - [0:0]
`
	tailscale = `*filter
-A FORWARD -j ts-forward
-A ts-forward -i tailscale0 -j MARK --set-xmark 0x40000/0xff0000
-A ts-forward -s 100.64.0.0/10 -o tailscale0 -j DROP
*nat
-A POSTROUTING -j ts-postrouting
-A ts-postrouting -m mark --mark 0x40000/0xff0000 -j MASQUERADE
`
)

// operators are rules of people, and hosts whose fan has lost its own.
func operators() map[string]ruleSet {
	const dropped = "iptables -t filter -A FORWARD -s 250.0.0.0/8 -j DROP"
	return map[string]ruleSet{
		"a policy, and no fan":      {":x\n*filter\n:FORWARD DROP [0:0]\n", "iptables -t filter -P FORWARD DROP", "iptables -t filter -P FORWARD DROP"},
		"a drop before the fan":     {"*filter\n-A FORWARD -s 250.0.0.0/8 -j DROP\n" + fan, dropped, dropped},
		"a drop of another overlay": {saved: "*filter\n-A FORWARD -s 251.0.0.0/8 -j DROP\n" + fan},
		"a drop after the fan":      {saved: fan + "*filter\n-A FORWARD -s 250.0.0.0/8 -j DROP\n"},
		"a drop in the fan's chain": {"*filter\n-A FAN-FORWARD -s 250.0.45.9/32 -j DROP\n" + fan,
			"iptables -t filter -A FAN-FORWARD -s 250.0.45.9/32 -j DROP", "iptables -t filter -A FAN-FORWARD -s 250.0.45.9/32 -j DROP"},
		"what the fan's chain does not accept": {"*filter\n-A FAN-FORWARD -d 250.0.45.9/32 -j RETURN\n" + fanFirst + "-A FORWARD -j REJECT\n",
			"iptables -t filter -A FORWARD -j REJECT", "iptables -t filter -A FORWARD -j REJECT"},
		"a drop in DOCKER-USER before the fan": {"*filter\n-A DOCKER-USER -p udp -j DROP\n" + docker20,
			"iptables -t filter -A DOCKER-USER -p udp -j DROP", "iptables -t filter -A DOCKER-USER -p udp -j DROP"},
		"a table of its own": {"*mangle\n-A FORWARD -p tcp -m tcp --tcp-flags SYN,RST SYN -j TCPMSS --clamp-mss-to-pmtu\n" + fan,
			"iptables -t mangle -A FORWARD -p tcp -m tcp --tcp-flags SYN,RST SYN -j TCPMSS --clamp-mss-to-pmtu",
			"iptables -t mangle -A FORWARD -p tcp -m tcp --tcp-flags SYN,RST SYN -j TCPMSS --clamp-mss-to-pmtu"},
		"packets without connections": {"*raw\n-A PREROUTING -j CT --notrack\n*security\n-A FORWARD -j SECMARK --selctx x\n",
			"iptables -t raw -A PREROUTING -j CT --notrack\niptables -t security -A FORWARD -j SECMARK --selctx x",
			"iptables -t raw -A PREROUTING -j CT --notrack\niptables -t security -A FORWARD -j SECMARK --selctx x"},
		"a port led elsewhere": {"*nat\n-A PREROUTING -p tcp -m tcp --dport 80 -j REDIRECT --to-ports 3128\n" + fan,
			"iptables -t nat -A PREROUTING -p tcp -m tcp --dport 80 -j REDIRECT --to-ports 3128",
			"iptables -t nat -A PREROUTING -p tcp -m tcp --dport 80 -j REDIRECT --to-ports 3128"},
		"a port of the host's address": {"*nat\n-A PREROUTING -d 250.0.45.1/32 -p tcp -m tcp --dport 80 -j DNAT --to-destination 250.0.45.9:80\n" + fan,
			"", "iptables -t nat -A PREROUTING -d 250.0.45.1/32 -p tcp -m tcp --dport 80 -j DNAT --to-destination 250.0.45.9:80"},
		"a port of a container": {"*nat\n-A PREROUTING -d 250.0.45.2/32 -p tcp -j DNAT --to-destination 250.0.45.9\n" + fan,
			"iptables -t nat -A PREROUTING -d 250.0.45.2/32 -p tcp -j DNAT --to-destination 250.0.45.9",
			"iptables -t nat -A PREROUTING -d 250.0.45.2/32 -p tcp -j DNAT --to-destination 250.0.45.9"},
		"all but the host's address": {"*nat\n-A PREROUTING ! -d 250.0.45.1/32 -p tcp -j REDIRECT\n" + fan,
			"iptables -t nat -A PREROUTING ! -d 250.0.45.1/32 -p tcp -j REDIRECT", "iptables -t nat -A PREROUTING ! -d 250.0.45.1/32 -p tcp -j REDIRECT"},
		"all that leaves is translated": {fan + "*nat\n-A POSTROUTING -j MASQUERADE\n",
			"iptables -t nat -A POSTROUTING -j MASQUERADE", "iptables -t nat -A POSTROUTING -j MASQUERADE"},
		"all that leaves by a card is translated": {saved: fan + "*nat\n-A POSTROUTING -o eth0 -j MASQUERADE\n"},
		"marks": {"*mangle\n-A FORWARD -i ftun-250 -j MARK --set-xmark 0x1/0xffffffff\n-A FORWARD -m mark --mark 0x1 -j DROP\n" + fan,
			"iptables -t mangle -A FORWARD -i ftun-250 -j MARK --set-xmark 0x1/0xffffffff", ""},
		"INPUT and OUTPUT": {saved: "*filter\n:INPUT DROP [0:0]\n:OUTPUT DROP [0:0]\n-A INPUT -j REJECT\n*nat\n-A OUTPUT -j DNAT --to-destination 1.2.3.4\n" + fan},
		"counting":         {saved: "*mangle\n-A FORWARD\n-A FORWARD -s 250.0.0.0/8 -m comment --comment \"all -j DROP\"\n" + fan},
		"Docker 28 without the fan's raw rules": {fan + docker28,
			"iptables -t raw -A PREROUTING -d 250.0.45.130/32 ! -i fan-250 -j DROP", ""},
	}
}

// orders are chains that lead to chains.
func orders() map[string]ruleSet {
	const deep = "iptables -t mangle -A C -j DROP"
	return map[string]ruleSet{
		"deep":                      {"*mangle\n-A FORWARD -j A\n-A A -j B\n-A B -g C\n-A C -j DROP\n", deep, deep},
		"by a chain of other hosts": {saved: "*mangle\n-A FORWARD -s 10.0.0.0/8 -j C\n-A C -j DROP\n"},
		"in a circle":               {"*mangle\n-A FORWARD -j A\n-A A -j B\n-A B -j A\n-A B -j C\n-A C -j DROP\n", deep, deep},
		"nothing after a drop":      {"*mangle\n-A FORWARD -j C\n-A C -j DROP\n-A C -j LOG\n", deep, deep},
		"accepted by somebody else": {"*mangle\n-A FORWARD -j ACCEPT\n-A FORWARD -j C\n-A C -j DROP\n", deep, deep},
		// The goto goes on behind the jump that led here, past the fan's.
		"a goto past the fan": {"*filter\n-A FORWARD -j A\n-A FORWARD -j REJECT\n-A A -p tcp -g B\n-A A -j FAN-FORWARD\n:B - [0:0]" + fanFilter,
			"iptables -t filter -A FORWARD -j REJECT", "iptables -t filter -A FORWARD -j REJECT"},
		"some returned past the fan": {"*filter\n-A FORWARD -j A\n-A FORWARD -j REJECT\n-A A -p tcp -j RETURN\n-A A -j FAN-FORWARD" + fanFilter,
			"iptables -t filter -A FORWARD -j REJECT", "iptables -t filter -A FORWARD -j REJECT"},
		"some to the fan": {"*filter\n-A FORWARD -p tcp -j FAN-FORWARD\n-A FORWARD -j REJECT" + fanFilter,
			"iptables -t filter -A FORWARD -j REJECT", "iptables -t filter -A FORWARD -j REJECT"},
		"the fan's chain is empty": {"*filter\n:FORWARD DROP [0:0]\n:FAN-FORWARD - [0:0]\n-A FORWARD -j FAN-FORWARD\n",
			"iptables -t filter -P FORWARD DROP", "iptables -t filter -P FORWARD DROP"},
	}
}

// matches are rules of mangle FORWARD that drop what they match.
func matches() map[string]ruleSet {
	sets := map[string]ruleSet{}
	add := func(match string, ipip, vxlan bool) {
		rule := strings.Join(strings.Fields("-A FORWARD "+match+" -j DROP"), " ")
		set := ruleSet{saved: "*mangle\n" + rule + "\n"}
		if ipip {
			set.ipip = "iptables -t mangle " + rule
		}
		if vxlan {
			set.vxlan = "iptables -t mangle " + rule
		}
		sets["match "+match] = set
	}
	for _, both := range []string{"", "-i fan-250", "-i fan+", "-o fan-250", "-i +", "! -i eth0", "! -o eth0", "-d 250.0.45.0/24", "-s 0.0.0.0/0", "-s 240.0.0.0/4",
		"! -s 250.0.45.0/24", "! -d 10.0.0.0/8", "-p tcp", "-p udp -m udp --dport 53", "! -p tcp", "! -p icmp", "-p 6", "-p all", "-m conntrack --ctstate INVALID", "-m mark ! --mark 0x1",
		"-m mark --mark 0x0", "-m connmark --mark 0x0/0xff", "-m addrtype ! --dst-type LOCAL", "-m addrtype --dst-type UNICAST", "-m addrtype --dst-type LOCAL,UNICAST", "-m physdev --physdev-in veth1",
		"-m physdev --physdev-in veth+", "-m physdev ! --physdev-in eth0", "-m physdev ! --physdev-is-bridged", "-m set --match-set x src", "-m not-known --what -j1", "-s 1.2.3.4/255.0.255.0", "-f", "-m rpfilter --invert",
		`-m comment --comment "-i eth0 -j ACCEPT"`, "-m comment --comment -i", `-m comment --comment "a\" -i eth0"`} {
		add(both, true, true)
	}
	for _, none := range []string{"-i eth0", "-i eth+", "-i fan", "-i fan-2500", "-o docker0", "! -i +", "-s 10.0.0.0/8", "-d 251.0.0.0/8", "! -s 250.0.0.0/8", "! -s 0.0.0.0/0", "-p icmp", "-p 4", "-p gre", "! -p all",
		"-m mark --mark 0x1", "-m connmark --mark 0x4000/0x4000", "-m addrtype --dst-type LOCAL", "-m addrtype --src-type LOCAL", "-m addrtype --dst-type BROADCAST,MULTICAST", "-m physdev --physdev-in eth0",
		"-m physdev --physdev-out tap+ --physdev-is-bridged", `-m comment --comment "x" -i eth0`} {
		add(none, false, false)
	}
	add("-i fan-250 -o ftun-250", true, false)
	add("-i ftun+ -o fan-250", true, false)
	add("-i fan-250 -o fan-250", false, true)
	add("! -i fan-250 -o fan-250", true, false)
	add("-m physdev --physdev-is-bridged", false, true)
	return sets
}

// Every option that has a value is read as one: else its value would be a condition.
func TestReadRule(t *testing.T) {
	r := readRule(`! -s 10.0.0.0/8 -i eth+ -p tcp -m tcp --dport 80 -m comment --comment "a -g b" -g NEXT --x -j y`)
	want := []condition{{"-s", "10.0.0.0/8", true}, {"-i", "eth+", false}, {"-p", "tcp", false}, {"-m", "tcp", false}, {"--dport", "", false}, {"80", "", false},
		{"-m", "comment", false}, {"--comment", "xx", false}}
	if !slices.Equal(r.conditions, want) || r.target != "NEXT" || !r.leaves {
		t.Errorf("rule is read as %+v", r)
	}
	for _, spec := range []string{"", "-j", "!", "-s", `"`, `-m comment --comment "x`} {
		if r := readRule(spec); r.target != "" {
			t.Errorf("%q has a target %q", spec, r.target)
		}
	}
}
