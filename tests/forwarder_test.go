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

// It does so whichever fan goes first: a fan that came after the other bridge must not
// take over that forwarding was off. What goes on is said once.
func TestDownOfSeveralLeavesForwardingToOthers(t *testing.T) {
	const up250, up240, up241 = "up eth0 250 --type vxlan", "up eth0 240 --type vxlan --port 4790", "up eth0 241"
	const other = "ip link add lxdbr0 type bridge; ip addr add 10.7.0.1/24 dev lxdbr0; ip link set lxdbr0 up"
	const off = "echo 0 >/proc/sys/net/ipv4/ip_forward"
	for _, test := range []struct {
		name  string
		steps []string
		noted bool
		want  string
	}{
		{"the older fan first", []string{up250, other, up240, "down 250 eth0", "down 240 eth0"}, true, "1"},
		{"the younger fan first", []string{up250, other, up240, "down 240 eth0", "down 250 eth0"}, true, "1"},
		{"all at once", []string{up250, other, up240, up241, "down -e"}, true, "1"},
		{"both found it off, before", []string{up250, off, up240, other, "down -e"}, true, "1"},
		{"all found it off, since", []string{up250, other, off, up240, off, up241, "down -e"}, true, "1"},
		{"nobody came", []string{up250, up240, "down 250 eth0", up250, "down -e"}, false, "0"},
	} {
		t.Run(test.name, func(t *testing.T) {
			b := bed.New(t, bed.Options{Hosts: []string{"10.0.0.45"}, NoIPv6: true})
			h := b.Hosts[0]
			notes := ""
			for _, step := range test.steps {
				words := strings.Fields(step)
				if words[0] != "up" && words[0] != "down" {
					h.Must(t, "sh", "-ec", step)
					continue
				}
				r := h.Fanctl(words...)
				if r.Code != 0 {
					t.Fatalf("%s: %s", step, r)
				}
				notes += r.Stderr
			}
			if is := strings.TrimSpace(h.Exec("cat", "/proc/sys/net/ipv4/ip_forward").Stdout); is != test.want {
				t.Errorf("in the end ip_forward is %s, want %s", is, test.want)
			}
			if noted := strings.Contains(notes, "lxdbr0"); noted != test.noted || strings.Count(notes, "\n") > 1 {
				t.Errorf("it says %q; want one line about lxdbr0: %t", notes, test.noted)
			}
		})
	}
}
