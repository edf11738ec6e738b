package tests

import (
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/fanctl/fanctl/tests/bed"
)

// reload is a firewall that is loaded anew and knows nothing of a fan. It lets the
// tunnels' packets in: those of vxlan have other ports each way, so that connection
// tracking never sees an answer among them.
const reload = `iptables-restore <<END
*raw
COMMIT
*nat
COMMIT
*filter
:FORWARD DROP
-A FORWARD -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
COMMIT
END`

// A firewall that is loaded anew, again and again, takes away the fan's rules and
// up puts them back, on both hosts, while containers talk: they do not notice.
func TestReloadLosesNoPacket(t *testing.T) {
	eachPath(t, func(t *testing.T, p path) {
		b := bed.New(t, bed.Options{})
		fans := upAll(t, b, p, overlay)
		one, two := fans[0].container(t, bed.ContainerOptions{}), fans[1].container(t, bed.ContainerOptions{})
		whilePinging(t, one, two, func(n int) {
			f := fans[n%2]
			f.host.Must(t, "sh", "-ec", reload)
			f.up(t)
		})
		throughFirewalls(t, fans)
	})
}

// The older kernel interface, by the programs that a host can have in place of
// those of nftables.
func TestLegacyFirewalls(t *testing.T) {
	legacy, err := exec.LookPath("xtables-legacy-multi")
	if err != nil {
		t.Skip("LEFT OUT: no xtables-legacy-multi, of the package iptables")
	}
	folder := t.TempDir()
	for _, name := range []string{"iptables", "iptables-save", "iptables-restore"} {
		if err := os.Symlink(legacy, filepath.Join(folder, name)); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("PATH", folder+":"+os.Getenv("PATH"))
	for name, rules := range map[string]string{"Docker 20.10": docker20, "Docker 28": docker28, "closed": closed} {
		for _, when := range []string{"before", "after"} {
			t.Run(name+" "+when, func(t *testing.T) {
				eachPath(t, func(t *testing.T, p path) { firewalled(t, p, rules, when) })
			})
		}
	}
	t.Run("leaves nothing", func(t *testing.T) {
		b := bed.New(t, bed.Options{})
		h := b.Hosts[0]
		// Its tables stay once they were used.
		h.Must(t, "sh", "-ec", "for t in raw nat filter; do iptables -t $t -S; done; iptables -P FORWARD DROP")
		before := h.Settled(t)
		f := upOn(t, b, h, ipipEBPF(), overlay)
		f.up(t)
		f.down(t)
		if difference := h.Becomes(t, before); difference != "" {
			t.Error(difference)
		}
	})
}

// Bridged packets pass the host's firewall or they don't (br_netfilter): a vxlan
// fan's containers reach each other either way, on one host too, and only with the
// fan's rules where they do.
func TestBridgedFirewall(t *testing.T) {
	const setting = "/proc/sys/net/bridge/bridge-nf-call-iptables"
	for _, value := range []string{"0", "1"} {
		t.Run(value, func(t *testing.T) {
			b := bed.New(t, bed.Options{})
			if b.Hosts[0].Exec("test", "-e", setting).Code != 0 {
				t.Skip("LEFT OUT: the kernel has no br_netfilter")
			}
			for _, h := range b.Hosts {
				h.Must(t, "sh", "-c", "echo "+value+" >"+setting)
			}
			addRules(t, b, closed)
			fans := upAll(t, b, vxlan(), overlay)
			throughFirewalls(t, fans)
			one, two := fans[0].container(t, bed.ContainerOptions{}), fans[0].container(t, bed.ContainerOptions{})
			reaches(t, one.NS, two.Addr, "two containers of one host")
			transfer(t, one, fans[1].container(t, bed.ContainerOptions{}), 4<<20)

			fans[0].host.Must(t, "iptables", "-F", "FAN-FORWARD")
			if passed := one.Ping(two.Addr, 1, "-W", "1") == 1; passed != (value == "0") {
				t.Errorf("without the fan's rules: bridged packets pass: %t", passed)
			}
		})
	}
}

// Outside, a packet has the address of the device that it leaves by, whichever that
// is; inside, its container's.
func TestWaysOut(t *testing.T) {
	const second = "198.51.100."
	eachPath(t, func(t *testing.T, p path) {
		for _, policy := range []string{"ACCEPT", "DROP"} {
			t.Run(policy, func(t *testing.T) {
				b := bed.New(t, bed.Options{})
				h, abroad := b.Hosts[0], b.NS("abroad")
				h.Must(t, "iptables", "-P", "FORWARD", policy)
				h.IP(t, "link add wan type veth peer name eth0 netns "+abroad.Name, "addr add "+second+"1/24 dev wan", "link set wan up",
					"route add default via "+second+"2 dev wan metric 500")
				abroad.IP(t, "addr add "+second+"2/24 dev eth0", "addr add 192.0.2.1/32 dev lo", "link set eth0 up")
				h.IP(t, "route add 192.0.2.1/32 via "+second+"2")
				c := upOn(t, b, h, p, overlay).container(t, bed.ContainerOptions{})
				for _, way := range []struct {
					to   *bed.NS
					at   netip.Addr
					seen netip.Addr
				}{
					{b.World, b.WorldAddr, h.Addr},
					{abroad, netip.MustParseAddr(second + "2"), netip.MustParseAddr(second + "1")},
					{abroad, netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr(second + "1")},
				} {
					server := way.to.Serve(t, way.at)
					for _, network := range []string{"tcp4", "udp4"} {
						if seen, err := c.SeenBy(network, server); err != nil || seen != way.seen {
							t.Errorf("%s over %s: seen from %s (%v), want %s", way.at, network, seen, err, way.seen)
						}
					}
				}
			})
		}
	})
}
