package main

import (
	"fmt"
	"io"
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
	var nothing []float64
	for range times {
		took, err := timed(host, "true")
		if err != nil {
			return err
		}
		nothing = append(nothing, took)
	}
	fmt.Fprintf(out, "\nms, median of %d; a program that does nothing takes %.1f\n", times, mid(nothing))
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
