//go:build vm

package vm

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// pair is a host with a container, whose network card leads to the other host: the
// first host's container serves iperf3, once a fan, and the second's talks to it.
const pair = `
set -e
modprobe virtio_pci || true # in some kernels it is built in
modprobe virtio_net
until [ -e /sys/class/net/eth0 ]; do sleep 0.1; done
mine=$1 other=$2
ip addr add 10.0.0.$mine/16 dev eth0
ip link set eth0 up
ip netns add c
in_c() { nsenter --net=/run/netns/c "$@"; }
with() {
	mtu=$1 bits=$2
	shift 2
	fanctl up -u eth0/16 -o 250.0.0.0/8 "$@" >&2
	ip link add eth1 type veth peer name eth0 netns c
	ip link set eth1 master fan-250 up
	ip -n c link set eth0 mtu $mtu up
	ip -n c addr add 250.0.$mine.2/$bits dev eth0
	ip -n c route add default via 250.0.$mine.1
	if [ $mine = 1 ]; then
		in_c iperf3 -s -1 >/dev/null
	else
		until in_c ping -c 1 -W 1 250.0.$other.2 >/dev/null; do sleep 0.2; done
		in_c ping -c 3 -i 0.2 -W 60 -M do -s $((mtu - 28)) 250.0.$other.2 | grep received
		until in_c iperf3 -c 250.0.$other.2 -n 4M -f m 2>/dev/null | grep receiver; do sleep 0.2; done
	fi
	fanctl show --json | grep -o '"datapath": *"[a-z]*"'
	ip link del eth1
	fanctl down -u eth0/16 -o 250.0.0.0/8 >&2
}
`

// Two machines, each a host of its own with a network card of another kind than
// those that hosts in namespaces have, reach each other by each path: on the kernels
// that get all tests.
func TestTwoMachines(t *testing.T) {
	l := newLab(t)
	for _, series := range series() {
		if inFull(series) {
			t.Run(series, func(t *testing.T) { l.on(t, series).pair(t) })
		}
	}
}

func (l lab) pair(t *testing.T) {
	t.Helper()
	const story = pair + `
with 1480 24 --type ipip --datapath device
with 1480 24 --type ipip --datapath ebpf
with 1450 8 --type vxlan
`
	ctx, stop := context.WithTimeout(l.ctx, 15*time.Minute)
	defer stop()
	l.ctx = ctx
	var said [2][]string
	var hosts sync.WaitGroup
	for i := range said {
		here, there := filepath.Join(l.dir, fmt.Sprint("card", i)), filepath.Join(l.dir, fmt.Sprint("card", 1-i))
		card := []string{"-netdev", "dgram,id=n,local.type=unix,local.path=" + here + ",remote.type=unix,remote.path=" + there,
			"-device", fmt.Sprintf("virtio-net-pci,netdev=n,mac=02:00:00:00:00:0%d", i+1)}
		hosts.Go(func() {
			code, err := l.try(card, func(line string) { said[i] = append(said[i], line) }, "sh", "-c", story, "sh", fmt.Sprint(i+1), fmt.Sprint(2-i))
			if code != 0 || err != nil {
				t.Errorf("host %d: exit code %d, %v:\n%s", i+1, code, err, strings.Join(said[i], "\n"))
				stop()
			}
		})
	}
	hosts.Wait()
	all := strings.Join(said[1], "\n")
	t.Logf("the second host:\n%s", all)
	if strings.Count(all, "3 received") != 3 || strings.Count(all, "receiver") != 3 {
		t.Error("not by each path were 3 of 3 pings answered and data received")
	}
	if strings.Count(all, `"device"`) != 2 || strings.Count(all, `"ebpf"`) != 1 {
		t.Error("not by each path")
	}
}
