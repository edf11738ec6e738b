package main

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// kind is a fan whose commands and state are looked at.
type kind struct {
	name string
	fast bool
	// words are those for up, of the fan without the fast way.
	words string
}

func (b *bed) kinds() []kind {
	list := []kind{
		{name: "ipip-ebpf", words: " -u eth0/16 -o 250 --type ipip --datapath ebpf"},
		{name: "vxlan", words: " -u eth0/16 -o 250 --type vxlan"},
	}
	if hasIPIP() {
		list = append(list, kind{name: "ipip-device", words: " -u eth0/16 -o 250 --type ipip --datapath device"})
	}
	if b.hasFast() {
		list = append(list,
			kind{name: "ipip-fast", fast: true, words: " -u eth0/16 -o 250 --type ipip"},
			kind{name: "vxlan-fast", fast: true, words: " -u eth0/16 -o 250 --type vxlan"})
	}
	return list
}

// up are fanctl's words for the fan as it is meant.
func (k kind) up() string {
	if k.fast {
		return " up" + k.words + " --fast"
	}
	return " up" + k.words
}

// commandTable tells how long fanctl takes on hosts with some numbers of containers.
func (b *bed) commandTable(containers []int) (table, error) {
	const times = 10
	t := table{Title: "commands, ms (median)", Head: []string{"", "containers", "up", "up again", "show", "down"}}
	host, err := b.loneHost()
	if err != nil {
		return t, err
	}
	var nothing []float64
	for range times {
		took, err := b.timed(host, "true")
		if err != nil {
			return t, err
		}
		nothing = append(nothing, took)
	}
	t.add("a program that does nothing", "", number(mid(nothing)), "", "", "")
	for _, n := range containers {
		host, err := b.crowdedHost(n)
		if err != nil {
			return t, err
		}
		for _, k := range b.kinds() {
			took, err := b.timeKind(k, host, n, max(2, times/(1+n/50)))
			if err != nil {
				return t, fmt.Errorf("%s with %d containers: %w", k.name, n, err)
			}
			t.add(k.name, fmt.Sprint(n), number(mid(took[0])), number(mid(took[1])), number(mid(took[2])), number(mid(took[3])))
		}
	}
	return t, nil
}

// timeKind takes the times of the first up, another, show and down. The containers are
// there before the first up and become ports of its bridge after it. The first up of a
// fast fan is that which makes a fan fast that has all of its containers.
func (b *bed) timeKind(k kind, host string, n, times int) (took [4][]float64, err error) {
	var join, leave strings.Builder
	for i := range n {
		fmt.Fprintf(&join, "link set c%d master fan-250\n", i)
		fmt.Fprintf(&leave, "link set c%d nomaster\n", i)
	}
	slow := k
	slow.fast = false
	for range times {
		before, err := b.timed(host, b.fanctl+slow.up())
		if err != nil {
			return took, err
		}
		if err := ipBatch(host, join.String()); err != nil {
			return took, err
		}
		if k.fast {
			if before, err = b.timed(host, b.fanctl+k.up()); err != nil {
				return took, err
			}
		}
		took[0] = append(took[0], before)
		for i, line := range []string{k.up(), " show", " down -u eth0/16 -o 250"} {
			if i == 2 { // down would refuse
				if err := ipBatch(host, leave.String()); err != nil {
					return took, err
				}
			}
			ms, err := b.timed(host, b.fanctl+line)
			if err != nil {
				return took, err
			}
			took[i+1] = append(took[i+1], ms)
		}
	}
	return took, nil
}

// timed returns the milliseconds of a command on a host with Docker or without, those of
// getting there aside.
func (b *bed) timed(ns, line string) (float64, error) {
	var took time.Duration
	err := inside(ns, func() error {
		words := strings.Fields(line)
		cmd := exec.Command(words[0], words[1:]...)
		if err := b.pretend(cmd); err != nil {
			return err
		}
		start := time.Now()
		out, err := cmd.CombinedOutput()
		took = time.Since(start)
		if err != nil {
			return fmt.Errorf("%s: %w: %s", line, err, out)
		}
		return nil
	})
	return float64(took.Microseconds()) / 1000, err
}

// pretend has a command, and this thread, see dockerd or none. See fanctlOfHost.
func (b *bed) pretend(cmd *exec.Cmd) error {
	dockerd, err := exec.LookPath("dockerd")
	switch {
	case err != nil && b.docker:
		cmd.Env = append(os.Environ(), "PATH="+os.Getenv("PATH")+":"+b.folder+"/docker")
	case err == nil && !b.docker:
		if err := unix.Unshare(unix.CLONE_NEWNS); err != nil {
			return fmt.Errorf("unshare mounts: %w", err)
		}
		if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
			return fmt.Errorf("make mounts private: %w", err)
		}
		if err := unix.Mount("/dev/null", dockerd, "", unix.MS_BIND, ""); err != nil {
			return fmt.Errorf("hide %s: %w", dockerd, err)
		}
	}
	return nil
}

// loneHost makes a host on an underlay that takes every packet: its device does
// not ask for neighbours.
func (b *bed) loneHost() (string, error) {
	host, err := b.namespace("h")
	if err != nil {
		return "", err
	}
	peer, err := b.namespace("u")
	if err != nil {
		return "", err
	}
	if err := veth([2]string{host, peer}, [2]string{"eth0", "eth0"}); err != nil {
		return "", err
	}
	if err := all(peer, "ip link set eth0 up"); err != nil {
		return "", err
	}
	return host, all(host, "ip addr add 10.0.200.200/16 dev eth0", "ip link set eth0 arp off up")
}

// crowdedHost makes a lone host with devices of containers, c0 and so on, whose other
// ends are all in one namespace.
func (b *bed) crowdedHost(n int) (string, error) {
	host, err := b.loneHost()
	if err != nil {
		return "", err
	}
	crowd, err := b.namespace("c")
	if err != nil {
		return "", err
	}
	for _, ns := range []string{host, crowd} {
		if err := in(ns, "sysctl -qw net.ipv6.conf.default.disable_ipv6=1"); err != nil {
			return "", err
		}
	}
	var pairs, up strings.Builder
	for i := range n {
		fmt.Fprintf(&pairs, "link add c%d up type veth peer name e%d netns %s\n", i, i, crowd)
		fmt.Fprintf(&up, "link set e%d up\n", i)
	}
	if err := ipBatch(host, pairs.String()); err != nil {
		return "", err
	}
	return host, ipBatch(crowd, up.String())
}

// ipBatch runs many commands of ip in a namespace.
func ipBatch(ns, lines string) error {
	cmd := exec.Command("ip", "-n", ns, "-batch", "-")
	cmd.Stdin = strings.NewReader(lines)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("ip -batch: %w: %s", err, strings.TrimSpace(string(out)))
	}
	return nil
}
