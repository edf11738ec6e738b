package tests

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fanctl/fanctl/internal/selftest"
	"github.com/fanctl/fanctl/tests/bed"
)

// A healthy container: every line as scripts look for it.
func TestSelfTestLocal(t *testing.T) {
	eachPath(t, func(t *testing.T, p path) {
		b := bed.New(t, bed.Options{})
		x := newTester(t, upOn(t, b, b.Hosts[0], p, overlay), bed.ContainerOptions{})
		o, err := x.Local(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		if !o.Score.Pass() {
			t.Errorf("score %+v", o.Score)
		}
		bridge, container := x.Fan.BridgeAddr().String(), x.Addr.String()
		want := strings.NewReplacer("HOST", bridge, "CONT", container).Replace(`test master: ping test (CONT) ...
test master: ping test (CONT) ... PASS
test slave: ping test (HOST) ...
test slave: ping test (HOST) ... PASS
test master: short data test (HOST -> CONT) ...
test master: short data test (HOST -> CONT) ... PASS
test slave: short data test (CONT -> HOST) ...
test slave: short data test (CONT -> HOST) ... PASS
test master: long data test (HOST -> CONT) ...
test master: long data test (HOST -> CONT) ... PASS
test slave: long data test (CONT -> HOST) ...
test slave: long data test (CONT -> HOST) ... PASS
`)
		if got := x.told.String(); got != want {
			t.Errorf("reported:\n%s\nwant:\n%s", got, want)
		}
		if got := selftest.Complete(o.Name, o.Score); got != "local docker test: test complete PASS (master=0 slave=0)" {
			t.Errorf("last line: %s", got)
		}
	})
}

// A container that does not work, and what its test says.
func TestSelfTestLocalCauses(t *testing.T) {
	for name, test := range map[string]struct {
		breaks func(t *testing.T, x *tester)
		kind   selftest.Kind
		words  string
	}{
		"the host's INPUT": {func(t *testing.T, x *tester) {
			t.Helper()
			x.fan.host.Must(t, "iptables", "-I", "INPUT", "-i", "fan-250", "-j", "DROP")
		}, selftest.Firewall, "-A INPUT -i fan-250 -j DROP"},
		"off the bridge": {func(t *testing.T, x *tester) {
			t.Helper()
			x.fan.host.IP(t, "link set "+x.con.Port+" nomaster")
		}, selftest.Container, "on the bridge fan-250"},
	} {
		t.Run(name, func(t *testing.T) {
			b := bed.New(t, bed.Options{})
			x := newTester(t, upOn(t, b, b.Hosts[0], ipipEBPF(), overlay), bed.ContainerOptions{})
			test.breaks(t, x)
			x.Effort.Stall, x.Effort.Wait = time.Second, 1500*time.Millisecond
			o, err := x.Local(context.Background())
			if err != nil {
				t.Fatal(err)
			}
			if o.Score.Pass() {
				t.Error("it passes")
			}
			for _, r := range o.Results {
				if !r.Pass && (r.Cause.Kind != test.kind || !strings.Contains(r.Cause.Text, test.words)) {
					t.Errorf("%s: %s, want %s with %q", r, r.Cause.Kind, test.kind, test.words)
				}
			}
		})
	}
}

// Two healthy hosts: both report the same, with figures.
func TestSelfTestHosts(t *testing.T) {
	eachPath(t, func(t *testing.T, p path) {
		d := newDuel(t, p, bed.Options{})
		o := d.against(t)
		if !o.Score.Pass() || len(o.Results) != 11 {
			t.Errorf("%d results, score %+v", len(o.Results), o.Score)
		}
		if !eventually(func() bool { return strings.Contains(d.b.told.String(), "test complete") }) {
			t.Error("the one that serves does not report the end")
		}
		if got, want := d.b.told.done(), d.a.told.done(); !slices.EqualFunc(got, want, func(a, b selftest.Result) bool { return a.String() == b.String() }) {
			t.Errorf("the one that serves has reported %v, the other %v", got, want)
		}
		last := "host docker test: test complete PASS (master=0 slave=0)\n"
		for _, x := range []*tester{d.a, d.b} {
			if !strings.HasSuffix(x.told.String(), last) {
				t.Errorf("%s: the last line should be %s", x.fan.host, last)
			}
		}
		for _, r := range o.Results {
			if r.Test == selftest.TestThroughput && (r.Gbit <= 0 || r.HostGbit <= 0) {
				t.Errorf("no figure: %+v", r)
			}
			if r.Test == selftest.TestMTU && r.Largest != d.fans[0].mtu(d.bed) {
				t.Errorf("the largest packet has %d bytes, want %d", r.Largest, d.fans[0].mtu(d.bed))
			}
		}
		t.Logf("%s", lineOf(d.a.told.String(), "master", "throughput"))
	})
}

// brokenDuel is something that is broken on purpose, and what the test must say.
type brokenDuel struct {
	name   string
	breaks func(t *testing.T, d duel)
	// test is the first that must fail.
	test string
	kind selftest.Kind
	// words are in the cause; HOST1 and HOST2 are the hosts.
	words []string
}

// tunnelMatch is what iptables calls the fan's packets.
func (d duel) tunnelMatch() []string {
	if d.fans[0].path.kind == "ipip" {
		return []string{"-p", "4"}
	}
	return []string{"-p", "udp", "--dport", "8472"}
}

func rule(t *testing.T, ns *bed.NS, before []string, match []string, after ...string) {
	t.Helper()
	ns.Must(t, slices.Concat([]string{"iptables"}, before, match, after)...)
}

func brokenDuels() []brokenDuel {
	return []brokenDuel{
		{"FORWARD of the other host", func(t *testing.T, d duel) {
			t.Helper()
			d.b.fan.host.Must(t, "iptables", "-I", "FORWARD", "-j", "DROP")
		}, selftest.TestPing, selftest.Forward, []string{"host HOST2 drops", "-A FORWARD -j DROP"}},
		{"FORWARD of this host", func(t *testing.T, d duel) {
			t.Helper()
			d.a.fan.host.Must(t, "iptables", "-I", "FORWARD", "-j", "DROP")
		}, selftest.TestPing, selftest.Forward, []string{"host HOST1 drops", "-A FORWARD -j DROP"}},
		{"FORWARD's policy, without the fan's rules", func(t *testing.T, d duel) {
			t.Helper()
			d.b.fan.host.Must(t, "iptables", "-P", "FORWARD", "DROP")
			d.b.fan.host.Must(t, "iptables", "-F", "FAN-FORWARD")
		}, selftest.TestPing, selftest.Forward, []string{"host HOST2 drops", "-P FORWARD DROP"}},
		{"FORWARD of the answers alone", func(t *testing.T, d duel) {
			t.Helper()
			d.a.fan.host.Must(t, "iptables", "-I", "FORWARD", "-d", d.a.Addr.String(), "-j", "DROP")
		}, selftest.TestPing, selftest.Forward, []string{"host HOST1 drops", "-j DROP"}},
		{"the tunnel is blocked", func(t *testing.T, d duel) {
			t.Helper()
			rule(t, d.bed.Router, []string{"-A", "FORWARD"}, d.tunnelMatch(), "-j", "DROP")
		}, selftest.TestPing, selftest.Blocked, []string{"WIRE does not pass from HOST1 to HOST2"}},
		{"the tunnel is blocked one way", func(t *testing.T, d duel) {
			t.Helper()
			rule(t, d.bed.Router, []string{"-A", "FORWARD", "-s", d.b.Fan.Host.String()}, d.tunnelMatch(), "-j", "DROP")
		}, selftest.TestPing, selftest.Blocked, []string{"WIRE does not pass from HOST2 to HOST1"}},
		{"MTU too big, and told so", func(t *testing.T, d duel) {
			t.Helper()
			d.bed.Router.IP(t, "link set sub1 mtu 1400")
		}, selftest.TestMTU, selftest.TooBig, []string{"do not pass", "--mtu NARROW"}},
		{"MTU too big, and silence", func(t *testing.T, d duel) {
			t.Helper()
			d.bed.Router.IP(t, "link set sub1 mtu 1400")
			d.bed.Router.Must(t, "iptables", "-A", "OUTPUT", "-p", "icmp", "-j", "DROP")
		}, selftest.TestMTU, selftest.TooBig, []string{"do not pass", "--mtu NARROW"}},
		{"NAT of the tunnel between the hosts", func(t *testing.T, d duel) {
			t.Helper()
			rule(t, d.bed.Router, []string{"-t", "nat", "-A", "POSTROUTING"}, d.tunnelMatch(), "-j", "MASQUERADE")
		}, selftest.TestPing, selftest.Source, []string{"HOST2 refuses packets from HOST1", "counted as spoofed", "NAT"}},
		{"NAT of everything between the hosts", func(t *testing.T, d duel) {
			t.Helper()
			d.bed.Router.Must(t, "iptables", "-t", "nat", "-A", "POSTROUTING", "-j", "MASQUERADE")
		}, selftest.TestControl, selftest.Source, []string{"HOST1 is seen by HOST2 as 10.0.3.254", "NAT"}},
		{"NAT of the container's address on its host", func(t *testing.T, d duel) {
			t.Helper()
			d.a.fan.host.Must(t, "iptables", "-t", "nat", "-I", "POSTROUTING", "-s", d.a.Addr.String(), "-j", "SNAT", "--to", "250.0.77.7")
		}, selftest.TestPing, selftest.Source, []string{"HOST1 does not send for a source that is not in its slice 250.0.11.0/24", "spoofed"}},
	}
}

// What is broken is named, and so is where. The reports of both hosts are the same.
func TestSelfTestCauses(t *testing.T) {
	for _, broken := range brokenDuels() {
		t.Run(broken.name, func(t *testing.T) {
			t.Parallel() // most of it is waiting for what does not come
			eachPath(t, func(t *testing.T, p path) {
				d := newDuel(t, p, bed.Options{Routed: true, NoIPv6: true})
				if p.kind == "vxlan" && strings.HasPrefix(broken.name, "NAT of the container") {
					return // bridged packets have their source changed nowhere
				}
				broken.breaks(t, d)
				o := d.against(t)
				first := slices.IndexFunc(o.Results, func(r selftest.Result) bool { return !r.Pass })
				if first < 0 {
					t.Fatal("it passes")
				}
				r := o.Results[first]
				t.Log(r)
				if r.Test != broken.test || r.Cause.Kind != broken.kind {
					t.Errorf("%s test fails with %s, want %s test with %s", r.Test, r.Cause.Kind, broken.test, broken.kind)
				}
				wire := "IP protocol 4 (ipip)"
				if p.kind == "vxlan" {
					wire = "UDP port 8472 (vxlan)"
				}
				fill := strings.NewReplacer("HOST1", d.a.Fan.Host.String(), "HOST2", d.b.Fan.Host.String(),
					"NARROW", fmt.Sprint(1400-p.overhead), "WIRE", wire)
				for _, words := range broken.words {
					if !strings.Contains(r.Cause.Text, fill.Replace(words)) {
						t.Errorf("the cause has no %q", fill.Replace(words))
					}
				}
				if !eventually(func() bool { return strings.Contains(d.b.told.String(), "test complete FAIL") }) {
					t.Error("the one that serves does not report the end")
				}
				if !strings.Contains(d.b.told.String(), r.Cause.Text) {
					t.Error("the one that serves does not name the cause")
				}
			})
		})
	}
}

// Fans that can't belong together are found out before any packet is sent.
func TestSelfTestDifferences(t *testing.T) {
	ipip, vx := []string{"--type", "ipip", "--datapath", "ebpf"}, []string{"--type", "vxlan"}
	tests := []struct {
		name        string
		under, over [2]string
		kind        [2][]string
		words       string
	}{
		{"type", [2]string{"10.0.0.0/16", "10.0.0.0/16"}, [2]string{overlay, overlay}, [2][]string{ipip, vx},
			"10.0.0.11 has type ipip, 10.0.3.4 has vxlan"},
		{"port", [2]string{"10.0.0.0/16", "10.0.0.0/16"}, [2]string{overlay, overlay}, [2][]string{vx, {"--type", "vxlan", "--port", "4789"}},
			"10.0.0.11 has port 8472, 10.0.3.4 has 4789"},
		{"overlay", [2]string{"10.0.0.0/16", "10.0.0.0/16"}, [2]string{overlay, "251.0.0.0/8"}, [2][]string{ipip, ipip},
			"10.0.0.11 has overlay 250.0.0.0/8, 10.0.3.4 has 251.0.0.0/8"},
		{"underlay mask", [2]string{"10.0.0.0/16", "10.0.0.0/20"}, [2]string{overlay, overlay}, [2][]string{ipip, ipip},
			"10.0.0.11 has underlay 10.0.0.0/16, 10.0.3.4 has 10.0.0.0/20"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			b := bed.New(t, bed.Options{NoIPv6: true})
			var both []*tester
			for i, h := range b.Hosts {
				under, over := netip.MustParsePrefix(test.under[i]), netip.MustParsePrefix(test.over[i])
				h.MustFanctl(t, slices.Concat([]string{"up", "-u", test.under[i], "-o", test.over[i]}, test.kind[i])...)
				f := fan{host: h, net: bed.Network{Bridge: bridgeName(over), Overlay: over, Slice: bed.Slice(under, over, h.Addr)}}
				both = append(both, newTester(t, f, bed.ContainerOptions{}))
			}
			d := duel{bed: b, a: both[0], b: both[1]}
			o := d.against(t)
			if len(o.Results) != 1 || o.Results[0].Pass || o.Results[0].Cause.Kind != selftest.Differs {
				t.Fatalf("results %v", o.Results)
			}
			if !strings.Contains(o.Results[0].Cause.Text, test.words) {
				t.Errorf("cause %q, want in it %q", o.Results[0].Cause.Text, test.words)
			}
			if !eventually(func() bool { return strings.Contains(d.b.told.String(), test.words) }) {
				t.Error("the one that serves does not say so")
			}
		})
	}
}

// A container with an address of another host's slice.
func TestSelfTestForeignContainer(t *testing.T) {
	d := newDuel(t, ipipEBPF(), bed.Options{Hosts: []string{"10.0.0.11", "10.0.3.4", "10.0.9.9"}})
	foreign := bed.Nth(d.fans[2].net.Slice, 20)
	d.a.con.IP(t, fmt.Sprintf("addr add %s/24 dev eth0", foreign))
	d.a.Addr = foreign
	o := d.against(t)
	r := o.Results[len(o.Results)-1]
	if r.Pass || r.Cause.Kind != selftest.Source || !strings.Contains(r.Cause.Text, foreign.String()) {
		t.Errorf("result: %s", r)
	}
}

// Why no control connection can be had.
func TestSelfTestControl(t *testing.T) {
	for name, test := range map[string]struct {
		breaks func(t *testing.T, d duel) netip.Addr
		kind   selftest.Kind
		words  string
	}{
		"nobody serves": {func(_ *testing.T, d duel) netip.Addr { return d.b.Fan.Host }, selftest.Refused, "on 10.0.3.4: fanatic test --serve"},
		"the port is filtered": {func(t *testing.T, d duel) netip.Addr {
			t.Helper()
			d.b.fan.host.Must(t, "iptables", "-I", "INPUT", "-p", "tcp", "--dport", "7250", "-j", "DROP")
			return d.b.Fan.Host
		}, selftest.Filtered, "TCP port 7250"},
		"no such host": {func(*testing.T, duel) netip.Addr { return netip.MustParseAddr("10.0.7.7") }, selftest.Absent, "does not answer ARP"},
		"no route": {func(t *testing.T, d duel) netip.Addr {
			t.Helper()
			d.a.fan.host.IP(t, "route add unreachable 10.0.3.4")
			return d.b.Fan.Host
		}, selftest.Absent, "10.0.3.4"},
	} {
		t.Run(name, func(t *testing.T) {
			d := newDuel(t, ipipEBPF(), bed.Options{})
			o, err := d.a.Against(context.Background(), test.breaks(t, d))
			if err != nil {
				t.Fatal(err)
			}
			r := o.Results[0]
			if len(o.Results) != 1 || r.Pass || r.Cause.Kind != test.kind || !strings.Contains(r.Cause.Text, test.words) {
				t.Errorf("result: %s (%s), want %s with %q", r, r.Cause.Kind, test.kind, test.words)
			}
		})
	}
}

// Two users who answer the same question on two hosts, one some time after the other.
func TestSelfTestMeet(t *testing.T) {
	for name, first := range map[string]int{"the lower address first": 0, "the higher address first": 1} {
		t.Run(name, func(t *testing.T) {
			d := newDuel(t, ipipEBPF(), bed.Options{})
			both := []*tester{d.a, d.b}
			one, two := both[first], both[1-first]
			type met struct {
				o   selftest.Outcome
				err error
			}
			early := make(chan met, 1)
			go func() {
				o, err := one.Meet(context.Background(), two.Fan.Host)
				early <- met{o, err}
			}()
			if !eventually(func() bool { return strings.Contains(one.told.String(), "waiting for "+two.Fan.Host.String()) }) {
				t.Error("it does not say that it waits")
			}
			o, err := two.Meet(context.Background(), one.Fan.Host)
			other := <-early
			for _, m := range []met{{o, err}, other} {
				if m.err != nil || !m.o.Score.Pass() || len(m.o.Results) != 11 {
					t.Errorf("%d results, score %+v, %v", len(m.o.Results), m.o.Score, m.err)
				}
			}
		})
	}
}

func TestSelfTestMeetsNobody(t *testing.T) {
	d := newDuel(t, ipipEBPF(), bed.Options{})
	d.a.Effort.Meeting, d.b.Effort.Meeting = 200*time.Millisecond, 200*time.Millisecond
	for x, peer := range map[*tester]netip.Addr{d.a: d.b.Fan.Host, d.b: d.a.Fan.Host} {
		o, err := x.Meet(context.Background(), peer)
		if err != nil || len(o.Results) != 1 || o.Results[0].Pass {
			t.Errorf("%s: %v, %v", x.fan.host, o.Results, err)
		}
	}
	ctx, cancel := context.WithCancelCause(context.Background())
	ended := errors.New("enough")
	cancel(ended)
	for x, peer := range map[*tester]netip.Addr{d.a: d.b.Fan.Host, d.b: d.a.Fan.Host} {
		if _, err := x.Meet(ctx, peer); !errors.Is(err, ended) {
			t.Errorf("%s: ended with %v", x.fan.host, err)
		}
	}
}
