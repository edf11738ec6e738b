package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
)

// path is one way from one end to the other, ready to be measured.
type path struct {
	name string
	ns   [2]string // namespaces of the two ends
	addr [2]string // their addresses
}

type bed struct {
	fanctl     string
	bridged    string // bridge-nf-call-iptables, where the kernel has it
	docker     bool   // the hosts have Docker, or are to look so
	folder     string // of programs for the hosts
	namespaces []string
	next       int
}

func newBed(fanctl, bridged string, docker bool) (*bed, error) {
	b := &bed{fanctl: fanctl, bridged: bridged, docker: docker}
	return b, b.folders()
}

// remove takes everything away; close only the hosts.
func (b *bed) remove() {
	b.close()
	_ = os.RemoveAll(b.folder)
}

func (b *bed) close() {
	for _, ns := range b.namespaces {
		_ = exec.Command("ip", "netns", "del", ns).Run()
	}
	b.namespaces = nil
}

func (b *bed) namespace(what string) (string, error) {
	b.next++
	name := fmt.Sprintf("fanbench%d-%d%s", os.Getpid(), b.next, what)
	b.namespaces = append(b.namespaces, name)
	if err := command("ip", "netns", "add", name); err != nil {
		return "", err
	}
	return name, command("ip", "-n", name, "link", "set", "lo", "up")
}

func command(words ...string) error {
	out, err := exec.Command(words[0], words[1:]...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s: %w: %s", strings.Join(words, " "), err, strings.TrimSpace(string(out)))
	}
	return nil
}

// in runs a command line in a namespace.
func in(ns, line string) error {
	return command(append([]string{"nsenter", "--net=/run/netns/" + ns}, strings.Fields(line)...)...)
}

func all(ns string, lines ...string) error {
	for _, line := range lines {
		if err := in(ns, line); err != nil {
			return err
		}
	}
	return nil
}

// setup makes one end: the commands for the host and those for the container,
// with HERE and THERE as the hosts' last octets.
type setup struct {
	name      string
	host      []string
	container []string
}

func (b *bed) setups() []setup {
	slice := "ip addr add 250.0.HERE.1/24 dev br0"
	inSlice := []string{"ip addr add 250.0.HERE.2/24 dev eth0", "ip link set eth0 up", "ip route add default via 250.0.HERE.1"}
	withMTU := func(mtu string, lines []string) []string {
		return append([]string{"ip link set eth0 mtu " + mtu}, lines...)
	}
	up := func(how string) []string {
		return []string{b.fanctlOfHost() + " up -u eth0/16 -o 250.0.0.0/8 " + how, "ip link set c0 master fan-250 up"}
	}
	// A host that routes for containers translates what leaves them, so it tracks
	// connections; a fan's host does, and flannel's.
	bridge := []string{"iptables -t nat -A POSTROUTING -s 250.0.HERE.0/24 ! -d 250.0.0.0/8 -j MASQUERADE", "iptables -A FORWARD -i br0 -j ACCEPT", "sysctl -qw net.ipv4.ip_forward=1", "ip link add br0 type bridge", "ip link set br0 up", slice, "ip link set c0 master br0 up"}
	list := []setup{
		{name: "host"},
		{"route", append(slices.Clone(bridge), "ip route add 250.0.THERE.0/24 via 10.0.0.THERE"), inSlice},
		{"flannel", append(slices.Clone(bridge),
			"ip link add vx0 type vxlan id 1 dev eth0 local 10.0.0.HERE dstport 8472 nolearning",
			"ip link set vx0 address 06:00:00:00:00:0HERE up",
			"ip addr add 250.0.HERE.0/32 dev vx0",
			"ip route add 250.0.THERE.0/24 via 250.0.THERE.0 dev vx0 onlink",
			"ip neigh add 250.0.THERE.0 lladdr 06:00:00:00:00:0THERE dev vx0 nud permanent",
			"bridge fdb add 06:00:00:00:00:0THERE dev vx0 dst 10.0.0.THERE",
			"ip link set br0 mtu 1450"), withMTU("1450", inSlice)},
		{"ipip-ebpf", up("--type ipip --datapath ebpf"), withMTU("1480", inSlice)},
		{"vxlan", up("--type vxlan"), withMTU("1450", []string{"ip addr add 250.0.HERE.2/8 dev eth0", "ip link set eth0 up"})},
	}
	if hasIPIP() {
		list = append(list, setup{"ipip-device", up("--type ipip --datapath device"), withMTU("1480", inSlice)})
	}
	return list
}

// fanctlOfHost is the command for fanctl on a host with Docker or without, whatever this
// machine has: in a mount namespace where a file lies over dockerd, or a program of its
// name is on the search path.
func (b *bed) fanctlOfHost() string {
	dockerd, err := exec.LookPath("dockerd")
	switch {
	case err == nil && !b.docker:
		return "unshare -m sh " + b.folder + "/without " + dockerd + " " + b.fanctl
	case err != nil && b.docker:
		return "env PATH=" + os.Getenv("PATH") + ":" + b.folder + "/docker " + b.fanctl
	}
	return b.fanctl
}

// folders makes what fanctlOfHost needs.
func (b *bed) folders() (err error) {
	if b.folder, err = os.MkdirTemp("", "fanbench"); err != nil {
		return err
	}
	if err := os.Mkdir(b.folder+"/docker", 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(b.folder+"/docker/dockerd", nil, 0o755); err != nil {
		return err
	}
	return os.WriteFile(b.folder+"/without", []byte("mount --bind /dev/null $1 && shift && exec \"$@\"\n"), 0o755)
}

// hasIPIP tries the device in a namespace of its own.
func hasIPIP() bool {
	return exec.Command("unshare", "-n", "ip", "link", "add", "probe0", "type", "ipip", "external").Run() == nil
}

// build makes two hosts for each path, joined by a veth pair.
func (b *bed) build(only []string) ([]path, error) {
	var paths []path
	for _, s := range b.setups() {
		if len(only) > 0 && !slices.Contains(only, s.name) {
			continue
		}
		p, err := b.buildPath(s)
		if err != nil {
			return nil, err
		}
		paths = append(paths, p)
	}
	return paths, nil
}

func (b *bed) buildPath(s setup) (path, error) {
	p := path{name: s.name}
	var hosts [2]string
	for i := range hosts {
		var err error
		if hosts[i], err = b.namespace("h"); err != nil {
			return p, err
		}
		err = inside(hosts[i], func() error {
			return os.WriteFile("/proc/sys/net/bridge/bridge-nf-call-iptables", []byte(b.bridged), 0o644)
		})
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return p, err
		}
	}
	if err := command("ip", "link", "add", "eth0", "netns", hosts[0], "type", "veth", "peer", "name", "eth0", "netns", hosts[1]); err != nil {
		return p, err
	}
	for i, host := range hosts {
		here, there := fmt.Sprint(i+1), fmt.Sprint(2-i)
		words := strings.NewReplacer("HERE", here, "THERE", there)
		if err := all(host, "ip addr add 10.0.0."+here+"/16 dev eth0", "ip link set eth0 up"); err != nil {
			return p, err
		}
		if len(s.host) == 0 {
			p.ns[i], p.addr[i] = host, "10.0.0."+here
			continue
		}
		container, err := b.namespace("c")
		if err != nil {
			return p, err
		}
		if err := command("ip", "link", "add", "eth0", "netns", container, "type", "veth", "peer", "name", "c0", "netns", host); err != nil {
			return p, err
		}
		p.ns[i], p.addr[i] = container, "250.0."+here+".2"
		for _, line := range s.host {
			if err := in(host, words.Replace(line)); err != nil {
				return p, err
			}
		}
		for _, line := range s.container {
			if err := in(container, words.Replace(line)); err != nil {
				return p, err
			}
		}
	}
	return p, nil
}
