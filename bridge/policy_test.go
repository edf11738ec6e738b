package bridge_test

import (
	"os/exec"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"

	"github.com/fanctl/fanctl/bridge"
)

// container makes a namespace with a device eth0 whose other end is the device
// port on the host.
func (h host) container(port, script string) netns.NsHandle {
	h.t.Helper()
	home, err := netns.Get()
	if err != nil {
		h.t.Fatal(err)
	}
	defer home.Close()
	other, err := netns.New() // this thread is in it now
	if err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(func() { other.Close() })
	if err := netns.Set(home); err != nil {
		h.t.Fatal(err)
	}
	err = h.handle.LinkAdd(&netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: port, TxQLen: -1}, PeerName: "eth0", PeerNamespace: netlink.NsFd(other)})
	if err != nil {
		h.t.Fatal(err)
	}
	h.sh("ip link set " + port + " up")
	h.inside(other, func() { h.sh("ip link set lo up; ip link set eth0 up; " + script) })
	return other
}

// inside runs f in another namespace, on this thread.
func (h host) inside(other netns.NsHandle, f func()) {
	h.t.Helper()
	home, err := netns.Get()
	if err != nil {
		h.t.Fatal(err)
	}
	defer home.Close()
	if err := netns.Set(other); err != nil {
		h.t.Fatal(err)
	}
	f()
	if err := netns.Set(home); err != nil {
		h.t.Fatal(err)
	}
}

// TestPolicyDrop sends real packets through a host whose policies are DROP:
// containers reach each other, the bridge and the world, with the host's address
// there, and nothing else; nobody else reaches them.
func TestPolicyDrop(t *testing.T) {
	onHost(t, "iptables -P FORWARD DROP; iptables -P INPUT DROP", func(h host) {
		w := wanted(t, "250.0.0.0/8", nil)
		w.WaysOut = append(w.WaysOut, "world")
		h.up(w)
		a := h.container("port-a", "ip addr add 250.0.45.2/24 dev eth0; ip route add default via 250.0.45.1")
		b := h.container("port-b", "ip addr add 250.0.45.3/8 dev eth0")
		h.sh("ip link set port-a master fan-250; ip link set port-b master fan-250")
		world := h.container("world", "ip addr add 192.0.2.1/24 dev eth0")
		other := h.container("other", "ip addr add 172.17.0.2/16 dev eth0; ip route add default via 172.17.0.1")
		h.sh("ip addr add 192.0.2.2/24 dev world; ip addr add 172.17.0.1/16 dev other")

		check := func(who, address string, want bool) {
			t.Helper()
			if got := exec.Command("ping", "-c1", "-W1", address).Run() == nil; got != want {
				t.Errorf("%s reaches %s: %t, want %t", who, address, got, want)
			}
		}
		h.inside(a, func() {
			check("container", "250.0.45.3", true)
			check("container", "250.0.45.1", true)
			// The world has no way to the overlay, so an answer shows that the
			// request was translated.
			check("container", "192.0.2.1", true)
			check("container", "192.0.2.2", false) // the host by another address
			check("container", "172.17.0.2", false)
		})
		h.inside(b, func() { check("container with the overlay's mask", "250.0.45.1", true) })
		h.inside(other, func() { check("somebody else's container", "250.0.45.2", false) })
		h.inside(world, func() {
			h.sh("ip route add 250.0.0.0/8 via 192.0.2.2")
			check("the world", "250.0.45.2", false)
			check("the world", "250.0.45.1", false)
		})
	})
}

// TestDockerStays checks that the rules which come before Docker's stay where a caller
// finds no Docker, until the fan goes.
func TestDockerStays(t *testing.T) {
	onHost(t, "", func(h host) {
		w := wanted(t, "250.0.0.0/8", nil)
		h.up(w)
		w.Docker = false
		if p := h.planUp(w); len(p) != 0 {
			t.Errorf("without Docker up would do\n%s", text(p))
		}
		h.down(w.Fan)
		if got := h.sh("iptables-save -t raw"); strings.Contains(got, "FAN") {
			t.Errorf("down leaves\n%s", got)
		}
	})
}

// TestDockerComesLater checks that Docker, started while the fan is up, finds
// DOCKER-USER and keeps it, and that what it puts before us is passed again.
func TestDockerComesLater(t *testing.T) {
	const docker = `iptables -A DOCKER-USER -j RETURN
		iptables -I FORWARD 1 -j DOCKER-USER
		iptables -t nat -I POSTROUTING 1 -s 250.0.45.0/24 ! -o fan-250 -j MASQUERADE
		iptables -t raw -A PREROUTING -d 250.0.45.2/32 ! -i fan-250 -j DROP`
	var left string
	onHost(t, "iptables -N DOCKER-USER\n"+docker, func(h host) { left = h.sh("iptables -S; iptables -t nat -S; iptables -t raw -S") })
	onHost(t, "", func(h host) {
		w := wanted(t, "250.0.0.0/8", func(w *bridge.Want) { w.Fan.NAT = false })
		h.up(w)
		h.sh(docker)
		const moved = `iptables -t nat -D POSTROUTING -j FAN-POSTROUTING
iptables -t nat -I POSTROUTING 1 -j FAN-POSTROUTING`
		if got := text(h.planUp(w)); got != moved {
			t.Errorf("up plans\n%s\nwant\n%s", got, moved)
		}
		h.up(w)
		if first, _, _ := strings.Cut(h.sh("iptables -t nat -S | grep -e '-A POSTROUTING'"), "\n"); first != "-A POSTROUTING -j FAN-POSTROUTING" {
			t.Errorf("first in POSTROUTING is %s", first)
		}
		h.down(w.Fan)
		if got := h.sh("iptables -S; iptables -t nat -S; iptables -t raw -S"); got != left {
			t.Errorf("after down there is\n%s\nwant\n%s", got, left)
		}
	})
}
