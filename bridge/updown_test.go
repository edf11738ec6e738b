package bridge_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/fanctl/fanctl/bridge"
	"github.com/fanctl/fanctl/internal/plan"
)

// TestPlanText has the whole plan of a host that was never used.
func TestPlanText(t *testing.T) {
	onHost(t, "", func(h host) {
		const want = `ip link add fan-250 mtu 576 address 02:fa:0a:00:00:2d type bridge
ip link set fan-250 alias "fan1 underlay=10.0.0.45/16 overlay=250.0.0.0/8 dev=eth0 type=ipip mtu=1480 fwd=0 tables=filter/nat/raw"
ip link set fan-250 mtu 1480
sysctl -w net/ipv4/conf/fan-250/forwarding=1
sysctl -w net/ipv4/conf/fan-250/rp_filter=1
sysctl -w net/ipv4/conf/fan-250/send_redirects=0
sysctl -w net/ipv4/conf/fan-250/proxy_arp=1
sysctl -w net/ipv4/neigh/fan-250/proxy_delay=0
ip addr add 250.0.45.1/24 dev fan-250
ip link set fan-250 up
sysctl -w net/ipv4/ip_forward=1
iptables -t raw -N FAN-PREROUTING
iptables -t raw -A FAN-PREROUTING -s 250.0.0.0/8 -j ACCEPT
iptables -t raw -I PREROUTING 1 -i ftun-+ -j FAN-PREROUTING
iptables -t nat -N FAN-POSTROUTING
iptables -t nat -A FAN-POSTROUTING -s 250.0.45.0/24 -d 250.0.0.0/8 -j ACCEPT
iptables -t nat -A FAN-POSTROUTING -s 250.0.45.0/24 ! -o fan-250 -j MASQUERADE
iptables -t nat -I POSTROUTING 1 -j FAN-POSTROUTING
iptables -t filter -N FAN-FORWARD
iptables -t filter -A FAN-FORWARD -d 250.0.0.0/8 -i fan-250 -j ACCEPT
iptables -t filter -A FAN-FORWARD -s 250.0.0.0/8 -i ftun-250 -j ACCEPT
iptables -t filter -A FAN-FORWARD -i fan-250 -o fan-250 -j ACCEPT
iptables -t filter -A FAN-FORWARD -o fan-250 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
iptables -t filter -A FAN-FORWARD -i fan-250 -o eth0 -j ACCEPT
iptables -t filter -N FAN-INPUT
iptables -t filter -A FAN-INPUT -s 10.0.0.0/16 -d 10.0.0.45/32 -p 4 -j ACCEPT
iptables -t filter -A FAN-INPUT -s 250.0.0.0/8 -d 250.0.45.1/32 -p icmp -m icmp --icmp-type 8 -j ACCEPT
iptables -t filter -I FORWARD 1 -j FAN-FORWARD
iptables -t filter -N DOCKER-USER
iptables -t filter -I DOCKER-USER 1 -j FAN-FORWARD
iptables -t filter -I INPUT 1 -j FAN-INPUT`
		if got := text(h.planUp(wanted(t, "250.0.0.0/8", nil))); got != want {
			t.Errorf("plan is\n%s\nwant\n%s", got, want)
		}
	})
}

// TestPlanTextIsTrue types what the plan says and compares it with what the plan
// does.
func TestPlanTextIsTrue(t *testing.T) {
	for name, change := range map[string]func(*bridge.Want){"ipip": nil, "vxlan": asVXLAN} {
		t.Run(name, func(t *testing.T) {
			var done string
			w := wanted(t, "250.0.0.0/8", change)
			onHost(t, "", func(h host) { h.up(w); done = h.snapshot() })
			onHost(t, "", func(h host) {
				h.sh(text(h.planUp(w)))
				if left := h.planUp(w); len(left) > 0 {
					t.Errorf("after typing there is still to do:\n%s", text(left))
				}
				h.same("after typing", h.snapshot(), done)
			})
		})
	}
}

// befores are what hosts can be like before a fan.
func befores() map[string]string {
	return map[string]string{
		"plain":          "",
		"forwarding on":  "sysctl -qw net.ipv4.ip_forward=1",
		"some forward":   "sysctl -qw net.ipv4.conf.eth1.forwarding=1 net.ipv4.conf.all.accept_redirects=0",
		"new ones do":    "ip link add eth1.5 address 02:00:00:00:00:03 type veth peer name eth1.6 address 02:00:00:00:00:04; echo 1 > /proc/sys/net/ipv4/conf/eth1.5/forwarding; sysctl -qw net.ipv4.conf.default.forwarding=1",
		"policy drop":    "iptables -P FORWARD DROP; iptables -P INPUT DROP; iptables -A INPUT -i lo -j ACCEPT",
		"docker's rules": "iptables -N DOCKER-USER; iptables -A DOCKER-USER -j RETURN; iptables -I FORWARD -j DOCKER-USER; iptables -t nat -A POSTROUTING -s 172.17.0.0/16 ! -o docker0 -j MASQUERADE",
	}
}

func TestUpAndDown(t *testing.T) {
	for name, before := range befores() {
		for kind, change := range map[string]func(*bridge.Want){"ipip": nil, "vxlan": asVXLAN} {
			t.Run(kind+" "+name, func(t *testing.T) {
				onHost(t, before, func(h host) {
					clean := h.snapshot()
					w := wanted(t, "250.0.0.0/8", change)
					h.up(w)
					h.down(w.Fan)
					h.same("after down", h.snapshot(), clean)
				})
			})
		}
	}
}

// TestTwoFans takes two fans down in either order; what the first remembers
// about the host must not be lost with it.
func TestTwoFans(t *testing.T) {
	for name, before := range befores() {
		for _, order := range [][2]int{{0, 1}, {1, 0}} {
			t.Run(fmt.Sprint(name, order), func(t *testing.T) {
				onHost(t, before, func(h host) {
					clean := h.snapshot()
					fans := []bridge.Want{wanted(t, "250.0.0.0/8", asVXLAN), wanted(t, "251.0.0.0/8", nil)}
					var one [2]string
					for i, w := range fans {
						h.up(w)
						one[i] = h.sh("iptables-save | grep -e -A.*" + w.Fan.Bridge)
					}
					if left := h.planUp(fans[0]); len(left) > 0 {
						t.Errorf("the second fan changed the first:\n%s", text(left))
					}
					h.down(fans[order[0]].Fan)
					stays := fans[order[1]]
					if left := h.planUp(stays); len(left) > 0 {
						t.Errorf("with the other went something of this one:\n%s", text(left))
					}
					if rules := h.sh("iptables-save | grep -e -A.*" + stays.Fan.Bridge); rules != one[order[1]] {
						t.Errorf("rules of the fan that stays are\n%s\nwant\n%s", rules, one[order[1]])
					}
					if rest := h.sh("iptables-save"); strings.Contains(rest, fans[order[0]].Fan.Bridge) {
						t.Errorf("rules of the fan that went are left:\n%s", rest)
					}
					h.down(stays.Fan)
					h.same("after both went", h.snapshot(), clean)
				})
			})
		}
	}
}

// TestStopped ends up and down after each of their steps, as kill -9 does, and
// lets the next run go on.
func TestStopped(t *testing.T) {
	const before = "sysctl -qw net.ipv4.conf.eth1.forwarding=1 net.ipv4.conf.all.accept_redirects=0"
	w := wanted(t, "250.0.0.0/8", nil)
	var ups, downs int
	var clean, complete string
	onHost(t, before, func(h host) {
		clean = h.snapshot()
		ups = len(h.planUp(w))
		h.up(w)
		complete = h.snapshot()
		downs = len(h.planDown(w.Fan))
	})
	if ups < 10 || downs < 4 {
		t.Fatalf("%d and %d steps", ups, downs)
	}
	for n := range ups {
		onHost(t, before, func(h host) {
			h.stopAfter(n, h.planUp(w))
			h.up(w)
			h.same(fmt.Sprintf("up after %d steps of up", n+1), h.snapshot(), complete)
		})
		onHost(t, before, func(h host) {
			h.stopAfter(n, h.planUp(w))
			h.down(w.Fan)
			h.same(fmt.Sprintf("down after %d steps of up", n+1), h.snapshot(), clean)
		})
	}
	for n := range downs {
		onHost(t, before, func(h host) {
			h.up(w)
			h.stopAfter(n, h.planDown(w.Fan))
			h.down(w.Fan)
			h.same(fmt.Sprintf("down after %d steps of down", n+1), h.snapshot(), clean)
		})
		onHost(t, before, func(h host) {
			h.up(w)
			h.stopAfter(n, h.planDown(w.Fan))
			h.up(w)
			h.down(w.Fan)
			h.same(fmt.Sprintf("up and down after %d steps of down", n+1), h.snapshot(), clean)
		})
	}
}

func (h host) stopAfter(n int, p plan.Plan) {
	h.t.Helper()
	for _, s := range p[:n+1] {
		if err := s.Do(); err != nil {
			h.t.Fatalf("%s: %v", s, err)
		}
	}
}

// TestFailed makes each step of up fail after it was done.
func TestFailed(t *testing.T) {
	injected := errors.New("injected")
	for kind, change := range map[string]func(*bridge.Want){"ipip": nil, "vxlan": asVXLAN} {
		w := wanted(t, "250.0.0.0/8", change)
		for n, steps := 0, 1; n < steps; n++ {
			onHost(t, "sysctl -qw net.ipv4.conf.eth1.forwarding=1", func(h host) {
				clean := h.snapshot()
				p := h.planUp(w)
				steps = len(p)
				err := p.Apply(func(i int, _ plan.Step) error {
					if i == n {
						return injected
					}
					return nil
				})
				if !errors.Is(err, injected) || strings.Contains(err.Error(), "undo") {
					t.Errorf("error is %v, want the injected one alone", err)
				}
				h.same(fmt.Sprintf("%s: after step %d failed", kind, n+1), h.snapshot(), clean)
			})
		}
	}
}
