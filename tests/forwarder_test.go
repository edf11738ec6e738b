package tests

import (
	"strings"
	"testing"

	"github.com/fanctl/fanctl/tests/bed"
)

// Somebody who begins to route packets while a fan is up, as Docker and LXD do, finds
// that the host forwards them. It goes on doing so when the fan goes.
func TestDownLeavesForwardingToOthers(t *testing.T) {
	const forwarding = "/proc/sys/net/ipv4/ip_forward"
	b := bed.New(t, bed.Options{NoIPv6: true})
	h := b.Hosts[0]
	is := func() string {
		t.Helper()
		return strings.TrimSpace(h.Exec("cat", forwarding).Stdout)
	}
	if is() != "0" {
		t.Fatalf("a host forwards packets before it has a fan")
	}
	f := upOn(t, b, h, vxlan(), overlay)
	f.down(t)
	if is() != "0" {
		t.Error("a host whose fan has gone forwards packets")
	}
	upOn(t, b, h, vxlan(), overlay)
	h.IP(t, "link add dbr0 type bridge", "addr add 172.17.0.1/16 dev dbr0", "link set dbr0 up")
	r := h.Fanctl("down", "-e")
	if r.Code != 0 || !strings.Contains(r.Stderr, "dbr0") || strings.Count(r.Stderr, "\n") != 1 {
		t.Errorf("down: %s; want one line about dbr0", r)
	}
	if is() != "1" {
		t.Error("packets of the other bridge are not forwarded any more")
	}
}
