package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os/exec"
	"regexp"
	"strconv"
	"strings"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"

	"github.com/fanctl/fanctl/tests/bed/wire"
)

// kept is how many objects of a kind a host's kernel has.
type kept struct{ sent, devices, routes, neighbours, fdb, entries int }

// stateTable tells what a host keeps when its container has talked to 2, 1,000
// and 65,534 hosts. The underlay's own neighbours are left out: any network of
// hosts has them.
func (b *bed) stateTable() (table, error) {
	t := table{Title: "what the host keeps after a packet from its container to one of each of N hosts",
		Head: []string{"", "N", "sent", "devices", "routes", "neighbours", "fdb", "map entries"}}
	for _, k := range b.kinds() {
		host, err := b.loneHost()
		if err != nil {
			return t, err
		}
		if err := in(host, b.fanctl+" up"+k.words); err != nil {
			return t, err
		}
		container, err := b.talker(host)
		if err != nil {
			return t, err
		}
		if err := in(host, b.fanctl+k.up()); err != nil {
			return t, err
		}
		for _, n := range []int{2, 1000, 65534} {
			if err := talkTo(container, k.name, host, n); err != nil {
				return t, err
			}
			c, err := b.count(host)
			if err != nil {
				return t, err
			}
			row := []string{k.name}
			for _, value := range []int{n, c.sent, c.devices, c.routes, c.neighbours, c.fdb, c.entries} {
				row = append(row, fmt.Sprint(value))
			}
			t.add(row...)
		}
	}
	return t, nil
}

// talker makes a container whose frames all go to the bridge's own address, or to
// one that the bridge does not know.
func (b *bed) talker(host string) (string, error) {
	container, err := b.namespace("c")
	if err != nil {
		return "", err
	}
	if err := veth([2]string{container, host}, [2]string{"eth0", "c0"}); err != nil {
		return "", err
	}
	if err := in(host, "ip link set c0 master fan-250 up"); err != nil {
		return "", err
	}
	return container, in(container, "ip link set eth0 up")
}

// talkTo sends a packet from the container to a container of each of n hosts. By
// ipip the frames go to the gateway; by vxlan to the other container, whose address
// the bridge has not seen.
func talkTo(container, kind, host string, n int) error {
	to := wire.MAC{0x0a, 1, 2, 3, 4, 5}
	if strings.HasPrefix(kind, "ipip") {
		out, err := exec.Command("ip", "-n", host, "-o", "link", "show", "fan-250").Output()
		if err != nil {
			return fmt.Errorf("find the bridge's address: %w", err)
		}
		words := regexp.MustCompile(`link/ether (\S+)`).FindSubmatch(out)
		if words == nil {
			return errors.New("the bridge has no address")
		}
		mac, err := net.ParseMAC(string(words[1]))
		if err != nil {
			return err
		}
		to = wire.MAC(mac)
	}
	return inside(container, func() error { return sendFrames(to, n) })
}

// sendFrames sends from 250.200.200.2 out of eth0 of the thread's namespace.
func sendFrames(to wire.MAC, n int) error {
	device, err := net.InterfaceByName("eth0")
	if err != nil {
		return err
	}
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("open packet socket: %w", err)
	}
	defer unix.Close(fd)
	from := wire.Eth{Dst: to, Src: wire.MAC(device.HardwareAddr), Type: wire.TypeIPv4}
	datagram := wire.UDP{Src: 9, Dst: 9}.Build([]byte("hello"))
	for i := 1; i <= n; i++ {
		ip := wire.IPv4{Src: netip.AddrFrom4([4]byte{250, 200, 200, 2}), Dst: netip.AddrFrom4([4]byte{250, byte(i >> 8), byte(i), 2}),
			Proto: wire.ProtoUDP}
		if err := unix.Sendto(fd, from.Build(ip.Build(datagram)), 0, &unix.SockaddrLinklayer{Ifindex: device.Index, Halen: 6}); err != nil {
			return fmt.Errorf("send frame: %w", err)
		}
	}
	return nil
}

// count counts what the host has.
func (b *bed) count(host string) (k kept, err error) {
	lines := func(line string) int {
		out, failed := exec.Command("nsenter", append([]string{"--net=/run/netns/" + host}, strings.Fields(line)...)...).Output()
		if failed != nil {
			err = fmt.Errorf("%s: %w", line, failed)
		}
		n := 0
		for l := range strings.Lines(string(out)) {
			if !strings.Contains(l, "dev eth0 ") || !strings.Contains(line, "neigh") {
				n++
			}
		}
		return n
	}
	k.devices, k.routes = lines("ip -o link"), lines("ip -4 route show table all")
	k.neighbours, k.fdb = lines("ip -4 neigh show nud all"), lines("bridge fdb show br fan-250")
	if err != nil {
		return k, err
	}
	if k.entries, err = mapEntries(host); err != nil {
		return k, err
	}
	k.sent, err = b.sent(host)
	return k, err
}

// sent is the fan's own counter.
func (b *bed) sent(host string) (int, error) {
	out, err := exec.Command("nsenter", "--net=/run/netns/"+host, b.fanctl, "show", "--json").Output()
	if err != nil {
		return 0, fmt.Errorf("fanctl show: %w", err)
	}
	var shown struct {
		Fans []struct {
			Counters struct {
				Sent int `json:"tx_packets"`
			}
		}
	}
	if err := json.Unmarshal(out, &shown); err != nil || len(shown.Fans) != 1 {
		return 0, fmt.Errorf("fanctl show --json: %w: %s", err, out)
	}
	return shown.Fans[0].Counters.Sent, nil
}

// mapEntries counts the entries of all eBPF maps that filters on the host use.
func mapEntries(host string) (int, error) {
	programs, err := attached(host)
	if err != nil {
		return 0, err
	}
	maps := map[ebpf.MapID]int{}
	for _, id := range programs {
		if err := addMaps(id, maps); err != nil {
			return 0, fmt.Errorf("maps of eBPF program %d: %w", id, err)
		}
	}
	sum := 0
	for _, entries := range maps {
		sum += entries
	}
	return sum, nil
}

// attached lists the programs at the host's devices, by tcx and by clsact.
func attached(host string) (ids []ebpf.ProgramID, err error) {
	var names []string
	err = inside(host, func() error {
		devices, err := net.Interfaces()
		if err != nil {
			return err
		}
		for _, d := range devices {
			names = append(names, d.Name)
			for _, way := range []ebpf.AttachType{ebpf.AttachTCXIngress, ebpf.AttachTCXEgress} {
				found, err := link.QueryPrograms(link.QueryOptions{Target: d.Index, Attach: way})
				if err != nil {
					continue // a kernel before 6.6
				}
				for _, p := range found.Programs {
					ids = append(ids, p.ID)
				}
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	for _, device := range names {
		for _, way := range []string{"ingress", "egress"} {
			filters, err := clsactPrograms(host, device, way)
			if err != nil {
				return nil, err
			}
			ids = append(ids, filters...)
		}
	}
	return ids, nil
}

func clsactPrograms(host, device, way string) (ids []ebpf.ProgramID, err error) {
	out, err := exec.Command("tc", "-n", host, "filter", "show", "dev", device, way).Output()
	if err != nil {
		return nil, nil // no place for filters there
	}
	for _, id := range regexp.MustCompile(`direct-action.* id (\d+)`).FindAllSubmatch(out, -1) {
		n, err := strconv.ParseUint(string(id[1]), 10, 32)
		if err != nil {
			return nil, err
		}
		ids = append(ids, ebpf.ProgramID(n))
	}
	return ids, nil
}

func addMaps(id ebpf.ProgramID, maps map[ebpf.MapID]int) error {
	program, err := ebpf.NewProgramFromID(id)
	if err != nil {
		return err
	}
	defer program.Close()
	info, err := program.Info()
	if err != nil {
		return err
	}
	ids, _ := info.MapIDs()
	for _, id := range ids {
		m, err := ebpf.NewMapFromID(id)
		if err != nil {
			return err
		}
		maps[id] = entriesOf(m)
		m.Close()
	}
	return nil
}

// entriesOf counts a map's keys.
func entriesOf(m *ebpf.Map) int {
	n, key := 0, any(nil)
	for {
		next, err := m.NextKeyBytes(key)
		if err != nil || next == nil {
			return n
		}
		n, key = n+1, next
	}
}
