package bed

import (
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/fanctl/fanctl/tests/bed/wire"
)

// The bed must carry plain traffic before a fan is tried on it.
func TestUnderlays(t *testing.T) {
	tests := map[string]Options{
		"flat /16":     {},
		"flat /24":     {Underlay: "192.168.1.0/24", Hosts: []string{"192.168.1.77", "192.168.1.3", "192.168.1.200"}},
		"flat /12":     {Underlay: "10.16.0.0/12", Hosts: []string{"10.17.2.3", "10.30.1.1"}},
		"jumbo frames": {MTU: 9000},
		"routed":       {Routed: true},
		"routed, one subnet shared": {Routed: true, Hosts: []string{"10.0.1.5", "10.0.1.6", "10.0.2.5"},
			Underlay: "10.0.0.0/16"},
	}
	for name, options := range tests {
		t.Run(name, func(t *testing.T) {
			b := New(t, options)
			whole := fmt.Sprint(b.MTU - 28) // 20 bytes IPv4, 8 bytes ICMP
			for _, to := range b.Hosts[1:] {
				if got := b.Hosts[0].Ping(to.Addr, 2, "-M", "do", "-s", whole); got != 2 {
					t.Errorf("%s to %s: %d of 2 pings of %d bytes answered", b.Hosts[0], to, got, b.MTU)
				}
				if got := b.Hosts[0].Ping(to.Addr, 1, "-M", "do", "-s", fmt.Sprint(b.MTU-27)); got > 0 {
					t.Errorf("%s: a ping larger than the MTU of %d was answered", to, b.MTU)
				}
			}
			server := b.World.Serve(t, b.WorldAddr)
			for _, network := range []string{"tcp4", "udp4"} {
				if seen, err := b.Hosts[0].SeenBy(network, server); err != nil || seen != b.Hosts[0].Addr {
					t.Errorf("the world sees %s over %s (%v), want %s", seen, network, err, b.Hosts[0].Addr)
				}
			}
		})
	}
}

func TestTwoBedsAtOnce(t *testing.T) {
	a, b := New(t, Options{}), New(t, Options{})
	if a.Hosts[0].Name == b.Hosts[0].Name {
		t.Errorf("two hosts have the name %s", a.Hosts[0].Name)
	}
}

// handMade gives a host a bridge as a fan would, without a fan.
func handMade(t *testing.T, h *Host) Network {
	t.Helper()
	overlay := netip.MustParsePrefix("250.0.0.0/8")
	n := Network{Bridge: "br0", Overlay: overlay, Slice: Slice(netip.MustParsePrefix("10.0.0.0/16"), overlay, h.Addr)}
	h.IP(t, "link add name br0 mtu 1480 type bridge", fmt.Sprintf("addr add %s/24 dev br0", n.Gateway()), "link set br0 up")
	h.Sysctl(t, "ipv4/ip_forward", "1")
	return n
}

func TestContainers(t *testing.T) {
	b := New(t, Options{})
	h := b.Hosts[0]
	n := handMade(t, h)
	b.RouteToSlice(n.Slice, h)
	one, two := h.Container(t, n, ContainerOptions{}), h.Container(t, n, ContainerOptions{Bits: 8, MTU: 1500})
	if one.Addr == two.Addr {
		t.Fatalf("two containers have the address %s", one.Addr)
	}
	if got := one.Device(t, "eth0").MTU; got != 1480 {
		t.Errorf("MTU of a container is %d, want the bridge's 1480", got)
	}
	if got := two.Device(t, "eth0").MTU; got != 1500 {
		t.Errorf("MTU of a container is %d, want 1500", got)
	}
	if got := one.Ping(two.Addr, 2); got != 2 {
		t.Errorf("%d of 2 pings between containers answered", got)
	}
	server := b.World.Serve(t, b.WorldAddr)
	if seen, err := one.SeenBy("tcp4", server); err != nil || seen != one.Addr {
		t.Errorf("the world sees %s (%v), want %s", seen, err, one.Addr)
	}
	if err := Transfer(one.NS, two.NS, two.Addr, 1<<20); err != nil {
		t.Error(err)
	}
	at := two.Serve(t, two.Addr)
	if got, err := one.EchoUDP(at, 5, 1400); err != nil || got != 5 {
		t.Errorf("%d of 5 datagrams came back, %v", got, err)
	}
	two.Remove(t)
	if got := one.Ping(two.Addr, 1, "-W", "1"); got > 0 {
		t.Error("a removed container answers")
	}
}

func TestCaptureAndSender(t *testing.T) {
	b := New(t, Options{})
	from, to := b.Hosts[0], b.Hosts[1]
	sent, came, port := from.Capture(t, "eth0"), to.Capture(t, "eth0"), b.SwitchCapture(from)
	packet := wire.IPv4{Src: from.Addr, Dst: to.Addr, Proto: wire.ProtoUDP, ID: 77, TTL: 9, TOS: wire.CE}.
		Build(wire.UDP{Src: 1, Dst: 4242}.Build([]byte("hello")))
	from.IPSender(t, to.Addr).Must(t, packet)
	ours := func(outgoing bool) func(Frame) bool {
		return func(f Frame) bool {
			return f.Outgoing == outgoing && f.UDP != nil && f.UDP.Dst == 4242 && f.IP.ID == 77
		}
	}
	if _, ok := sent.Wait(ours(true)); !ok {
		t.Error("the sender's device has not sent the packet")
	}
	if _, ok := port.Wait(ours(false)); !ok {
		t.Error("the switch has not got the packet")
	}
	f, ok := came.Wait(ours(false))
	if !ok || f.IP.TTL != 9 || f.IP.TOS != wire.CE || string(f.Payload) != "hello" || f.IP.Src != from.Addr {
		t.Errorf("came in: %s", f)
	}
	frame := wire.Eth{Dst: to.MAC(t, "eth0"), Src: from.MAC(t, "eth0"), Type: 0x88b5}.Build([]byte("by hand"))
	from.FrameSender(t, "eth0").Must(t, frame)
	if _, ok := came.Wait(func(f Frame) bool { return f.Eth.Type == 0x88b5 && string(f.Payload) == "by hand" }); !ok {
		t.Error("a frame built by hand has not come in")
	}
	if err := from.FrameSender(t, "eth0").Send(make([]byte, 1600)); err == nil {
		t.Error("a frame longer than the MTU was sent")
	}
}

// Every kind of thing that a fan could leave behind shows up in a snapshot, and
// is gone from it when it is taken away.
func TestSnapshotSees(t *testing.T) {
	tests := []struct{ name, do, undo string }{
		{"device", "ip link add x type veth peer name y", "ip link del x"},
		{"device down", "ip link set spare down", "ip link set spare up"},
		{"alias", "ip link set eth0 alias hello", "ip link set eth0 alias ''"},
		{"MTU", "ip link set eth0 mtu 1400", "ip link set eth0 mtu 1500"},
		{"MAC", "ip link set spare address 02:00:00:00:00:01", "ip link set spare address 02:00:00:00:00:02"},
		{"address", "ip addr add 10.9.9.9/32 dev lo", "ip addr del 10.9.9.9/32 dev lo"},
		{"route", "ip route add 10.9.9.0/24 dev eth0", "ip route del 10.9.9.0/24 dev eth0"},
		{"route of another table", "ip route add default dev eth0 table 99", "ip route del default dev eth0 table 99"},
		{"rule", "ip rule add fwmark 9 table 99", "ip rule del fwmark 9 table 99"},
		{"neighbour", "ip neigh add 10.0.9.9 lladdr 02:00:00:00:00:09 dev eth0 nud permanent", "ip neigh del 10.0.9.9 dev eth0"},
		{"sysctl of a device", "echo 1 >/proc/sys/net/ipv4/conf/eth0/proxy_arp", "echo 0 >/proc/sys/net/ipv4/conf/eth0/proxy_arp"},
		{"neighbour sysctl", "echo 7 >/proc/sys/net/ipv4/neigh/eth0/ucast_solicit", "echo 3 >/proc/sys/net/ipv4/neigh/eth0/ucast_solicit"},
		{"forwarding", "echo 1 >/proc/sys/net/ipv4/ip_forward", "echo 0 >/proc/sys/net/ipv4/ip_forward"},
		{"IPv6 sysctl", "echo 0 >/proc/sys/net/ipv6/conf/lo/accept_ra", "echo 1 >/proc/sys/net/ipv6/conf/lo/accept_ra"},
		{"iptables rule", "iptables -A FORWARD -i x -j ACCEPT", "iptables -D FORWARD -i x -j ACCEPT"},
		{"iptables chain", "iptables -t raw -N X", "iptables -t raw -X X"},
		{"iptables policy", "iptables -P FORWARD DROP", "iptables -P FORWARD ACCEPT"},
		{"nft table", "nft add table inet x", "nft delete table inet x"},
		{"qdisc", "tc qdisc add dev eth0 clsact", "tc qdisc del dev eth0 clsact"},
		{"filter", "tc filter add dev spare ingress pref 7 bpf da bytecode '1,6 0 0 0'", "tc filter del dev spare ingress pref 7"},
	}
	h := New(t, Options{}).Hosts[0]
	h.Must(t, "sh", "-c", "ip link add spare address 02:00:00:00:00:02 type veth peer name spare2; ip link set spare up; tc qdisc add dev spare clsact; "+
		"echo 0 >/proc/sys/net/ipv4/ip_forward; echo 0 >/proc/sys/net/ipv4/conf/eth0/proxy_arp; echo 1 >/proc/sys/net/ipv6/conf/lo/accept_ra")
	before := h.Settled(t)
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			h.Must(t, "sh", "-c", test.do)
			if Diff(before, h.Snapshot(t)) == "" {
				t.Errorf("%s: not in the snapshot", test.do)
			}
			h.Must(t, "sh", "-c", test.undo)
			if difference := h.Becomes(t, before); difference != "" {
				t.Errorf("%s; %s: %s", test.do, test.undo, difference)
			}
		})
	}
}

func TestWatch(t *testing.T) {
	h := New(t, Options{}).Hosts[0]
	h.Settled(t)
	if changes := h.Watch(t)(); len(changes) > 0 {
		t.Errorf("nothing was changed, but: %v", changes)
	}
	stop := h.Watch(t)
	h.IP(t, "route add 10.9.9.0/24 dev eth0", "route del 10.9.9.0/24 dev eth0")
	if changes := fmt.Sprint(stop()); changes != "[new route route gone]" {
		t.Errorf("a route was added and removed, but: %v", changes)
	}
}

func TestStartPing(t *testing.T) {
	b := New(t, Options{})
	wait, ended := b.Hosts[0].StartPing(t, b.Hosts[1].Addr, 50, "-i", "0.01")
	select {
	case <-ended:
		t.Error("half a second of pings is over at once")
	default:
	}
	if sent, answered := wait(); sent != 50 || answered != 50 {
		t.Errorf("%d of %d pings answered, want 50 of 50", answered, sent)
	}
}

func TestHasDevice(t *testing.T) {
	for kind, want := range map[string]bool{"bridge": true, "vxlan external dstport 4789": true, "no-such-device": false} {
		if got, err := HasDevice(kind); err != nil || got != want {
			t.Errorf("HasDevice(%s) = %t, %v, want %t", kind, got, err, want)
		}
	}
	if left, _ := filepath.Glob(fmt.Sprintf("%s/%s%d-*-probe", netnsDir, prefix, os.Getpid())); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

// A run that was killed leaves its namespaces; the next takes them away, and
// only those of dead processes.
func TestSweep(t *testing.T) {
	dead := exec.Command("true")
	if err := dead.Run(); err != nil {
		t.Fatal(err)
	}
	orphan, err := newNS(fmt.Sprintf("%s%d-0-h1", prefix, dead.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	defer orphan.fd.Close()
	ours := New(t, Options{}).Hosts[0]
	if err := Sweep(); err != nil {
		t.Fatal(err)
	}
	names, err := os.ReadDir(netnsDir)
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, n := range names {
		all = append(all, n.Name())
	}
	list := strings.Join(all, " ")
	if strings.Contains(list, orphan.Name) {
		t.Errorf("%s is still there", orphan.Name)
	}
	if !strings.Contains(list, ours.Name) {
		t.Errorf("%s of a living process is gone", ours.Name)
	}
}

func TestEBPFObjects(t *testing.T) {
	New(t, Options{}) // skips without root
	if programs, maps := EBPFObjects(t); programs < 0 || maps < 0 {
		t.Errorf("%d programs, %d maps", programs, maps)
	}
}
