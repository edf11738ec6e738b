package tests

import (
	"encoding/json"
	"fmt"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/fanctl/fanctl/tests/bed"
)

// Two hosts with two containers each, one that was told the slice's mask and one
// that was told the overlay's: everybody reaches everybody.
func TestReach(t *testing.T) {
	eachPath(t, func(t *testing.T, p path) {
		b := bed.New(t, bed.Options{})
		fans := upAll(t, b, p, overlay)
		var here, there []*bed.Container
		for _, bits := range []int{fans[0].net.Slice.Bits(), 8} {
			here = append(here, fans[0].container(t, bed.ContainerOptions{Bits: bits}))
			there = append(there, fans[1].container(t, bed.ContainerOptions{Bits: bits}))
		}
		t.Run("ping", func(t *testing.T) { everyPair(t, here, there) })
		t.Run("large ping", func(t *testing.T) {
			whole := fmt.Sprint(fans[0].mtu(b) - 28)
			if got := here[0].Ping(there[1].Addr, 3, "-M", "do", "-s", whole); got != 3 {
				t.Errorf("%d of 3 pings of the whole MTU answered", got)
			}
		})
		t.Run("iperf3", func(t *testing.T) { iperf3(t, here[0], there[0]) })
		t.Run("TCP", func(t *testing.T) {
			for i := range here {
				transfer(t, here[i], there[1-i], 20<<20)
				transfer(t, there[i], here[i], 20<<20)
			}
		})
		t.Run("UDP", func(t *testing.T) { datagrams(t, here, there) })
		t.Run("source address", func(t *testing.T) { sources(t, here, there) })
		t.Run("bridge address", func(t *testing.T) {
			for _, c := range here {
				reaches(t, c.NS, fans[0].net.Gateway(), "own bridge address")
				reaches(t, c.NS, fans[1].net.Gateway(), "the other host's bridge address")
			}
		})
		t.Run("host to container", func(t *testing.T) { hostToContainers(t, fans, here, there) })
		t.Run("world", func(t *testing.T) {
			server := b.World.Serve(t, b.WorldAddr)
			for _, c := range append(here, there...) {
				for _, network := range []string{"tcp4", "udp4"} {
					if seen, err := c.SeenBy(network, server); err != nil || seen != c.Host.Addr {
						t.Errorf("container %s: the world sees %s over %s (%v), want its host's %s", c.Addr, seen, network, err, c.Host.Addr)
					}
				}
				reaches(t, c.NS, b.WorldAddr, "the world")
			}
		})
	})
}

func everyPair(t *testing.T, here, there []*bed.Container) {
	t.Helper()
	all := append(append([]*bed.Container{}, here...), there...)
	for _, from := range all {
		for _, to := range all {
			if from != to {
				reaches(t, from.NS, to.Addr, from.Addr.String())
			}
		}
	}
}

func transfer(t *testing.T, from, to *bed.Container, bytes int) {
	t.Helper()
	if err := bed.Transfer(from.NS, to.NS, to.Addr, bytes); err != nil {
		t.Errorf("%d bytes from %s to %s: %v", bytes, from.Addr, to.Addr, err)
	}
}

func datagrams(t *testing.T, here, there []*bed.Container) {
	t.Helper()
	for _, to := range there {
		server := to.Serve(t, to.Addr)
		for _, from := range here {
			for _, size := range []int{1, 64, 1000, 1400, 4000, 30000} {
				if got, err := from.EchoUDP(server, 5, size); err != nil || got != 5 {
					t.Errorf("%s to %s: %d of 5 datagrams of %d bytes came back (%v)", from.Addr, to.Addr, got, size, err)
				}
			}
		}
	}
}

// sources: containers see each other's own addresses, there is no translation
// inside of the overlay.
func sources(t *testing.T, here, there []*bed.Container) {
	t.Helper()
	for _, to := range []*bed.Container{here[0], there[0]} {
		server := to.Serve(t, to.Addr)
		for _, from := range []*bed.Container{here[1], there[1]} {
			for _, network := range []string{"tcp4", "udp4"} {
				if seen, err := from.SeenBy(network, server); err != nil || seen != from.Addr {
					t.Errorf("%s sees %s over %s (%v), want %s", to.Addr, seen, network, err, from.Addr)
				}
			}
		}
	}
}

func hostToContainers(t *testing.T, fans []fan, here, there []*bed.Container) {
	t.Helper()
	for _, to := range append(append([]*bed.Container{}, here...), there...) {
		server := to.Serve(t, to.Addr)
		for _, f := range fans {
			if seen, err := f.host.SeenBy("tcp4", server); err != nil || seen != f.net.Gateway() {
				t.Errorf("container %s sees %s as %s (%v), want the bridge address %s", to.Addr, f.host, seen, err, f.net.Gateway())
			}
			reaches(t, f.host.NS, to.Addr, f.host.String())
		}
	}
}

// iperf3 runs for two seconds each way; what it measures is printed, not judged.
func iperf3(t *testing.T, from, to *bed.Container) {
	t.Helper()
	if _, err := exec.LookPath("iperf3"); err != nil {
		t.Skip("LEFT OUT: no iperf3 on this machine")
	}
	for _, way := range [][]string{{}, {"-R"}} {
		stop := to.Start(t, "iperf3", "-s", "-1", "-B", to.Addr.String())
		var r bed.Result
		for range 20 { // until the server listens
			r = from.Exec(append([]string{"iperf3", "-J", "-t", "2", "-c", to.Addr.String()}, way...)...)
			if !strings.Contains(r.Stdout, "Connection refused") {
				break
			}
			time.Sleep(100 * time.Millisecond)
		}
		var report struct {
			Error string
			End   struct {
				Received struct {
					Bytes uint64
					Rate  float64 `json:"bits_per_second"`
				} `json:"sum_received"`
			}
		}
		err := json.Unmarshal([]byte(r.Stdout), &report)
		if err != nil || r.Code != 0 || report.Error != "" || report.End.Received.Bytes == 0 {
			t.Errorf("iperf3 %s to %s %v: %v, %s", from.Addr, to.Addr, way, err, r)
		}
		t.Logf("iperf3 %s to %s %v: %.2f Gb/s", from.Addr, to.Addr, way, report.End.Received.Rate/1e9)
		stop()
	}
}

// With --no-nat the world sees the container itself.
func TestReachWithoutNAT(t *testing.T) {
	eachPath(t, func(t *testing.T, p path) {
		b := bed.New(t, bed.Options{})
		f := upOn(t, b, b.Hosts[0], p, overlay, "--no-nat")
		b.RouteToSlice(f.net.Slice, b.Hosts[0])
		c := f.container(t, bed.ContainerOptions{})
		server := b.World.Serve(t, b.WorldAddr)
		if seen, err := c.SeenBy("tcp4", server); err != nil || seen != c.Addr {
			t.Errorf("the world sees %s (%v), want the container's %s", seen, err, c.Addr)
		}
		if f.host.ShowOf(t, f.net.Bridge).NAT {
			t.Error("fanctl show says that there is address translation")
		}
	})
}

// Other underlays: what changes is only arithmetic and the way to the hosts.
func TestReachOverUnderlays(t *testing.T) {
	tests := []struct {
		name    string
		options bed.Options
		overlay string
	}{
		{"three hosts", bed.Options{Hosts: []string{"10.0.0.11", "10.0.3.4", "10.0.255.253"}}, "250.0.0.0/8"},
		{"24 bit underlay", bed.Options{Underlay: "192.168.1.0/24", Hosts: []string{"192.168.1.77", "192.168.1.3"}}, "250.0.0.0/8"},
		{"24 bit underlay, 16 bit overlay", bed.Options{Underlay: "192.168.1.0/24", Hosts: []string{"192.168.1.77", "192.168.1.3"}}, "240.9.0.0/16"},
		{"12 bit underlay", bed.Options{Underlay: "10.16.0.0/12", Hosts: []string{"10.17.2.3", "10.30.1.1"}}, "240.0.0.0/8"},
		{"routed", bed.Options{Routed: true, Hosts: []string{"10.0.1.5", "10.0.1.6", "10.0.2.5"}}, "250.0.0.0/8"},
		{"jumbo frames", bed.Options{MTU: 9000}, "250.0.0.0/8"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			eachPath(t, func(t *testing.T, p path) {
				b := bed.New(t, test.options)
				fans := upAll(t, b, p, test.overlay)
				var all []*bed.Container
				for i, f := range fans {
					options := bed.ContainerOptions{}
					if i%2 == 1 {
						options.Bits = f.net.Overlay.Bits()
					}
					all = append(all, f.container(t, options))
					if got := f.host.ShowOf(t, f.net.Bridge); got.Slice != f.net.Slice.String() || got.MTU != f.mtu(b) {
						t.Errorf("%s shows slice %s and MTU %d, want %s and %d", f.host, got.Slice, got.MTU, f.net.Slice, f.mtu(b))
					}
				}
				everyPair(t, all, nil)
				for i, from := range all {
					transfer(t, from, all[(i+1)%len(all)], 4<<20)
				}
				whole := fmt.Sprint(fans[0].mtu(b) - 28)
				if got := all[0].Ping(all[1].Addr, 2, "-M", "do", "-s", whole); got != 2 {
					t.Errorf("%d of 2 pings of the whole MTU answered", got)
				}
			})
		})
	}
}

// The forms in which people have named this host's fan since 2015 each lead to the
// same one.
func TestForms(t *testing.T) {
	b := bed.New(t, bed.Options{})
	h := b.Hosts[1]
	for _, form := range []string{
		"-u 10.0.3.4/16 -o 250", "-u 10.0.0.0/16 -o 250", "-u 10.0.3.4 -o 250", "-u eth0/16 -o 250", "-u eth0 -o 250", "-u default/16 -o 250",
		"-o 250.0.0.0/8 -u default", "250.0.0.0/8 eth0/16", "eth0/16 250", "250 10.0.3.4", "-o 250 eth0",
	} {
		t.Run(form, func(t *testing.T) {
			words := strings.Fields(form)
			h.MustFanctl(t, append([]string{"up"}, words...)...)
			got := h.ShowOf(t, "fan-250")
			if got.Host != "10.0.3.4" || got.Underlay != "10.0.0.0/16" || got.Overlay != overlay || got.Device != "eth0" ||
				got.Address != "250.3.4.1/24" || got.Type != "ipip" || !got.NAT {
				t.Errorf("up %s makes %+v", form, got)
			}
			h.MustFanctl(t, append([]string{"down"}, words...)...)
			if left := h.Show(t); len(left) > 0 {
				t.Errorf("after down %s: %+v", form, left)
			}
		})
	}
}
