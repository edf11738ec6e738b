package bridge_test

import (
	"errors"
	"net/netip"
	"strings"
	"testing"

	"github.com/fanctl/fanctl/bridge"
	"github.com/fanctl/fanctl/fan"
	"github.com/fanctl/fanctl/internal/plan"
)

// TestChange brings a fan up as it was and then as another, and has the whole
// plan for the difference.
func TestChange(t *testing.T) {
	tests := []struct {
		name   string
		before func(*bridge.Want)
		meddle string // what somebody does in between
		after  func(*bridge.Want)
		want   string
	}{
		{name: "no NAT any more", after: func(w *bridge.Want) { w.Fan.NAT = false }, want: `
ip link set fan-250 alias "fan1 underlay=10.0.0.45/16 overlay=250.0.0.0/8 dev=eth0 type=ipip mtu=1480 nat=0 fwd=0 tables=filter/nat/raw"
iptables -t nat -D FAN-POSTROUTING -s 250.0.45.0/24 ! -o fan-250 -j MASQUERADE
`},
		{name: "NAT after all", before: func(w *bridge.Want) { w.Fan.NAT = false }, want: `
ip link set fan-250 alias "fan1 underlay=10.0.0.45/16 overlay=250.0.0.0/8 dev=eth0 type=ipip mtu=1480 fwd=0 tables=filter/nat/raw"
iptables -t nat -A FAN-POSTROUTING -s 250.0.45.0/24 ! -o fan-250 -j MASQUERADE
`},
		{name: "another MTU", after: func(w *bridge.Want) { w.Fan.MTU, w.Fan.FixedMTU = 1300, true }, want: `
ip link set fan-250 alias "fan1 underlay=10.0.0.45/16 overlay=250.0.0.0/8 dev=eth0 type=ipip mtu=1300 fixed-mtu=1 fwd=0 tables=filter/nat/raw"
ip link set fan-250 mtu 1300
`},
		{name: "another way out", after: func(w *bridge.Want) { w.WaysOut = []string{"eth0", "wwan0"} }, want: `
iptables -t filter -A FAN-FORWARD -i fan-250 -o wwan0 -j ACCEPT
`},
		{name: "one way out less", before: func(w *bridge.Want) { w.WaysOut = []string{"wwan0", "eth0"} }, want: `
iptables -t filter -D FAN-FORWARD -i fan-250 -o wwan0 -j ACCEPT
`},
		{name: "another port", before: asVXLAN, after: func(w *bridge.Want) { asVXLAN(w); w.Fan.Port = 4789 }, want: `
ip link set fan-250 alias "fan1 underlay=10.0.0.45/16 overlay=250.0.0.0/8 dev=eth0 type=vxlan mtu=1450 port=4789 fwd=0 tables=filter/nat"
iptables -t filter -D FAN-INPUT -s 250.0.0.0/8 -d 250.0.45.1/32 -p icmp -m icmp --icmp-type 8 -j ACCEPT
iptables -t filter -A FAN-INPUT -s 10.0.0.0/16 -d 10.0.0.45/32 -p udp -m udp --dport 4789 -j ACCEPT
iptables -t filter -A FAN-INPUT -s 250.0.0.0/8 -d 250.0.45.1/32 -p icmp -m icmp --icmp-type 8 -j ACCEPT
iptables -t filter -D FAN-INPUT -s 10.0.0.0/16 -d 10.0.0.45/32 -p udp -m udp --dport 8472 -j ACCEPT
`},
		{name: "somebody meddled", meddle: `
ip link set fan-250 down; ip addr del 250.0.45.1/24 dev fan-250; ip addr add 250.0.45.99/24 dev fan-250
echo 0 > /proc/sys/net/ipv4/conf/fan-250/rp_filter; iptables -D DOCKER-USER -j FAN-FORWARD; iptables -t nat -I POSTROUTING -j ACCEPT`, want: `
sysctl -w net/ipv4/conf/fan-250/rp_filter=1
ip addr add 250.0.45.1/24 dev fan-250
ip link set fan-250 up
iptables -t nat -D POSTROUTING -j FAN-POSTROUTING
iptables -t nat -I POSTROUTING 1 -j FAN-POSTROUTING
iptables -t filter -I DOCKER-USER 1 -j FAN-FORWARD
`},
		{name: "route flushed", meddle: "ip route flush root 250.0.0.0/8", want: `
ip route add 250.0.45.0/24 dev fan-250 proto kernel scope link src 250.0.45.1
`},
		{name: "Docker came", meddle: `
iptables -A DOCKER-USER -j RETURN; iptables -I FORWARD -j DOCKER-USER; iptables -A INPUT -j ACCEPT
iptables -t raw -A PREROUTING -d 172.17.0.2 ! -i docker0 -j DROP`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			onHost(t, "", func(h host) {
				h.up(wanted(t, "250.0.0.0/8", tt.before))
				h.sh(tt.meddle)
				w := wanted(t, "250.0.0.0/8", tt.after)
				if got, want := text(h.planUp(w)), strings.TrimSpace(tt.want); got != want {
					t.Errorf("plan is\n%s\nwant\n%s", got, want)
				}
				// The last step fails after it was done: all is as it was.
				before, p := h.snapshot(), h.planUp(w)
				failed := errors.New("failed")
				err := p.Apply(func(i int, _ plan.Step) error {
					if i == len(p)-1 {
						return failed
					}
					return nil
				})
				if len(p) > 0 && !errors.Is(err, failed) {
					t.Errorf("error is %v, want the injected one", err)
				}
				h.same("after a failure", h.snapshot(), before)
				h.up(w)
			})
		})
	}
}

// TestOtherHostAddress moves a fan to another address of the host: nothing of
// the former slice may stay, and what the user added does.
func TestOtherHostAddress(t *testing.T) {
	onHost(t, "ip addr add 10.0.7.1/16 dev eth0", func(h host) {
		clean := h.snapshot()
		h.up(wanted(t, "250.0.0.0/8", nil))
		h.sh("ip addr add 192.168.9.1/24 dev fan-250")
		w := wanted(t, "250.0.0.0/8", func(w *bridge.Want) { w.Fan.Host = netip.MustParseAddr("10.0.7.1") })
		h.up(w)
		now := h.snapshot()
		for _, gone := range []string{"250.0.45.", "10.0.0.45/32"} {
			if strings.Contains(now, gone) {
				t.Errorf("%s is left:\n%s", gone, now)
			}
		}
		for _, there := range []string{"250.7.1.1/24", "192.168.9.1/24", "02:fa:0a:00:07:01"} {
			if !strings.Contains(now, there) {
				t.Errorf("%s is missing:\n%s", there, now)
			}
		}
		h.down(w.Fan)
		h.same("after down", h.snapshot(), clean)
	})
}

// TestNotOurs checks that a device of somebody else is refused and left alone,
// and that the bridge of a run that ended early is not.
func TestNotOurs(t *testing.T) {
	tests := []struct {
		name   string
		make   string
		refuse string // word of the error
	}{
		{"a bridge", "ip link add fan-250 type bridge", "bridge"},
		{"a bridge with an alias", "ip link add fan-250 address 02:fa:0a:00:00:2d type bridge; ip link set fan-250 alias mine", "bridge"},
		{"a veth", "ip link add fan-250 address 02:fa:0a:00:00:2d type veth peer name x", "veth"},
		{"a veth with a fan's alias", "ip link add fan-250 type veth peer name x; ip link set fan-250 alias 'fan1 underlay=10.0.0.45/16 overlay=250.0.0.0/8 dev=eth0 type=ipip mtu=1480'", "veth"},
		{"a bridge that up did not finish", "ip link add fan-250 address 02:fa:0a:00:00:2d type bridge", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			onHost(t, tt.make, func(h host) {
				w := wanted(t, "250.0.0.0/8", nil)
				before := h.snapshot()
				s, tables := h.look()
				_, err := bridge.Plan(h.handle, w, s, tables)
				if tt.refuse == "" {
					if err != nil {
						t.Fatal(err)
					}
					h.up(w)
					return
				}
				if !errors.Is(err, fan.ErrUsage) || !strings.Contains(err.Error(), "fan-250") || !strings.Contains(err.Error(), tt.refuse) {
					t.Errorf("error is %v, want ErrUsage with fan-250 and %s", err, tt.refuse)
				}
				h.down(w.Fan)
				h.same("after down", h.snapshot(), before)
			})
		})
	}
}

// TestBridgeGone takes away what is left when somebody has deleted the bridge.
// What the host was like went with the alias, so forwarding and empty tables
// stay.
func TestBridgeGone(t *testing.T) {
	onHost(t, "sysctl -qw net.ipv4.ip_forward=1; iptables -A INPUT -i lo -j ACCEPT; iptables -A FORWARD -i lo -j DROP; iptables -t nat -A POSTROUTING -o eth1 -j MASQUERADE; iptables -t raw -A PREROUTING -i lo -j ACCEPT", func(h host) {
		clean := h.snapshot()
		w := wanted(t, "250.0.0.0/8", nil)
		h.up(w)
		h.sh("ip link del fan-250")
		h.down(w.Fan)
		h.same("after down", h.snapshot(), clean)
	})
}

// TestPorts checks that other people's ports are named, and let go by down.
func TestPorts(t *testing.T) {
	onHost(t, "ip link add p0 address 02:00:00:00:00:05 type veth peer name p1 address 02:00:00:00:00:06; ip link add ftun-250 address 02:00:00:00:00:07 type veth peer name x address 02:00:00:00:00:08", func(h host) {
		clean := h.snapshot()
		w := wanted(t, "250.0.0.0/8", asVXLAN)
		h.up(w)
		h.sh("ip link set p0 master fan-250; ip link set ftun-250 master fan-250")
		s, _ := h.look()
		if ports := bridge.ForeignPorts("fan-250", []string{"ftun-250"}, s); strings.Join(ports, " ") != "p0" {
			t.Errorf("foreign ports are %q, want p0", ports)
		}
		if ports := bridge.ForeignPorts("no-such", nil, s); len(ports) != 0 {
			t.Errorf("a bridge that is not there has ports %q", ports)
		}
		if p := text(h.planDown(w.Fan)); !strings.Contains(p, "ip link set p0 nomaster\n") {
			t.Errorf("plan does not let go of p0:\n%s", p)
		}
		h.down(w.Fan)
		h.same("after down", h.snapshot(), clean)
	})
}

// TestMTUStays checks that a port with another MTU does not change the bridge's,
// whatever it is; the kernel's own choice is 1500.
func TestMTUStays(t *testing.T) {
	for _, mtu := range []fan.MTU{576, 1450, 1500, 8950} {
		onHost(t, "ip link set eth0 mtu 9000; ip link add p0 type veth peer name p1; ip link add p2 mtu 1400 type veth peer name p3", func(h host) {
			h.up(wanted(t, "250.0.0.0/8", func(w *bridge.Want) { w.Fan.MTU = mtu }))
			h.sh("ip link set p0 master fan-250; ip link set p2 master fan-250; ip link set p2 nomaster; ip link set p2 master fan-250")
			s, _ := h.look()
			if l, _ := s.Link("fan-250"); l.MTU != int(mtu) {
				t.Errorf("with ports the MTU is %d, want %d", l.MTU, mtu)
			}
		})
	}
}
