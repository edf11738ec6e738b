package main

import (
	"fmt"
	"os/exec"
	"slices"
	"strings"
)

// setup makes one end: the commands for the host, those for the container, and those
// for the host when the container is there, with HERE and THERE as the hosts' last
// octets. Without commands the hosts themselves are the ends.
type setup struct {
	name      string
	host      []string
	container []string
	last      []string
	swarm     bool // Docker makes it all
}

// chosen are the setups that are asked for, or all, without those that can't be here.
// It tells why they can't.
func (b *bed) chosen(only []string) (list []setup, without []string, err error) {
	for _, s := range b.setups() {
		if len(only) > 0 && !slices.Contains(only, s.name) {
			continue
		}
		if why := b.missing(s); why != "" {
			without = append(without, fmt.Sprintf("without %s: %s", s.name, why))
			continue
		}
		list = append(list, s)
	}
	for _, name := range only {
		if !slices.ContainsFunc(b.setups(), func(s setup) bool { return s.name == name }) {
			return nil, nil, fmt.Errorf("-only %s: there is no such path", name)
		}
	}
	return list, without, nil
}

// missing says what keeps a setup from being made on this machine.
func (b *bed) missing(s setup) string {
	switch {
	case s.swarm && !hasDocker():
		return "no dockerd (make deps-containers installs it)"
	case slices.Contains([]string{"ipip-device", "ipip-kernel"}, s.name) && !hasIPIP():
		return "this kernel has no ipip device"
	case strings.HasSuffix(s.name, "-fast") && !b.hasFast():
		return "this fanctl has no --fast"
	}
	return ""
}

// hasIPIP tries the device in a namespace of its own.
func hasIPIP() bool {
	return exec.Command("unshare", "-n", "ip", "link", "add", "probe0", "type", "ipip", "external").Run() == nil
}

// hasFast says whether the fanctl to measure knows the fast way.
func (b *bed) hasFast() bool {
	help, _ := exec.Command(b.fanctl, "help", "up").CombinedOutput()
	return strings.Contains(string(help), "--fast")
}

func (b *bed) setups() []setup {
	return []setup{
		{name: "host"},
		routed("route", "1500", "ip route add 250.0.THERE.0/24 via 10.0.0.THERE"),
		routed("ipip-kernel", "1480",
			"ip link add tunnel type ipip local 10.0.0.HERE",
			"ip link set tunnel up",
			"ip addr add 250.0.HERE.0/32 dev tunnel",
			"ip route add 250.0.THERE.0/24 via 10.0.0.THERE dev tunnel onlink"),
		routed("flannel", "1450",
			"ip link add vx0 type vxlan id 1 dev eth0 local 10.0.0.HERE dstport 8472 nolearning",
			"ip link set vx0 address 06:00:00:00:00:0HERE up",
			"ip addr add 250.0.HERE.0/32 dev vx0",
			"ip route add 250.0.THERE.0/24 via 250.0.THERE.0 dev vx0 onlink",
			"ip neigh add 250.0.THERE.0 lladdr 06:00:00:00:00:0THERE dev vx0 nud permanent",
			"bridge fdb add 06:00:00:00:00:0THERE dev vx0 dst 10.0.0.THERE"),
		{name: "swarm", swarm: true},
		b.fan("ipip-ebpf", "ipip --datapath ebpf", false),
		b.fan("ipip-device", "ipip --datapath device", false),
		b.fan("vxlan", "vxlan", false),
		b.fan("ipip-fast", "ipip", true),
		b.fan("vxlan-fast", "vxlan", true),
	}
}

// routed is a host that routes between its bridge and others by what lines make. Such
// a host translates what leaves its containers, so it tracks connections; a fan's host
// does, and flannel's.
func routed(name, mtu string, lines ...string) setup {
	host := []string{
		"iptables -t nat -A POSTROUTING -s 250.0.HERE.0/24 ! -d 250.0.0.0/8 -j MASQUERADE",
		"iptables -A FORWARD -i br0 -j ACCEPT",
		"sysctl -qw net.ipv4.ip_forward=1",
		"ip link add br0 type bridge",
		"ip link set br0 up",
		"ip addr add 250.0.HERE.1/24 dev br0",
		"ip link set c0 master br0 up",
	}
	host = append(host, lines...)
	return setup{name: name, host: append(host, "ip link set br0 mtu "+mtu), container: inSlice(mtu)}
}

// inSlice are a container's commands where its host routes.
func inSlice(mtu string) []string {
	return []string{"ip link set eth0 mtu " + mtu, "ip addr add 250.0.HERE.2/24 dev eth0", "ip link set eth0 up", "ip route add default via 250.0.HERE.1"}
}

// fan is a fan by a type. The fast way is taken last: then it finds the container's
// port, which nobody made known.
func (b *bed) fan(name, kind string, fast bool) setup {
	up := b.fanctlOfHost() + " up -u eth0/16 -o 250.0.0.0/8 --type " + kind
	s := setup{name: name, host: []string{up, "ip link set c0 master fan-250 up"}, container: inSlice("1480")}
	if strings.HasPrefix(kind, "vxlan") {
		s.container = []string{"ip link set eth0 mtu 1450", "ip addr add 250.0.HERE.2/8 dev eth0", "ip link set eth0 up"}
	}
	if fast {
		s.last = []string{up + " --fast"}
	}
	return s
}
