package tests

import (
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/fanctl/fanctl/tests/bed"
)

// The rules that Docker makes for a default bridge, here the fan bridge: 20.10, and
// 28 with a container at ADDRESS. It puts its own first in FORWARD and takes
// DOCKER-USER as it finds it.
const (
	docker20 = `iptables -P FORWARD DROP
for c in DOCKER DOCKER-ISOLATION-STAGE-1 DOCKER-ISOLATION-STAGE-2; do iptables -N $c; done
iptables -N DOCKER-USER 2>/dev/null || true
iptables -t nat -A POSTROUTING -s SLICE ! -o fan-250 -j MASQUERADE
iptables -I FORWARD -i fan-250 -o fan-250 -j ACCEPT
iptables -I FORWARD -i fan-250 ! -o fan-250 -j ACCEPT
iptables -I FORWARD -o fan-250 -j DOCKER
iptables -I FORWARD -o fan-250 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
iptables -I FORWARD -j DOCKER-ISOLATION-STAGE-1
iptables -A DOCKER-ISOLATION-STAGE-1 -i fan-250 ! -o fan-250 -j DOCKER-ISOLATION-STAGE-2
iptables -A DOCKER-ISOLATION-STAGE-1 -j RETURN
iptables -A DOCKER-ISOLATION-STAGE-2 -o fan-250 -j DROP
iptables -A DOCKER-ISOLATION-STAGE-2 -j RETURN
iptables -A DOCKER-USER -j RETURN
iptables -I FORWARD -j DOCKER-USER`
	docker28 = `iptables -P FORWARD DROP
for c in DOCKER DOCKER-FORWARD DOCKER-BRIDGE DOCKER-CT; do iptables -N $c; done
iptables -N DOCKER-USER 2>/dev/null || true
iptables -t nat -A POSTROUTING -s SLICE ! -o fan-250 -j MASQUERADE
iptables -I FORWARD -j DOCKER-FORWARD
iptables -I FORWARD -j DOCKER-USER
iptables -A DOCKER-FORWARD -j DOCKER-CT
iptables -A DOCKER-FORWARD -j DOCKER-BRIDGE
iptables -A DOCKER-FORWARD -i fan-250 -j ACCEPT
iptables -A DOCKER-BRIDGE -o fan-250 -j DOCKER
iptables -A DOCKER-CT -o fan-250 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
iptables -A DOCKER ! -i fan-250 -o fan-250 -j DROP
iptables -t raw -A PREROUTING -d ADDRESS ! -i fan-250 -j DROP`
	closed = `iptables -P FORWARD DROP; iptables -P INPUT DROP; iptables -P OUTPUT ACCEPT
iptables -A INPUT -i lo -j ACCEPT`
	rejecting = `iptables -A FORWARD -j REJECT; iptables -A INPUT -j REJECT`
)

// Containers reach each other whatever the hosts' firewalls think of forwarding,
// and whether those rules came before the fan or after it.
func TestFirewalls(t *testing.T) {
	for name, rules := range map[string]string{"Docker 20.10": docker20, "Docker 28": docker28, "closed": closed, "rejecting": rejecting} {
		for _, when := range []string{"before", "after"} {
			if name == "rejecting" && when == "before" {
				continue // what comes after is the same for the kernel: our jump is put first
			}
			t.Run(name+" "+when, func(t *testing.T) {
				eachPath(t, func(t *testing.T, p path) { firewalled(t, p, rules, when) })
			})
		}
	}
}

// firewalled tries a fan on hosts that get rules before it is up or after.
func firewalled(t *testing.T, p path, rules, when string) {
	t.Helper()
	b := bed.New(t, bed.Options{})
	if when == "before" {
		addRules(t, b, rules)
	}
	if when == "after" {
		installDocker(t)
	}
	fans := upAll(t, b, p, overlay)
	if when == "after" {
		addRules(t, b, rules)
	}
	throughFirewalls(t, fans)
}

// installDocker puts a dockerd into the search path: a host that may have Docker's rules
// any moment.
func installDocker(t *testing.T) {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "dockerd"), nil, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
}

func addRules(t *testing.T, b *bed.Bed, rules string) {
	t.Helper()
	for _, h := range b.Hosts {
		slice := bed.Slice(b.Underlay, netip.MustParsePrefix(overlay), h.Addr)
		words := strings.NewReplacer("SLICE", slice.String(), "ADDRESS", bed.Nth(slice, 2).String())
		h.Must(t, "sh", "-ec", words.Replace(rules))
	}
}

// throughFirewalls fails the test unless two containers reach each other and the
// other host's bridge, and see each other's own addresses.
func throughFirewalls(t *testing.T, fans []fan) {
	t.Helper()
	one, two := fans[0].container(t, bed.ContainerOptions{}), fans[1].container(t, bed.ContainerOptions{})
	reaches(t, one.NS, two.Addr, "container to container")
	reaches(t, two.NS, one.Addr, "and back")
	reaches(t, one.NS, fans[1].net.Gateway(), "container to the other host's bridge")
	server := two.Serve(t, two.Addr)
	for _, network := range []string{"tcp4", "udp4"} {
		if seen, err := one.SeenBy(network, server); err != nil || seen != one.Addr {
			t.Errorf("%s: %s sees %s, %v; want %s", network, two.Addr, seen, err, one.Addr)
		}
	}
}

// A firewall that was reloaded has lost our rules; up puts them back.
func TestFirewallReload(t *testing.T) {
	eachPath(t, func(t *testing.T, p path) {
		b := bed.New(t, bed.Options{})
		fans := upAll(t, b, p, overlay)
		ours := func() string {
			return fans[0].host.Must(t, "sh", "-c", "for t in raw nat filter; do iptables-save -t $t | grep FAN-; done; true")
		}
		before := ours()
		for _, h := range b.Hosts {
			h.Must(t, "sh", "-ec", "for t in raw nat filter; do iptables -t $t -F; iptables -t $t -X; done; iptables -P FORWARD DROP; iptables -P INPUT DROP")
		}
		one, two := fans[0].container(t, bed.ContainerOptions{}), fans[1].container(t, bed.ContainerOptions{})
		if got := one.Ping(two.Addr, 1); got != 0 && p.kind == "ipip" {
			t.Error("the firewall lets everything pass: what is there to heal?")
		}
		for _, f := range fans {
			f.up(t)
		}
		reaches(t, one.NS, two.Addr, "after up")
		if difference := bed.Diff(before, ours()); before == "" || difference != "" {
			t.Errorf("rules before:\n%s\nafter: %s", before, difference)
		}
	})
}

// Docker's other bridges as it closes them, 20.10 and 28, where nothing else does.
const (
	isolated20 = `iptables -P FORWARD ACCEPT
iptables -N DOCKER-ISOLATION-STAGE-1; iptables -N DOCKER-ISOLATION-STAGE-2; iptables -N DOCKER-USER
iptables -A DOCKER-USER -j RETURN
iptables -A FORWARD -j DOCKER-USER
iptables -A FORWARD -j DOCKER-ISOLATION-STAGE-1
for b in fan-250 other; do
	iptables -A DOCKER-ISOLATION-STAGE-1 -i $b ! -o $b -j DOCKER-ISOLATION-STAGE-2
	iptables -A DOCKER-ISOLATION-STAGE-2 -o $b -j DROP
done`
	isolated28 = `iptables -P FORWARD ACCEPT
iptables -N DOCKER-USER; iptables -N DOCKER-FORWARD; iptables -N DOCKER
iptables -A FORWARD -j DOCKER-USER
iptables -A FORWARD -j DOCKER-FORWARD
iptables -A DOCKER-FORWARD -o other -j DOCKER
iptables -A DOCKER-FORWARD -o fan-250 -j DOCKER
iptables -A DOCKER ! -i other -o other -j DROP
iptables -A DOCKER ! -i fan-250 -o fan-250 -j DROP
iptables -t raw -A PREROUTING -d 172.30.0.2 ! -i other -j DROP`
)

// What a firewall keeps apart stays apart: the fan opens the way to other hosts'
// containers and to the world, not to this host's other bridges.
func TestOtherBridgesStayClosed(t *testing.T) {
	for name, rules := range map[string]string{"closed": "iptables -P FORWARD DROP", "Docker 20.10": isolated20, "Docker 28": isolated28} {
		t.Run(name, func(t *testing.T) {
			eachPath(t, func(t *testing.T, p path) {
				b := bed.New(t, bed.Options{})
				h := b.Hosts[0]
				h.Must(t, "sh", "-ec", "ip link add other type bridge; ip addr add 172.30.0.1/24 dev other; ip link set other up")
				h.Must(t, "sh", "-ec", rules)
				fans := upAll(t, b, p, overlay)
				private := netip.MustParsePrefix("172.30.0.0/24")
				stranger := h.Container(t, bed.Network{Bridge: "other", Overlay: private, Slice: private}, bed.ContainerOptions{})
				c, far := fans[0].container(t, bed.ContainerOptions{}), fans[1].container(t, bed.ContainerOptions{})
				for _, pair := range [][2]*bed.Container{{stranger, c}, {c, stranger}, {stranger, far}} {
					came := pair[1].Capture(t, "eth0")
					answered := pair[0].Ping(pair[1].Addr, 1, "-W", "1")
					arrived := came.Frames(func(f bed.Frame) bool { return f.ICMP != nil && f.IP.Dst == pair[1].Addr })
					if answered != 0 || len(arrived) > 0 {
						t.Errorf("the fan has opened the way from %s to %s: %v", pair[0].Addr, pair[1].Addr, arrived)
					}
				}
				reaches(t, c.NS, far.Addr, "the fan's containers")
				reaches(t, c.NS, b.WorldAddr, "the fan's container to the world")
				reaches(t, h.NS, stranger.Addr, "the host to the other bridge's container")
			})
		})
	}
}
