//go:build containers

package containers

import (
	"strings"
	"testing"

	"github.com/fanctl/fanctl/tests/bed"
)

// breakage is something that is broken on purpose between two machines, and the words
// by which the test of both must name it.
type breakage struct {
	name   string
	breaks func(t *testing.T)
	mends  func(t *testing.T)
	words  string
}

func breakages(b *bed.Bed, other *machine) []breakage {
	on := func(n *bed.NS, words string) func(*testing.T) {
		return func(t *testing.T) {
			t.Helper()
			n.Must(t, strings.Fields(words)...)
		}
	}
	return []breakage{
		{"FORWARD of the other host", on(other.NS, "iptables -I FORWARD -j DROP"), on(other.NS, "iptables -D FORWARD -j DROP"),
			"host 10.0.3.4 drops"},
		{"the tunnel is blocked at the underlay", on(b.Router, "iptables -A FORWARD -p 4 -j DROP"), on(b.Router, "iptables -D FORWARD -p 4 -j DROP"),
			"IP protocol 4 (ipip) does not pass from 10.0.0.11 to 10.0.3.4"},
		{"MTU too big", on(b.Router, "ip link set sub1 mtu 1400"), on(b.Router, "ip link set sub1 mtu 1500"),
			"--mtu 1380"},
		{"spoofed source", on(b.Router, "iptables -t nat -A POSTROUTING -p 4 -j MASQUERADE"), on(b.Router, "iptables -t nat -F POSTROUTING"),
			"10.0.3.4 refuses packets from 10.0.0.11"},
		{"wrong type at the peer", func(t *testing.T) {
			t.Helper()
			for _, words := range [][]string{{"down", "-e", "--force"}, append([]string{"up", "--type", "vxlan"}, networks()...)} {
				if r := other.FanctlEnv(other.env, words...); r.Code != 0 {
					t.Fatal(r)
				}
			}
		}, func(*testing.T) {}, "10.0.0.11 has type ipip, 10.0.3.4 has vxlan"},
	}
}

// namesCauses breaks one thing after the other between two machines and has their test
// name it.
func namesCauses(t *testing.T, b *bed.Bed, machines []*machine) {
	t.Helper()
	one, two := machines[0], machines[1]
	all := breakages(b, two)
	for _, broken := range all {
		broken.breaks(t)
		server := two.sit(t, "test", "--serve")
		server.Expect(t, "waiting for other hosts")
		r := one.Fanatic(one.env, one.words("test", two.Addr.String())...)
		if r.Code != 1 || !strings.Contains(r.Stdout, "test complete FAIL (") {
			t.Errorf("%s: the test should fail, with code 1: %s", broken.name, r)
		}
		for _, other := range all {
			if says := strings.Contains(r.Stdout, other.words); says != (other.name == broken.name) {
				t.Errorf("%s: that the test says %q is %t:\n%s", broken.name, other.words, says, r.Stdout)
			}
		}
		server.Expect(t, broken.words)
		server.Expect(t, "test complete FAIL (")
		server.Interrupt(t)
		server.Wait(t)
		broken.mends(t)
		t.Logf("%s:\n%s", broken.name, r.Stdout)
	}
}
