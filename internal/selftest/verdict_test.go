package selftest

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/fanctl/fanctl/internal/probe"
	"github.com/fanctl/fanctl/tunnel"
)

var ends = []About{
	{Host: netip.MustParseAddr("10.0.0.8"), Underlay: netip.MustParsePrefix("10.0.0.0/16"), Overlay: netip.MustParsePrefix("250.0.0.0/8"),
		Type: "ipip", MTU: 1480, Slice: netip.MustParsePrefix("250.0.8.0/24")},
	{Host: netip.MustParseAddr("10.0.0.45"), Underlay: netip.MustParsePrefix("10.0.0.0/16"), Overlay: netip.MustParsePrefix("250.0.0.0/8"),
		Type: "ipip", MTU: 1480, Slice: netip.MustParsePrefix("250.0.45.0/24")},
}

type flowCase struct {
	name string
	flow flow
	kind Kind
	host string // that the cause names; "" for any
}

// flows is evidence of every kind.
func flows() []flowCase {
	make := func(from, to Facts, pings probe.Answers) flow {
		pings.Sent = burst
		return flow{from: place{ends[0], from}, to: place{ends[1], to}, pings: pings}
	}
	flat := func(f flow) flow {
		f.from.Type, f.to.Type, f.from.Port, f.to.Port = "vxlan", "vxlan", 8472, 8472
		return f
	}
	count := func(tx, rx uint64) *tunnel.Counters { return &tunnel.Counters{TxPackets: tx, RxPackets: rx} }
	rules := func(chain string) []Drop {
		return []Drop{{Table: "filter", Chain: chain, Rule: "-A " + chain + " -j DROP", Packets: burst}}
	}
	unresolved := probe.Answers{Unresolved: netip.MustParseAddr("250.0.45.130")}
	unreachable := probe.Answers{Refusals: []probe.Refusal{{From: netip.MustParseAddr("250.0.8.1"), What: probe.HostUnreachable}}}
	return []flowCase{
		{"nothing leaves", make(Facts{Counters: count(0, 0), Drops: rules("FORWARD")}, Facts{Counters: count(0, 0)}, probe.Answers{}), Forward, "host 10.0.0.8 drops"},
		{"nothing leaves, no rule", make(Facts{Counters: count(2, 5)}, Facts{Counters: count(0, 0)}, probe.Answers{}), Forward, "host 10.0.0.8 drops"},
		{"nothing arrives", make(Facts{Counters: count(20, 0)}, Facts{Counters: count(0, 0)}, probe.Answers{}), Blocked, "from 10.0.0.8 to 10.0.0.45"},
		{"INPUT of the receiver", make(Facts{Counters: count(20, 0)}, Facts{Counters: count(0, 0), Drops: rules("INPUT")}, probe.Answers{}), Blocked, `on 10.0.0.45 rule "-A INPUT`},
		{"not handed on", make(Facts{Counters: count(20, 0)}, Facts{Counters: count(0, 20), Drops: rules("DOCKER-USER")}, probe.Answers{}), Forward, "host 10.0.0.45 drops"},
		{"answers dropped where they are made", make(Facts{Counters: count(20, 0)}, Facts{Counters: count(0, 20), Seen: 20, Drops: rules("FORWARD")}, probe.Answers{}), Forward, "host 10.0.0.45 drops"},
		{"answers blocked", make(Facts{Counters: count(20, 0)}, Facts{Counters: count(20, 20), Seen: 20}, probe.Answers{}), Blocked, "from 10.0.0.45 to 10.0.0.8"},
		{"answers not handed on", make(Facts{Counters: count(20, 20), Drops: rules("FORWARD")}, Facts{Counters: count(20, 20), Seen: 20}, probe.Answers{}), Forward, "host 10.0.0.8 drops"},
		{"spoofed at the sender", make(Facts{Counters: &tunnel.Counters{Spoofed: 20}}, Facts{Counters: count(0, 0)}, probe.Answers{}), Source, "10.0.0.8 does not send"},
		{"spoofed at the receiver", make(Facts{Counters: count(20, 0)}, Facts{Counters: &tunnel.Counters{Spoofed: 20}}, probe.Answers{}), Source, "10.0.0.45 refuses"},
		{"spoofed answers", make(Facts{Counters: &tunnel.Counters{TxPackets: 20, Spoofed: 0}}, Facts{Counters: &tunnel.Counters{RxPackets: 20, Spoofed: 20}, Seen: 20}, probe.Answers{}), Source, "10.0.0.45 does not send"},
		{"another slice", make(Facts{Counters: count(20, 0)}, Facts{Counters: &tunnel.Counters{NotOurs: 20}}, probe.Answers{}), Differs, "10.0.0.45 gets packets"},
		{"no route", make(Facts{Counters: &tunnel.Counters{NoRoute: 20}}, Facts{Counters: count(0, 0)}, probe.Answers{}), Absent, "10.0.0.8 has no route"},
		{"some lost", make(Facts{Counters: count(20, 15)}, Facts{Counters: count(15, 15), Seen: 15}, probe.Answers{Answered: 15}), Loss, "5 of 20"},
		{"no counters", make(Facts{}, Facts{Counters: count(0, 0)}, probe.Answers{}), Unknown, "can't be read"},
		{"vxlan blocked", flat(make(Facts{Counters: count(3, 0)}, Facts{Counters: count(0, 0)}, unresolved)), Blocked, "from 10.0.0.8 to 10.0.0.45"},
		{"vxlan blocked, by the gateway", flat(make(Facts{Counters: count(3, 0)}, Facts{Counters: count(0, 0)}, unreachable)), Blocked, "UDP port 8472 (vxlan)"},
		{"vxlan answers blocked", flat(make(Facts{Counters: count(3, 0)}, Facts{Counters: count(3, 3)}, unresolved)), Blocked, "from 10.0.0.45 to 10.0.0.8"},
		{"vxlan with NAT", flat(make(Facts{Counters: count(3, 0)}, Facts{Counters: &tunnel.Counters{Spoofed: 3}}, unresolved)), Source, "10.0.0.45 refuses"},
		{"vxlan, FORWARD lets ARP through", flat(make(Facts{Counters: count(1, 1), Drops: rules("FORWARD")}, Facts{Counters: count(1, 1)}, probe.Answers{})), Forward, "host 10.0.0.8 drops"},
		{"vxlan, no such container", flat(make(Facts{Counters: count(3, 3)}, Facts{Counters: count(3, 3)}, unresolved)), Container, "container of 10.0.0.45"},
	}
}

func TestFlowCause(t *testing.T) {
	for _, c := range flows() {
		t.Run(c.name, func(t *testing.T) {
			got := c.flow.cause()
			if got.Kind != c.kind || !strings.Contains(got.Text, c.host) {
				t.Errorf("cause %s: %s\nwant %s with %q", got.Kind, got.Text, c.kind, c.host)
			}
			if strings.Contains(got.Text, "\n") {
				t.Error("a cause is one line")
			}
		})
	}
}

func TestDifferences(t *testing.T) {
	a := Hello{Fan: ends[0], Container: netip.MustParseAddr("250.0.8.130")}
	b := Hello{Fan: ends[1], Container: netip.MustParseAddr("250.0.45.130")}
	if c := differences(a, b, ends[0].Host); c != nil {
		t.Errorf("two good hosts: %s", c.Text)
	}
	tests := map[string]struct {
		change func(a, b *Hello, seen *netip.Addr)
		kind   Kind
		words  string
	}{
		"type":     {func(_, b *Hello, _ *netip.Addr) { b.Fan.Type = "vxlan" }, Differs, "10.0.0.8 has type ipip, 10.0.0.45 has vxlan"},
		"overlay":  {func(_, b *Hello, _ *netip.Addr) { b.Fan.Overlay = netip.MustParsePrefix("251.0.0.0/8") }, Differs, "overlay"},
		"underlay": {func(_, b *Hello, _ *netip.Addr) { b.Fan.Underlay = netip.MustParsePrefix("10.0.0.0/24") }, Differs, "10.0.0.0/24"},
		"port": {func(a, b *Hello, _ *netip.Addr) {
			a.Fan.Type, a.Fan.Port, b.Fan.Type, b.Fan.Port = "vxlan", 8472, "vxlan", 4789
		}, Differs, "10.0.0.8 has port 8472, 10.0.0.45 has 4789"},
		"NAT":               {func(_, _ *Hello, seen *netip.Addr) { *seen = netip.MustParseAddr("10.0.0.1") }, Source, "seen by 10.0.0.45 as 10.0.0.1"},
		"foreign container": {func(a, _ *Hello, _ *netip.Addr) { a.Container = netip.MustParseAddr("250.0.9.1") }, Source, "250.0.9.1"},
		"itself":            {func(_, b *Hello, _ *netip.Addr) { b.Fan.Host = ends[0].Host }, Differs, "itself"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			a, b, seen := a, b, ends[0].Host
			test.change(&a, &b, &seen)
			c := differences(a, b, seen)
			if c == nil || c.Kind != test.kind || !strings.Contains(c.Text, test.words) {
				t.Errorf("cause %+v, want %s with %q", c, test.kind, test.words)
			}
		})
	}
}

func TestTooBig(t *testing.T) {
	small := ends[1]
	small.MTU = 1400
	for name, test := range map[string]struct {
		to     About
		passed probe.Passed
		kind   Kind
		words  string
	}{
		"narrow way":         {ends[1], probe.Passed{Largest: 1380}, TooBig, `"--mtu 1380"`},
		"the peer's MTU":     {small, probe.Passed{Largest: 1400}, TooBig, "the fan of 10.0.0.45 has MTU 1400"},
		"too few for a fan":  {ends[1], probe.Passed{Largest: 300}, TooBig, "too few"},
		"nothing passes":     {ends[1], probe.Passed{}, Unknown, "small ones"},
		"somebody says that": {ends[1], probe.Passed{Largest: 1380, Refusals: []probe.Refusal{{From: ends[1].Host, What: probe.TooBig, MTU: 1380}}}, TooBig, "10.0.0.45 says"},
	} {
		t.Run(name, func(t *testing.T) {
			if c := tooBig(ends[0], test.to, test.passed); c.Kind != test.kind || !strings.Contains(c.Text, test.words) {
				t.Errorf("cause %s: %s, want %s with %q", c.Kind, c.Text, test.kind, test.words)
			}
		})
	}
}

func TestControlCause(t *testing.T) {
	peer := netip.MustParseAddr("10.0.0.45")
	for name, test := range map[string]struct {
		reason string
		pings  probe.Answers
		kind   Kind
		words  string
	}{
		"refused":     {"refused", probe.Answers{}, Refused, "on 10.0.0.45: fanatic test --serve"},
		"filtered":    {"no answer", probe.Answers{Answered: 2}, Filtered, "TCP port 7250"},
		"rejected":    {"host unreachable", probe.Answers{Answered: 2}, Filtered, "TCP port 7250"},
		"own OUTPUT":  {"sending not permitted", probe.Answers{}, Filtered, "this host's own firewall"},
		"no route":    {"network unreachable", probe.Answers{}, Absent, "no route"},
		"no ARP":      {"host unreachable", probe.Answers{Unresolved: peer}, Absent, "does not answer ARP"},
		"all dropped": {"no answer", probe.Answers{}, Absent, "does not answer"},
	} {
		t.Run(name, func(t *testing.T) {
			if c := controlCause(peer, DefaultPort, test.reason, test.pings); c.Kind != test.kind || !strings.Contains(c.Text, test.words) {
				t.Errorf("cause %s: %s, want %s with %q", c.Kind, c.Text, test.kind, test.words)
			}
		})
	}
}

func TestLocalCause(t *testing.T) {
	base := localEvidence{host: netip.MustParseAddr("250.0.8.1"), container: netip.MustParseAddr("250.0.8.130"), bridge: "fan-250", mtu: 1480, pings: probe.Answers{Sent: 5}}
	for name, test := range map[string]struct {
		change func(*localEvidence)
		kind   Kind
		words  string
	}{
		"a rule":         {func(e *localEvidence) { e.drops = []Drop{{"filter", "INPUT", "-A INPUT -j DROP", 5}} }, Firewall, "-A INPUT -j DROP"},
		"container away": {func(e *localEvidence) { e.pings.Unresolved = e.container }, Container, "does not answer ARP"},
		"host away":      {func(e *localEvidence) { e.pings.Unresolved = e.host }, Container, "250.0.8.1 does not answer"},
		"short packets":  {func(e *localEvidence) { e.passed = &probe.Passed{Largest: 1400} }, TooBig, "have 1400"},
		"refused": {func(e *localEvidence) {
			e.pings.Refusals = []probe.Refusal{{From: e.host, What: "administratively prohibited"}}
		}, Container, "prohibited"},
		"some lost": {func(e *localEvidence) { e.pings.Answered = 3 }, Loss, "2 of 5"},
		"nothing known": {func(e *localEvidence) { e.failure = &probe.Failure{Stage: probe.StageConnect, Reason: "refused"} }, Unknown,
			"no connection: refused"},
	} {
		t.Run(name, func(t *testing.T) {
			e := base
			test.change(&e)
			if c := e.cause(); c.Kind != test.kind || !strings.Contains(c.Text, test.words) {
				t.Errorf("cause %s: %s, want %s with %q", c.Kind, c.Text, test.kind, test.words)
			}
		})
	}
}
