package bridge

import (
	"errors"
	"net/netip"
	"strings"
	"testing"

	"github.com/fanctl/fanctl/fan"
	"github.com/fanctl/fanctl/internal/firewall"
)

// sampleFan is the design's first example; the change makes it another.
func sampleFan(t *testing.T, change func(*fan.Fan)) fan.Fan {
	t.Helper()
	m, err := fan.NewMapping(netip.MustParsePrefix("10.0.0.0/16"), netip.MustParsePrefix("250.0.0.0/8"))
	if err != nil {
		t.Fatal(err)
	}
	f := fan.Fan{Mapping: m, Host: netip.MustParseAddr("10.0.0.45"), Device: "eth0", Type: fan.IPIP,
		Bridge: "fan-250", MTU: 1480, NAT: true}
	if change != nil {
		change(&f)
	}
	if err := f.Validate(); err != nil {
		t.Fatal(err)
	}
	return f
}

func asVXLAN(f *fan.Fan) { f.Type, f.Port, f.MTU = fan.VXLAN, fan.DefaultPort, 1450 }

// secondFan is another overlay over the same underlay.
func secondFan(t *testing.T, change func(*fan.Fan)) fan.Fan {
	t.Helper()
	return sampleFan(t, func(f *fan.Fan) {
		m, err := fan.NewMapping(f.Mapping.Underlay(), netip.MustParsePrefix("251.0.0.0/8"))
		if err != nil {
			t.Fatal(err)
		}
		f.Mapping, f.Bridge = m, "fan-251"
		if change != nil {
			change(f)
		}
	})
}

func TestRules(t *testing.T) {
	tests := []struct {
		name string
		want Want
		text string
	}{
		{"ipip", Want{Fan: sampleFan(t, nil), Tunnel: "ftun-ipip", WaysOut: []string{"eth0", "wlan0"}, Docker: true}, `
filter FAN-FORWARD -d 250.0.0.0/8 -i fan-250 -j ACCEPT
filter FAN-FORWARD -s 250.0.0.0/8 -i ftun-ipip -j ACCEPT
raw FAN-PREROUTING -s 250.0.0.0/8 -j ACCEPT
filter FAN-FORWARD -i fan-250 -o fan-250 -j ACCEPT
filter FAN-FORWARD -o fan-250 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
filter FAN-FORWARD -i fan-250 -o eth0 -j ACCEPT
filter FAN-FORWARD -i fan-250 -o wlan0 -j ACCEPT
filter FAN-INPUT -s 10.0.0.0/16 -d 10.0.0.45/32 -p 4 -j ACCEPT
filter FAN-INPUT -s 250.0.0.0/8 -d 250.0.45.1/32 -p icmp -m icmp --icmp-type 8 -j ACCEPT
nat FAN-POSTROUTING -s 250.0.45.0/24 -d 250.0.0.0/8 -j ACCEPT
nat FAN-POSTROUTING -s 250.0.45.0/24 ! -o fan-250 -j MASQUERADE
FORWARD -> FAN-FORWARD
DOCKER-USER -> FAN-FORWARD
INPUT -> FAN-INPUT
POSTROUTING -> FAN-POSTROUTING, first
PREROUTING -> FAN-PREROUTING, first
`},
		{"ipip without Docker and NAT", Want{Fan: sampleFan(t, func(f *fan.Fan) { f.NAT = false }), Tunnel: "ftun-250"}, `
filter FAN-FORWARD -d 250.0.0.0/8 -i fan-250 -j ACCEPT
filter FAN-FORWARD -s 250.0.0.0/8 -i ftun-250 -j ACCEPT
filter FAN-FORWARD -i fan-250 -o fan-250 -j ACCEPT
filter FAN-FORWARD -o fan-250 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
filter FAN-INPUT -s 10.0.0.0/16 -d 10.0.0.45/32 -p 4 -j ACCEPT
filter FAN-INPUT -s 250.0.0.0/8 -d 250.0.45.1/32 -p icmp -m icmp --icmp-type 8 -j ACCEPT
nat FAN-POSTROUTING -s 250.0.45.0/24 -d 250.0.0.0/8 -j ACCEPT
FORWARD -> FAN-FORWARD
DOCKER-USER -> FAN-FORWARD
INPUT -> FAN-INPUT
POSTROUTING -> FAN-POSTROUTING, first
`},
		{"vxlan without NAT, with DHCP", Want{Fan: sampleFan(t, func(f *fan.Fan) { asVXLAN(f); f.NAT, f.DHCP = false, true }), Tunnel: "ftun-250", WaysOut: []string{"eth0"}}, `
filter FAN-FORWARD -d 250.0.0.0/8 -i fan-250 -j ACCEPT
filter FAN-FORWARD -i fan-250 -o fan-250 -j ACCEPT
filter FAN-FORWARD -o fan-250 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
filter FAN-FORWARD -i fan-250 -o eth0 -j ACCEPT
filter FAN-INPUT -s 10.0.0.0/16 -d 10.0.0.45/32 -p udp -m udp --dport 8472 -j ACCEPT
filter FAN-INPUT -s 250.0.0.0/8 -d 250.0.45.1/32 -p icmp -m icmp --icmp-type 8 -j ACCEPT
filter FAN-INPUT -i fan-250 -p udp -m udp --dport 67 -j ACCEPT
filter FAN-INPUT -s 250.0.0.0/8 -d 250.0.45.1/32 -i fan-250 -p udp -m udp --dport 53 -j ACCEPT
filter FAN-INPUT -s 250.0.0.0/8 -d 250.0.45.1/32 -i fan-250 -p tcp -m tcp --dport 53 -j ACCEPT
nat FAN-POSTROUTING -s 250.0.45.0/24 -d 250.0.0.0/8 -j ACCEPT
FORWARD -> FAN-FORWARD
DOCKER-USER -> FAN-FORWARD
INPUT -> FAN-INPUT
POSTROUTING -> FAN-POSTROUTING, first
`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var lines []string
			got := rules(tt.want)
			for _, r := range got.Rules {
				lines = append(lines, r.Table+" "+r.Chain+" "+r.Spec)
			}
			for _, j := range got.Jumps {
				line := j.From + " -> " + j.To
				if j.First {
					line += ", first"
				}
				lines = append(lines, line)
			}
			if got, want := strings.Join(lines, "\n"), strings.TrimSpace(tt.text); got != want {
				t.Errorf("rules are\n%s\nwant\n%s", got, want)
			}
		})
	}
}

// TestNotOthers checks whose a rule is on a host with two fans over one underlay.
func TestNotOthers(t *testing.T) {
	f := sampleFan(t, nil)
	sameType := []Other{{Fan: secondFan(t, nil)}}
	otherType := []Other{{Fan: secondFan(t, asVXLAN)}}
	tests := []struct {
		name   string
		rule   firewall.Rule
		others []Other
		want   bool
	}{
		{"its bridge", firewall.Rule{Table: "filter", Chain: chainForward, Spec: "-i fan-250 -o wlan9 -j ACCEPT"}, sameType, true},
		{"its DHCP", firewall.Rule{Table: "filter", Chain: chainInput, Spec: "-i fan-250 -p udp -m udp --dport 67 -j ACCEPT"}, sameType, true},
		{"another's DHCP", firewall.Rule{Table: "filter", Chain: chainInput, Spec: "-i fan-251 -p udp -m udp --dport 67 -j ACCEPT"}, sameType, false},
		{"another's bridge", firewall.Rule{Table: "filter", Chain: chainForward, Spec: "-i fan-251 -o eth0 -j ACCEPT"}, sameType, false},
		{"a bridge with a longer name", firewall.Rule{Table: "filter", Chain: chainForward, Spec: "-i fan-2500 -o eth0 -j ACCEPT"}, sameType, false},
		{"its slice by a shared tunnel", firewall.Rule{Table: "raw", Chain: chainRaw, Spec: "-s 250.0.0.0/8 -j ACCEPT"}, sameType, true},
		{"its slice when the host had another address", firewall.Rule{Table: "nat", Chain: chainNAT, Spec: "-s 250.0.7.0/24 ! -o fan-250 -j MASQUERADE"}, sameType, true},
		{"another's slice", firewall.Rule{Table: "nat", Chain: chainNAT, Spec: "-s 251.0.45.0/24 -d 251.0.0.0/8 -j ACCEPT"}, sameType, false},
		{"its bridge as another fan's way out", firewall.Rule{Table: "filter", Chain: chainForward, Spec: "-i fan-251 -o fan-250 -j ACCEPT"}, sameType, false},
		{"ping", firewall.Rule{Table: "filter", Chain: chainInput, Spec: "-s 250.0.0.0/8 -d 250.0.45.1/32 -p icmp -m icmp --icmp-type 8 -j ACCEPT"}, sameType, true},
		{"another's ping", firewall.Rule{Table: "filter", Chain: chainInput, Spec: "-s 251.0.0.0/8 -d 251.0.45.1/32 -p icmp -m icmp --icmp-type 8 -j ACCEPT"}, sameType, false},
		{"tunnel packets, shared", tunnelRule(f), sameType, false},
		{"tunnel packets, its own", tunnelRule(f), otherType, true},
		{"tunnel packets of the last fan", tunnelRule(f), nil, true},
		{"tunnel packets to a port that it had", firewall.Rule{Table: "filter", Chain: chainInput, Spec: "-s 10.0.0.0/16 -d 10.0.0.45/32 -p udp -m udp --dport 4789 -j ACCEPT"}, otherType, true},
		{"tunnel packets of another underlay", firewall.Rule{Table: "filter", Chain: chainInput, Spec: "-s 10.1.0.0/16 -d 10.1.0.45/32 -p 4 -j ACCEPT"}, nil, false},
		{"somebody's DROP", firewall.Rule{Table: "filter", Chain: chainForward, Spec: "-d 10.1.2.3/32 -i fan-250 -j DROP"}, nil, false},
		{"somebody's DROP of the overlay", firewall.Rule{Table: "filter", Chain: chainForward, Spec: "-d 250.0.0.0/8 -i fan-250 -j DROP"}, nil, false},
		{"somebody's ACCEPT of one container", firewall.Rule{Table: "filter", Chain: chainForward, Spec: "-d 250.0.45.7/32 -i fan-250 -j ACCEPT"}, nil, false},
		{"somebody's way out with a match more", firewall.Rule{Table: "filter", Chain: chainForward, Spec: "-s 250.0.45.7/32 -i fan-250 -o eth0 -j ACCEPT"}, nil, false},
		{"somebody's log", firewall.Rule{Table: "filter", Chain: chainForward, Spec: "-i fan-250 -j LOG"}, nil, false},
		{"somebody's port", firewall.Rule{Table: "filter", Chain: chainInput, Spec: "-p tcp -m tcp --dport 22 -j ACCEPT"}, nil, false},
		{"somebody's port for containers", firewall.Rule{Table: "filter", Chain: chainInput, Spec: "-s 250.0.0.0/8 -i fan-250 -p tcp -m tcp --dport 22 -j ACCEPT"}, nil, false},
		{"somebody's IP in IP", firewall.Rule{Table: "filter", Chain: chainInput, Spec: "-s 192.0.2.1/32 -p 4 -j ACCEPT"}, nil, false},
		{"somebody's SNAT", firewall.Rule{Table: "nat", Chain: chainNAT, Spec: "-s 250.0.45.0/24 ! -o fan-250 -j SNAT --to-source 192.0.2.1"}, nil, false},
		{"somebody's NAT of one container", firewall.Rule{Table: "nat", Chain: chainNAT, Spec: "-s 250.0.45.7/32 ! -o fan-250 -j MASQUERADE"}, nil, false},
		{"somebody's comment", firewall.Rule{Table: "raw", Chain: chainRaw, Spec: `-s 250.0.0.0/8 -m comment --comment mine -j ACCEPT`}, nil, false},
		{"somebody else's chain", firewall.Rule{Table: "filter", Chain: "FORWARD", Spec: "-i fan-250 -j ACCEPT"}, nil, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := notOthers(f, tt.others)(tt.rule); got != tt.want {
				t.Errorf("notOthers(%s) = %v, want %v", tt.rule.Spec, got, tt.want)
			}
		})
	}
}

// TestShapes checks that every rule that fans have, or had in earlier versions, is known
// for the fan's, and for no other fan's.
func TestShapes(t *testing.T) {
	known := func(f fan.Fan, r firewall.Rule) {
		t.Helper()
		if !notOthers(f, nil)(r) {
			t.Errorf("%s %s is not the fan's", r.Chain, r.Spec)
		}
		if r != tunnelRule(f) && notOthers(secondFan(t, nil), nil)(r) {
			t.Errorf("%s %s is another fan's", r.Chain, r.Spec)
		}
	}
	for _, change := range []func(*fan.Fan){nil, asVXLAN, func(f *fan.Fan) { f.DHCP, f.Bridge = true, "mine" }} {
		f := sampleFan(t, change)
		for _, tunnel := range []string{"ftun-250", "ftun-ipip"} {
			for _, r := range rules(Want{Fan: f, Tunnel: tunnel, WaysOut: []string{"eth0", "wlan0"}, Docker: true}).Rules {
				known(f, r)
			}
		}
	}
	for _, earlier := range []firewall.Rule{
		{Table: "filter", Chain: chainForward, Spec: "-s 250.0.45.0/24 -d 250.0.0.0/8 -i fan-250 -o ftun-ipip -j ACCEPT"},
		{Table: "filter", Chain: chainForward, Spec: "-s 250.0.0.0/8 -d 250.0.45.0/24 -i ftun-250 -o fan-250 -j ACCEPT"},
		{Table: "filter", Chain: chainForward, Spec: "-s 250.0.45.0/24 -d 250.0.0.0/8 -i fan-250 -j ACCEPT"},
		{Table: "filter", Chain: chainForward, Spec: "-s 250.0.0.0/8 -d 250.0.45.0/24 -i ftun-ipip -j ACCEPT"},
		{Table: "raw", Chain: chainRaw, Spec: "-s 250.0.0.0/8 -d 250.0.45.0/24 -i ftun-ipip -j ACCEPT"},
		{Table: "raw", Chain: chainRaw, Spec: "-s 250.0.0.0/8 -d 250.0.45.0/24 -j ACCEPT"},
	} {
		known(sampleFan(t, nil), earlier)
	}
}

func TestFactsRoundTrip(t *testing.T) {
	tests := map[string]Facts{
		"all off and translating": {ForwardingOff: true, RedirectsOff: true, Translating: true},
		"nothing":                 {},
		"all": {ForwardingOff: true, ForwardingOn: []string{"default", "eth1.5", "a,b=c"}, RedirectsOff: true,
			Tables: []string{"filter", "nat.POSTROUTING"}, Clsact: []string{"eth0"}},
	}
	for name, facts := range tests {
		t.Run(name, func(t *testing.T) {
			alias, err := facts.alias(sampleFan(t, nil))
			if err != nil {
				t.Fatal(err)
			}
			f, extra, err := fan.ParseAlias("fan-250", alias)
			if err != nil || f != sampleFan(t, nil) {
				t.Fatalf("alias %q is fan %+v, %v", alias, f, err)
			}
			if again, err := FactsFrom(extra).alias(f); err != nil || again != alias {
				t.Errorf("alias %q becomes %q, %v", alias, again, err)
			}
		})
	}
}

func TestAliasFits(t *testing.T) {
	many := Facts{ForwardingOff: true, RedirectsOff: true, Translating: true, Tables: []string{"filter", "nat", "raw"}, Clsact: []string{"enp0s31f6np0v10"}}
	for range 40 {
		many.ForwardingOn = append(many.ForwardingOn, "enp0s31f6np0v11")
	}
	longest := sampleFan(t, func(f *fan.Fan) {
		f.Device, f.MTU, f.FixedMTU, f.NAT, f.Datapath = "enp0s31f6np0v10", 65515, true, false, fan.Device
		f.Auto, f.DHCP, f.Reserve, f.Fast = true, true, 126, fan.FastAnyway
	})
	alias, err := many.alias(longest)
	if err != nil || len(alias) > 255 {
		t.Errorf("alias has %d bytes, %v: %s", len(alias), err, alias)
	}
	_, extra, err := fan.ParseAlias("fan-250", alias)
	if err != nil || !FactsFrom(extra).ForwardingOff || len(FactsFrom(extra).Tables) != 3 {
		t.Errorf("alias %q has lost facts, %v", alias, err)
	}
}

func TestCheckNames(t *testing.T) {
	for _, name := range []string{"eth+", "-x", "!x", `a"b`, "a'b", `a\b`} {
		err := checkNames(Want{Fan: sampleFan(t, nil), Tunnel: "ftun-250", WaysOut: []string{name}})
		if !errors.Is(err, fan.ErrUsage) || !strings.Contains(err.Error(), name) {
			t.Errorf("device %q: error is %v, want ErrUsage with the name", name, err)
		}
	}
	if err := checkNames(Want{Fan: sampleFan(t, nil), Tunnel: "ftun-250", WaysOut: []string{"eth0.5", "wg-a_b"}}); err != nil {
		t.Error(err)
	}
}
