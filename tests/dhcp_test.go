package tests

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/fanctl/fanctl/tests/bed"
)

// leaseScript is what a container does with a lease: busybox's udhcpc leaves that to
// a script, and says what it got in a file.
const leaseScript = `#!/bin/sh
case $1 in
deconfig) ip link set $interface up ;;
bound|renew)
	ip addr replace $ip/$mask dev $interface
	ip link set $interface mtu ${mtu:-1500}
	ip route replace default via $router dev $interface
	echo $ip $mask ${mtu:-0} $router $dns >$LEASE ;;
esac
`

// dhcpHost is a host with a fan that has DHCP, and a folder for its leases.
type dhcpHost struct {
	fan
	state string
	dir   string
	env   []string
}

// dhcpOn brings a fan with DHCP up on a host. Its dnsmasq ends with the test.
func dhcpOn(t *testing.T, b *bed.Bed, h *bed.Host, p path, more ...string) *dhcpHost {
	t.Helper()
	d := &dhcpHost{dir: t.TempDir()}
	d.state = filepath.Join(d.dir, "state")
	d.env = []string{"FANCTL_STATE=" + d.state}
	if err := os.WriteFile(filepath.Join(d.dir, "script"), []byte(leaseScript), 0o755); err != nil {
		t.Fatal(err)
	}
	over := netip.MustParsePrefix(overlay)
	d.fan = fan{host: h, path: p, args: append(append(append(fanArgs(b, overlay), p.args...), "--dhcp"), more...),
		net: bed.Network{Bridge: "fan-250", Overlay: over, Slice: bed.Slice(b.Underlay, over, h.Addr)}}
	t.Cleanup(func() {
		if r := h.Fanctl("down", "-e", "--force"); r.Code != 0 {
			t.Errorf("%s: down: %s", h, r)
		}
		if left := servers(t, h); len(left) > 0 {
			t.Errorf("%s: dnsmasq is left: %v", h, left)
		}
	})
	d.up(t)
	return d
}

// up runs fanctl up and returns what it wrote to the errors.
func (d *dhcpHost) up(t *testing.T) string {
	t.Helper()
	r := d.host.FanctlEnv(d.env, append([]string{"up"}, d.args...)...)
	if r.Code != 0 {
		t.Fatalf("%s: up %q: %s", d.host, d.args, r)
	}
	return r.Stderr
}

// servers returns the processes of dnsmasq in a host's namespace.
func servers(t *testing.T, h *bed.Host) []int {
	t.Helper()
	var list []int
	for _, word := range strings.Fields(h.Must(t, "ip", "netns", "pids", h.Name)) {
		pid, err := strconv.Atoi(word)
		if err != nil {
			t.Fatal(err)
		}
		if text, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid)); err == nil && strings.Contains(string(text), "dnsmasq\x00--interface=fan-") {
			list = append(list, pid)
		}
	}
	return list
}

// killServers ends them, and waits for that: one that has a signal to die of is there
// until it gets a processor.
func killServers(t *testing.T, h *bed.Host) {
	t.Helper()
	for _, pid := range servers(t, h) {
		h.Must(t, "kill", "-9", strconv.Itoa(pid))
	}
	if !eventually(func() bool { return len(servers(t, h)) == 0 }) {
		t.Fatal("dnsmasq does not die")
	}
}

// guest is a container that asks for its address.
type guest struct {
	*bed.NS
	dhcp *dhcpHost
	name string
}

// lease is what DHCP told a container.
type lease struct {
	addr, router, dns netip.Addr
	bits, mtu         int
}

func (d *dhcpHost) guest(t *testing.T, b *bed.Bed, name string) *guest {
	t.Helper()
	g := &guest{b.NS(name), d, name}
	d.host.IP(t, fmt.Sprintf("link add %s type veth peer name eth0 netns %s", name, g.Name),
		fmt.Sprintf("link set %s master %s up", name, d.net.Bridge))
	g.IP(t, "link set eth0 up")
	return g
}

// ask gets a lease by udhcpc.
func (g *guest) ask(t *testing.T) (l lease) {
	t.Helper()
	file := filepath.Join(g.dhcp.dir, g.name)
	g.Must(t, "env", "LEASE="+file, "busybox", "udhcpc", "-i", "eth0", "-n", "-q", "-t", "30", "-T", "1", "-x", "hostname:"+g.name,
		"-s", filepath.Join(g.dhcp.dir, "script"))
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var words [5]string
	if _, err := fmt.Sscan(string(text), &words[0], &words[1], &words[2], &words[3], &words[4]); err != nil {
		t.Fatalf("lease %q: %v", text, err)
	}
	l.addr, l.router, l.dns = netip.MustParseAddr(words[0]), netip.MustParseAddr(words[3]), netip.MustParseAddr(words[4])
	l.bits, _ = strconv.Atoi(words[1])
	l.mtu, _ = strconv.Atoi(words[2])
	return l
}

// knows fails the test unless a name is that of an address.
func (g *guest) knows(t *testing.T, name string, l lease) {
	t.Helper()
	if r := g.Exec("busybox", "nslookup", "-type=a", name, l.dns.String()); r.Code != 0 || !strings.Contains(r.Stdout, l.addr.String()) {
		t.Errorf("%s asks for %s, want %s: %s", g.name, name, l.addr, r)
	}
}

// Containers that ask get an address of the slice's lower half, the fan's MTU and a
// gateway, reach the other host's, and know each other by name; also where the host
// drops what is not allowed.
func TestDHCP(t *testing.T) {
	eachPath(t, func(t *testing.T, p path) {
		b := bed.New(t, bed.Options{NoIPv6: true})
		before := b.Hosts[0].Settled(t)
		b.Hosts[1].Must(t, "iptables", "-P", "INPUT", "DROP")
		one, two := dhcpOn(t, b, b.Hosts[0], p, "--host-reserve", "3"), dhcpOn(t, b, b.Hosts[1], p)
		web, mail, far := one.guest(t, b, "web"), one.guest(t, b, "mail"), two.guest(t, b, "far")
		leases := map[*guest]lease{web: web.ask(t), mail: mail.ask(t), far: far.ask(t)}
		for g, l := range leases {
			first := 2
			if g.dhcp == one {
				first = 4
			}
			if l.addr.Less(bed.Nth(g.dhcp.net.Slice, first)) || bed.Nth(g.dhcp.net.Slice, 127).Less(l.addr) {
				t.Errorf("%s has %s, which is not in the lower half of %s from %d on", g.name, l.addr, g.dhcp.net.Slice, first)
			}
			bits := 24
			if p.kind == "vxlan" {
				bits = 8
			}
			if l.bits != bits || l.mtu != g.dhcp.mtu(b) || l.router != g.dhcp.net.Gateway() || l.dns != g.dhcp.net.Gateway() {
				t.Errorf("%s has %+v", g.name, l)
			}
		}
		reaches(t, web.NS, leases[far].addr, "to the other host")
		reaches(t, far.NS, leases[mail].addr, "from the other host")
		reaches(t, far.NS, bed.Nth(one.net.Slice, 3), "to an address that the host keeps")
		web.knows(t, "mail", leases[mail])
		far.knows(t, "far", leases[far])

		for _, d := range []*dhcpHost{one, two} {
			if r := d.host.FanctlEnv(d.env, append([]string{"up", "--dry-run"}, d.args...)...); r.Code != 0 || r.Stdout != "" {
				t.Errorf("%s: up again would do something: %s", d.host, r)
			}
		}
		one.host.MustFanctl(t, "down", "-e", "--force")
		one.host.IP(t, "link del web", "link del mail")
		if difference := one.host.Becomes(t, before); difference != "" {
			t.Errorf("after down: %s", difference)
		}
	})
}

// A dnsmasq that died comes back with up, and containers keep what they had; other
// options restart it, and without --dhcp it ends.
func TestDHCPAgain(t *testing.T) {
	b := bed.New(t, bed.Options{NoIPv6: true})
	h := b.Hosts[0]
	d := dhcpOn(t, b, h, ipipEBPF())
	web := d.guest(t, b, "web")
	first := web.ask(t)
	killServers(t, h)
	d.up(t)
	if again := web.ask(t); again != first {
		t.Errorf("after dnsmasq died: %+v, before: %+v", again, first)
	}
	web.knows(t, "web", first)

	d.args = append(d.args, "--mtu", "1300")
	d.up(t)
	if l := web.ask(t); l.mtu != 1300 || l.addr != first.addr || len(servers(t, h)) != 1 {
		t.Errorf("with another MTU: %+v, dnsmasq %v", l, servers(t, h))
	}
	d.args = append(fanArgs(b, overlay), "--host-reserve", "2")
	d.up(t)
	if left := servers(t, h); len(left) > 0 {
		t.Errorf("without --dhcp there is dnsmasq %v", left)
	}
	if rules := h.Must(t, "iptables", "-S"); strings.Contains(rules, "--dport 67") {
		t.Errorf("without --dhcp: %s", rules)
	}
	d.args = fanArgs(b, overlay)
	d.up(t)
	if addresses := h.Must(t, "ip", "-br", "addr", "show", "fan-250"); strings.Contains(addresses, "250.0.11.2/") {
		t.Errorf("without --host-reserve: %s", addresses)
	}
}

// With another address of the host, DHCP hands out addresses of the new slice.
func TestDHCPMoves(t *testing.T) {
	b := bed.New(t, bed.Options{NoIPv6: true})
	h := b.Hosts[0]
	d := dhcpOn(t, b, h, vxlan())
	web := d.guest(t, b, "web")
	web.ask(t)
	h.IP(t, fmt.Sprintf("addr del %s/16 dev eth0", h.Addr), "addr add 10.0.7.99/16 brd + dev eth0")
	d.up(t)
	if l := web.ask(t); !netip.MustParsePrefix("250.7.99.0/24").Contains(l.addr) || l.router.String() != "250.7.99.1" {
		t.Errorf("after the move: %+v", l)
	}
	if list := servers(t, h); len(list) != 1 {
		t.Errorf("dnsmasq %v", list)
	}
}

// Where a DNS server listens on all addresses, DHCP works beside it, and it is said
// who answers.
func TestDHCPBesideAnotherServer(t *testing.T) {
	b := bed.New(t, bed.Options{NoIPv6: true})
	h := b.Hosts[0]
	stop := h.Start(t, "dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null", "--pid-file=", "--user=root", "--no-hosts", "--address=/answer.test/192.0.2.7")
	defer stop()
	if !eventually(func() bool { return strings.Contains(h.Must(t, "cat", "/proc/net/tcp"), ":0035 ") }) {
		t.Fatal("the other server does not start")
	}
	d := dhcpOn(t, b, h, ipipEBPF())
	if told := d.up(t); strings.Count(told, "\n") != 1 || !strings.Contains(told, "DNS") {
		t.Errorf("beside another DNS server, up says %q", told)
	}
	web := d.guest(t, b, "web")
	l := web.ask(t)
	l.addr = netip.MustParseAddr("192.0.2.7")
	web.knows(t, "answer.test", l)
}

// What is wrong with DHCP is said in one line. A damaged lease is no reason for no
// fan; no dnsmasq is one.
func TestDHCPTrouble(t *testing.T) {
	b := bed.New(t, bed.Options{NoIPv6: true})
	h := b.Hosts[0]
	before := h.Settled(t)
	r := h.Exec("unshare", "--mount", "--propagation", "private", "sh", "-c", `mount --bind /dev/null /usr/sbin/dnsmasq && exec "$0" "$@"`,
		os.Getenv(bed.BinaryVariable), "up", "eth0", "250", "dhcp")
	if r.Code != 1 || strings.Count(r.Stderr, "\n") != 1 || !strings.Contains(r.Stderr, "dnsmasq-base") {
		t.Errorf("without dnsmasq: %s", r)
	}
	if difference := h.Becomes(t, before); difference != "" {
		t.Errorf("without dnsmasq: %s", difference)
	}
	for words, wanted := range map[string]string{
		"--dhcp --host-reserve 127": "126", "--host-reserve 0": `"0"`, "host-reserve x": `"x"`, "dhcp --type vxlan host-reserve 300": `"300"`,
	} {
		r := h.Fanctl(append([]string{"up", "eth0", "250"}, strings.Fields(words)...)...)
		if r.Code != 2 || strings.Count(r.Stderr, "\n") != 1 || !strings.Contains(r.Stderr, wanted) {
			t.Errorf("up %s: %s", words, r)
		}
	}

	d := dhcpOn(t, b, h, ipipEBPF())
	h.MustFanctl(t, "down", "-e")
	file := filepath.Join(d.state, "fan-250.leases")
	if err := os.WriteFile(file, []byte("4102444800 02:00:00:00:00:01 250.0.11.77 old *\nwhat is this\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if told := d.up(t); strings.Count(told, "\n") != 1 || !strings.Contains(told, file+":2: ") {
		t.Errorf("with a damaged lease, up says %q", told)
	}
	web := d.guest(t, b, "web")
	l := web.ask(t)
	l.addr = netip.MustParseAddr("250.0.11.77")
	web.knows(t, "old", l)
}
