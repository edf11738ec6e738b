package main

import (
	"fmt"
	"io"
	"net"
	"net/netip"
	"os/exec"
	"strings"
	"time"
)

const times = 20

// timeCommands prints how long fanctl takes.
func (b *bed) timeCommands(out io.Writer) error {
	host, err := b.loneHost()
	if err != nil {
		return err
	}
	fmt.Fprintln(out, "\nms, median of", times)
	for _, how := range []string{"--type ipip --datapath ebpf", "--type vxlan"} {
		var up, again, show []float64
		for range times {
			for _, m := range []struct {
				line string
				to   *[]float64
			}{
				{" up -u eth0/16 -o 250 " + how, &up},
				{" up -u eth0/16 -o 250 " + how, &again},
				{" show", &show},
				{" down -u eth0/16 -o 250", nil},
			} {
				took, err := timed(host, b.fanctl+m.line)
				if err != nil {
					return err
				}
				if m.to != nil {
					*m.to = append(*m.to, took)
				}
			}
		}
		fmt.Fprintf(out, "  %-28s up %.1f   up again %.1f   show %.1f\n", how, mid(up), mid(again), mid(show))
	}
	return nil
}

// timed returns the milliseconds of a command in a namespace, those of getting
// there aside.
func timed(ns, line string) (float64, error) {
	var took time.Duration
	err := inside(ns, func() error {
		words := strings.Fields(line)
		start := time.Now()
		out, err := exec.Command(words[0], words[1:]...).CombinedOutput()
		took = time.Since(start)
		if err != nil {
			return fmt.Errorf("%s: %w: %s", line, err, out)
		}
		return nil
	})
	return float64(took.Microseconds()) / 1000, err
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
	if err := command("ip", "link", "add", "eth0", "netns", host, "type", "veth", "peer", "name", "eth0", "netns", peer); err != nil {
		return "", err
	}
	if err := all(peer, "ip link set eth0 up"); err != nil {
		return "", err
	}
	return host, all(host, "ip addr add 10.0.200.200/16 dev eth0", "ip link set eth0 arp off up")
}

// stateTable prints what the sending host keeps when it talks to 2, 1,000 and
// 65,534 hosts. The underlay's own neighbours are left out: any network of hosts
// has them.
func (b *bed) stateTable(out io.Writer) error {
	fmt.Fprintln(out, "\nwhat the host keeps after a packet to a container of each of N hosts")
	fmt.Fprintf(out, "  %-12s %8s %8s %8s %10s %6s %12s\n", "", "N", "devices", "routes", "neighbours", "fdb", "map entries")
	for _, kind := range []string{"ipip", "vxlan"} {
		host, err := b.loneHost()
		if err != nil {
			return err
		}
		if err := in(host, b.fanctl+" up -u eth0/16 -o 250 --type "+kind); err != nil {
			return err
		}
		for _, n := range []int{2, 1000, 65534} {
			if err := talkTo(host, n); err != nil {
				return err
			}
			counts, err := countState(host)
			if err != nil {
				return err
			}
			fmt.Fprintf(out, "  %-12s %8d %8d %8d %10d %6d %12d\n", kind, n, counts[0], counts[1], counts[2], counts[3], counts[4])
		}
	}
	return nil
}

func talkTo(host string, n int) error {
	var source *net.UDPConn
	if err := inside(host, func() (err error) {
		source, err = net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(250, 200, 200, 1)})
		return err
	}); err != nil {
		return err
	}
	defer source.Close()
	for i := 1; i <= n; i++ {
		to := netip.AddrPortFrom(netip.AddrFrom4([4]byte{250, byte(i >> 8), byte(i), 2}), 9)
		// An address of nobody, or a full neighbour table, refuses: that is the
		// underlay's or the container's matter, not the fan's.
		_, _ = source.WriteToUDPAddrPort([]byte("hello"), to)
	}
	return nil
}

// countState counts devices, routes, neighbours, bridge entries and map entries.
func countState(host string) (counts [5]int, err error) {
	for i, line := range []string{"ip -o link", "ip route show table all", "ip neigh show dev TUNNEL nud all", "bridge fdb show br fan-250"} {
		if strings.Contains(line, "TUNNEL") {
			counts[i] = tunnelNeighbours(host)
			continue
		}
		out, err := exec.Command("nsenter", append([]string{"--net=/run/netns/" + host}, strings.Fields(line)...)...).Output()
		if err != nil {
			return counts, fmt.Errorf("%s: %w", line, err)
		}
		counts[i] = strings.Count(string(out), "\n")
	}
	counts[4] = 2 // .rodata and the counters, arrays of one entry: nothing is ever added
	return counts, nil
}

func tunnelNeighbours(host string) int {
	n := 0
	for _, device := range []string{"ftun-250", "ftun-ipip", "fan-250"} {
		out, err := exec.Command("nsenter", "--net=/run/netns/"+host, "ip", "-4", "neigh", "show", "dev", device, "nud", "all").Output()
		if err == nil {
			n += strings.Count(string(out), "\n")
		}
	}
	return n
}
