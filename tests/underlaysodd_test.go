package tests

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/fanctl/fanctl/tests/bed"
)

// vrfDevice is what ip-link(8) calls a VRF.
const vrfDevice = "vrf table 7"

// Rules lead what comes from the host address by another card and another gateway:
// the tunnel's packets go that way, and have that way's MTU.
func TestPolicyRouting(t *testing.T) {
	for _, rule := range []string{"from HOST lookup 100", "iif lo from HOST lookup 100", "to 10.0.0.0/16 lookup 100"} {
		t.Run(rule, func(t *testing.T) {
			eachPath(t, func(t *testing.T, p path) {
				b := bed.New(t, bed.Options{NoIPv6: true})
				b.SecondCards(1400)
				b.Router.IP(t, "addr add 192.168.2.254/24 dev second")
				for _, h := range b.Hosts {
					h.IP(t, fmt.Sprintf("addr add 192.168.2.%d/24 dev eth1", number(b, h)),
						fmt.Sprintf("route add default via 192.168.2.254 src %s table 100", h.Addr), "rule add "+strings.ReplaceAll(rule, "HOST", h.Addr.String()))
				}
				u := underlay{mtu: 1400}
				if p.kind == "vxlan" && !bed.KernelAtLeast(t, 6, 0) && !strings.HasPrefix(rule, "to ") {
					r := b.Hosts[0].Fanctl(slices.Concat([]string{"up"}, fanArgs(b, overlay), p.args)...)
					if r.Code != 1 || !oneLine(r.Stderr, "table 100", b.Hosts[0].Addr.String(), "--type ipip") {
						t.Errorf("with a rule that the kernel can't follow: %s", r)
					}
					return
				}
				sent := b.Hosts[0].Capture(t, "eth1")
				fans := []fan{u.up(t, b, b.Hosts[0], p), u.up(t, b, b.Hosts[1], p)}
				u.carries(t, b, fans)
				if _, ok := sent.Wait(func(f bed.Frame) bool { return f.Outgoing && f.Tunnelled() }); !ok {
					t.Error("no packet of the tunnel has left by eth1")
				}
				for _, f := range fans {
					nothingToMend(t, f.host)
				}
			})
		})
	}
}

// A routing protocol takes one way away, then the other: packets go on, from and to
// either card. What the device is called then is put right by up -e.
func TestWayIsWithdrawn(t *testing.T) {
	eachPath(t, func(t *testing.T, p path) {
		b := bed.New(t, bed.Options{NoIPv6: true})
		loopback(1500)(t, b)
		u := underlay{named: byAddress}
		fans := []fan{u.up(t, b, b.Hosts[0], p), u.up(t, b, b.Hosts[1], p)}
		one, two := fans[0].container(t, bed.ContainerOptions{}), fans[1].container(t, bed.ContainerOptions{})
		reaches(t, one.NS, two.Addr, "by two ways")
		only := func(h *bed.Host, cards ...int) {
			t.Helper()
			for i, other := range b.Hosts {
				if other != h {
					words := fmt.Sprintf("route replace %s src %s", other.Addr, h.Addr)
					for _, card := range cards {
						words += fmt.Sprintf(" nexthop via 192.168.%d.%d", card, i+1)
					}
					h.IP(t, words)
				}
			}
		}
		for _, h := range b.Hosts { // packets may come by the other card than they leave by
			for _, conf := range []string{"all", "eth0", "eth1"} {
				h.Sysctl(t, "ipv4/conf/"+conf+"/rp_filter", "2")
			}
		}
		for _, cards := range [][2]int{{1, 1}, {2, 2}, {1, 2}, {2, 1}} {
			only(b.Hosts[0], cards[0])
			only(b.Hosts[1], cards[1])
			reaches(t, one.NS, two.Addr, fmt.Sprintf("there by card %d, back by card %d", cards[0], cards[1]))
			reaches(t, two.NS, one.Addr, fmt.Sprintf("back by card %d, there by card %d", cards[1], cards[0]))
		}
		// The first host now has only its second card.
		if said, _ := mend(t, b.Hosts[0]); !strings.Contains(said, "eth1") {
			t.Errorf("up -e does not say that the device is another: %q", said)
		}
		if got := b.Hosts[0].ShowOf(t, "fan-250").Device; got != "eth1" {
			t.Errorf("show names the device %s, want eth1", got)
		}
		nothingToMend(t, b.Hosts[0])
		reaches(t, one.NS, two.Addr, "after up -e")
		only(b.Hosts[0], 1, 2) // before anybody has put anything right
		only(b.Hosts[1], 1)
		reaches(t, two.NS, one.Addr, "by the card that was away")
		mend(t, b.Hosts[0])
		nothingToMend(t, b.Hosts[0])
	})
}

// Where a firewall lets through only what is asked for, containers reach the hosts of
// the underlay by each of the ways there.
func TestHostsByEachWay(t *testing.T) {
	eachPath(t, func(t *testing.T, p path) {
		b := bed.New(t, bed.Options{NoIPv6: true})
		loopback(1500)(t, b)
		h := b.Hosts[0]
		h.Sysctl(t, "ipv4/fib_multipath_hash_policy", "1") // by ports, too
		h.Must(t, "iptables", "-P", "FORWARD", "DROP")
		c := underlay{named: byAddress}.up(t, b, h, p).container(t, bed.ContainerOptions{})
		server := b.Hosts[1].Serve(t, b.Hosts[1].Addr)
		by := map[netip.Addr]int{}
		const most = 32
		for range most {
			seen, err := c.SeenBy("tcp4", server)
			if err != nil {
				t.Fatalf("after connections by %v: %v", by, err)
			}
			by[seen]++
		}
		if len(by) != 2 {
			t.Errorf("%d connections went by %v, want two ways", most, by)
		}
	})
}

// An address that could be anybody's has to be named, and one that leads nowhere is
// refused; both in a line that says what would be right.
func TestLoopbackAddressRefused(t *testing.T) {
	b := bed.New(t, bed.Options{NoIPv6: true})
	h := b.Hosts[0]
	h.IP(t, "addr flush dev eth0", fmt.Sprintf("addr add %s/32 dev lo", h.Addr))
	for word, want := range map[string]string{
		"10.0.0.0/16":  "10.0.0.0/16 10.0.0.11/32 lo name 10.0.0.11/16",
		byAddress(h):   "10.0.0.11 lo no route 10.0.0.0/16",
		"lo/16":        "10.0.0.11 lo no route 10.0.0.0/16",
		"eth0/16":      "eth0 no IPv4 address 10.0.0.11/32 lo",
		"127.0.0.1/16": "127.0.0.1 no address 10.0.0.11/32",
		"10.0.0.12/16": "10.0.0.12 no address 10.0.0.11/32 lo",
	} {
		r := h.Fanctl("up", "-u", word, "-o", overlay)
		if r.Code != 2 || !oneLine(r.Stderr, strings.Fields(want)...) {
			t.Errorf("up -u %s: %s; want one line with %s", word, r, want)
		}
	}
	done := h.StartFanctl("up", "-u", byAddress(h), "-o", overlay, "--wait", "60")
	h.IP(t, fmt.Sprintf("route add 10.0.0.0/16 dev eth0 src %s", h.Addr))
	if r := <-done; r.Code != 0 {
		t.Errorf("a route that comes later is not waited for: %s", r)
	}
	if got := h.ShowOf(t, "fan-250"); got.Device != "eth0" || got.Host != h.Addr.String() {
		t.Errorf("show has %+v", got)
	}
	if got := h.MustFanctl(t, "show", "fan-250"); !strings.Contains(got, "10.0.0.11 on lo and sends by eth0\n") {
		t.Errorf("show does not say where the address is:\n%s", got)
	}
	h.MustFanctl(t, "down", "-u", "lo/16", "-o", overlay)
}

// Tunnels go by the host's own routing tables: a network inside of a VRF is refused.
func TestVRFRefused(t *testing.T) {
	if !hasDevice(t, vrfDevice) {
		return // TestMain says so
	}
	b := bed.New(t, bed.Options{NoIPv6: true})
	h := b.Hosts[0]
	h.IP(t, "link add blue type "+vrfDevice, "link set blue up", "link set eth0 master blue")
	eachPath(t, func(t *testing.T, p path) {
		r := h.Fanctl(slices.Concat([]string{"up"}, fanArgs(b, overlay), p.args)...)
		if r.Code != 2 || !oneLine(r.Stderr, "10.0.0.0/16", "eth0", "VRF", "blue") {
			t.Errorf("an underlay inside of a VRF: %s", r)
		}
	})
}

// Nobody but hosts of the underlay is behind the bridges of containers, whose networks
// may be a part of it: nothing is attached there.
func TestNoReceiverOnOtherBridges(t *testing.T) {
	b := bed.New(t, bed.Options{NoIPv6: true})
	h := b.Hosts[0]
	h.IP(t, "link add br7 type bridge", "addr add 10.0.77.1/24 dev br7", "link set br7 up", "link add p0 type veth peer name p1", "link set p0 master br7 up", "link set p1 up")
	before := h.Settled(t)
	underlay{named: byAddress}.up(t, b, h, ipipEBPF())
	for line := range strings.Lines(h.Snapshot(t)) {
		if strings.HasPrefix(line, "tc") && strings.Contains(line, " br7 ") && !strings.Contains(before, line) {
			t.Errorf("attached to somebody's bridge: %s", line)
		}
	}
}

// A rule for sockets that are bound to a device leads no packet of a tunnel, as the
// kernel says, too: nothing is attached there.
func TestNoReceiverByRuleOfDevice(t *testing.T) {
	b := bed.New(t, bed.Options{NoIPv6: true})
	b.SecondCards(1400)
	h := b.Hosts[0]
	h.IP(t, "addr add 192.168.2.1/24 dev eth1", "route add default via 192.168.2.254 table 100", "rule add oif eth1 lookup 100")
	for words, device := range map[string]string{"": "dev eth0", " oif eth1": "dev eth1"} {
		if got := h.Must(t, "sh", "-c", "ip route get 10.0.3.4"+words); !strings.Contains(got, device) {
			t.Errorf("ip route get 10.0.3.4%s: %s, want %s", words, got, device)
		}
	}
	before := h.Settled(t)
	underlay{}.up(t, b, h, ipipEBPF())
	for line := range strings.Lines(h.Snapshot(t)) {
		if strings.HasPrefix(line, "tc") && strings.Contains(line, " eth1 ") && !strings.Contains(before, line) {
			t.Errorf("attached to a device that no packet takes: %s", line)
		}
	}
}
