package firewall

import (
	"strings"
	"testing"

	"github.com/fanctl/fanctl/internal/plan"
)

// none says that no rule is out of date.
func none(Rule) bool { return false }

// sampleWant has all that a want can have: a chain of the kernel's and one of
// another program's to jump from, two tables, a jump that stays first.
func sampleWant() Want {
	return Want{
		Rules: []Rule{
			{"filter", "FAN-FORWARD", "-i fan-250 -o fan-250 -j ACCEPT"},
			{"filter", "FAN-FORWARD", "-i fan-250 -o eth0 -j ACCEPT"},
			{"nat", "FAN-POSTROUTING", "-s 250.0.45.0/24 -d 250.0.0.0/8 -j ACCEPT"},
			{"nat", "FAN-POSTROUTING", "-s 250.0.45.0/24 ! -o fan-250 -j MASQUERADE"},
		},
		Jumps: sampleJumps(),
	}
}

func sampleJumps() []Jump {
	return []Jump{
		{Table: "filter", From: "FORWARD", To: "FAN-FORWARD"},
		{Table: "filter", From: "DOCKER-USER", To: "FAN-FORWARD"},
		{Table: "nat", From: "POSTROUTING", To: "FAN-POSTROUTING", First: true},
	}
}

func isSample(r Rule) bool {
	return strings.Contains(r.Spec, "fan-250") || strings.Contains(r.Spec, "250.0.45.0/24")
}

// complete is what iptables-save prints when sampleWant is there.
const complete = `
*nat
:PREROUTING ACCEPT [0:0]
:POSTROUTING ACCEPT [0:0]
:FAN-POSTROUTING - [0:0]
-A POSTROUTING -j FAN-POSTROUTING
-A FAN-POSTROUTING -s 250.0.45.0/24 -d 250.0.0.0/8 -j ACCEPT
-A FAN-POSTROUTING -s 250.0.45.0/24 ! -o fan-250 -j MASQUERADE
COMMIT
*filter
:INPUT ACCEPT [0:0]
:FORWARD ACCEPT [0:0]
:DOCKER-USER - [0:0]
:FAN-FORWARD - [0:0]
-A FORWARD -j FAN-FORWARD
-A DOCKER-USER -j FAN-FORWARD
-A FAN-FORWARD -i fan-250 -o fan-250 -j ACCEPT
-A FAN-FORWARD -i fan-250 -o eth0 -j ACCEPT
COMMIT
`

func TestPlan(t *testing.T) {
	tests := []struct {
		name  string
		have  string
		want  Want
		stale func(Rule) bool
		text  string
	}{
		{name: "nothing there", want: sampleWant(), stale: none, text: `
iptables -t nat -N FAN-POSTROUTING
iptables -t nat -A FAN-POSTROUTING -s 250.0.45.0/24 -d 250.0.0.0/8 -j ACCEPT
iptables -t nat -A FAN-POSTROUTING -s 250.0.45.0/24 ! -o fan-250 -j MASQUERADE
iptables -t nat -I POSTROUTING 1 -j FAN-POSTROUTING
iptables -t filter -N FAN-FORWARD
iptables -t filter -A FAN-FORWARD -i fan-250 -o fan-250 -j ACCEPT
iptables -t filter -A FAN-FORWARD -i fan-250 -o eth0 -j ACCEPT
iptables -t filter -I FORWARD 1 -j FAN-FORWARD
iptables -t filter -N DOCKER-USER
iptables -t filter -I DOCKER-USER 1 -j FAN-FORWARD
`},
		{name: "all there", have: complete, want: sampleWant(), stale: none},
		{name: "another fan's rules stay before and between", stale: isSample, want: sampleWant(),
			have: strings.ReplaceAll(complete, "-A FAN-FORWARD -i fan-250 -o eth0",
				"-A FAN-FORWARD -i fan-251 -o eth0 -j ACCEPT\n-A FAN-FORWARD -i fan-250 -o eth0")},
		{name: "somebody's rules stay before, between and behind", stale: isSample, want: sampleWant(),
			have: strings.NewReplacer("-A FAN-FORWARD -i fan-250 -o fan", "-A FAN-FORWARD -d 10.1.2.3/32 -j DROP\n-A FAN-FORWARD -i fan-250 -o fan",
				"-A FAN-FORWARD -i fan-250 -o eth0 -j ACCEPT", "-A FAN-FORWARD -j LOG\n-A FAN-FORWARD -i fan-250 -o eth0 -j ACCEPT\n-A FAN-FORWARD -j RETURN").Replace(complete)},
		{name: "the first of ours is missing behind somebody's", stale: isSample, want: sampleWant(),
			have: strings.Replace(complete, "-A FAN-FORWARD -i fan-250 -o fan-250 -j ACCEPT", "-A FAN-FORWARD -d 10.1.2.3/32 -j DROP", 1),
			text: `
iptables -t filter -D FAN-FORWARD -i fan-250 -o eth0 -j ACCEPT
iptables -t filter -A FAN-FORWARD -i fan-250 -o fan-250 -j ACCEPT
iptables -t filter -A FAN-FORWARD -i fan-250 -o eth0 -j ACCEPT
`},
		{name: "somebody came before the jumps; only one must be first", stale: none, want: sampleWant(),
			have: strings.NewReplacer("-A POSTROUTING -j FAN", "-A POSTROUTING -s 172.17.0.0/16 -j MASQUERADE\n-A POSTROUTING -j FAN",
				"-A FORWARD -j", "-A FORWARD -j DOCKER-USER\n-A FORWARD -j").Replace(complete),
			text: `
iptables -t nat -D POSTROUTING -j FAN-POSTROUTING
iptables -t nat -I POSTROUTING 1 -j FAN-POSTROUTING
`},
		{name: "a jump twice", stale: none, want: sampleWant(),
			have: strings.Replace(complete, "-A FORWARD -j", "-A FORWARD -j FAN-FORWARD\n-A FORWARD -j", 1),
			text: `
iptables -t filter -D FORWARD -j FAN-FORWARD
iptables -t filter -D FORWARD -j FAN-FORWARD
iptables -t filter -I FORWARD 1 -j FAN-FORWARD
`},
		{name: "the rule that must come first is missing", stale: none, want: sampleWant(),
			have: strings.Replace(complete, "-A FAN-POSTROUTING -s 250.0.45.0/24 -d 250.0.0.0/8 -j ACCEPT\n", "", 1),
			text: `
iptables -t nat -D FAN-POSTROUTING -s 250.0.45.0/24 ! -o fan-250 -j MASQUERADE
iptables -t nat -A FAN-POSTROUTING -s 250.0.45.0/24 -d 250.0.0.0/8 -j ACCEPT
iptables -t nat -A FAN-POSTROUTING -s 250.0.45.0/24 ! -o fan-250 -j MASQUERADE
`},
		{name: "another way out now", stale: isSample, want: sampleWant(),
			have: strings.ReplaceAll(complete, "-o eth0", "-o wlan0"),
			text: `
iptables -t filter -A FAN-FORWARD -i fan-250 -o eth0 -j ACCEPT
iptables -t filter -D FAN-FORWARD -i fan-250 -o wlan0 -j ACCEPT
`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p, _ := Plan(tt.want, Tables{Chains: parse(tt.have)}, tt.stale)
			checkText(t, p, tt.text)
		})
	}
}

func TestPlanMade(t *testing.T) {
	tests := []struct {
		name   string
		native []string
		want   string
	}{
		{"no table", nil, "nat filter"},
		{"tables without base chains", []string{"nat", "filter"}, "nat.POSTROUTING filter.FORWARD"},
		{"one of each", []string{"nat", "nat.POSTROUTING"}, "filter"},
		{"all there", []string{"nat", "nat.POSTROUTING", "filter", "filter.FORWARD"}, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			have := Tables{Native: map[string]bool{}}
			for _, name := range tt.native {
				have.Native[name] = true
			}
			if _, made := Plan(sampleWant(), have, none); strings.Join(made, " ") != tt.want {
				t.Errorf("made %q, want %q", made, tt.want)
			}
		})
	}
}

func TestPlanAway(t *testing.T) {
	native := map[string]bool{"nat": true, "nat.POSTROUTING": true, "filter": true, "filter.FORWARD": true}
	const allAway = `
iptables -t nat -D POSTROUTING -j FAN-POSTROUTING
iptables -t nat -F FAN-POSTROUTING
iptables -t nat -X FAN-POSTROUTING
iptables -t filter -D FORWARD -j FAN-FORWARD
iptables -t filter -D DOCKER-USER -j FAN-FORWARD
iptables -t filter -F FAN-FORWARD
iptables -t filter -X FAN-FORWARD
`
	const dockerUserAway = "iptables -t filter -X DOCKER-USER\n"
	other := strings.Replace(complete, "-A FAN-FORWARD -i fan-250 -o fan-250",
		"-A FAN-FORWARD -i fan-251 -o eth0 -j ACCEPT\n-A FAN-FORWARD -i fan-250 -o fan-250", 1)
	tests := []struct {
		name string
		have string
		last bool
		made []string
		text string
	}{
		{name: "nothing there", last: true},
		{name: "ended before it tidied up", last: true, made: []string{"nat", "raw"}, text: "nft delete table ip nat"},
		{name: "the last fan", have: complete, last: true, text: allAway + dockerUserAway},
		{name: "leftovers of others go with the last", have: other, last: true, text: allAway + dockerUserAway},
		{name: "Docker uses DOCKER-USER", have: strings.Replace(complete, "-A FORWARD", "-A FORWARD -j DOCKER-USER\n-A FORWARD", 1),
			last: true, text: allAway},
		{name: "somebody filled DOCKER-USER", have: strings.Replace(complete, "-A DOCKER-USER", "-A DOCKER-USER -j RETURN\n-A DOCKER-USER", 1),
			last: true, text: allAway},
		{name: "an unknown jump keeps the chain", have: strings.Replace(complete, "-A FORWARD", "-A INPUT -g FAN-FORWARD\n-A FORWARD", 1), last: true,
			text: `
iptables -t nat -D POSTROUTING -j FAN-POSTROUTING
iptables -t nat -F FAN-POSTROUTING
iptables -t nat -X FAN-POSTROUTING
iptables -t filter -D FORWARD -j FAN-FORWARD
iptables -t filter -D DOCKER-USER -j FAN-FORWARD
iptables -t filter -D FAN-FORWARD -i fan-250 -o fan-250 -j ACCEPT
iptables -t filter -D FAN-FORWARD -i fan-250 -o eth0 -j ACCEPT
iptables -t filter -X DOCKER-USER
`},
		{name: "another fan stays", have: other, text: `
iptables -t nat -D POSTROUTING -j FAN-POSTROUTING
iptables -t nat -F FAN-POSTROUTING
iptables -t nat -X FAN-POSTROUTING
iptables -t filter -D FAN-FORWARD -i fan-250 -o fan-250 -j ACCEPT
iptables -t filter -D FAN-FORWARD -i fan-250 -o eth0 -j ACCEPT
`},
		{name: "what nftables got", have: complete, last: true, made: []string{"nat", "filter.FORWARD", "raw"},
			text: allAway + dockerUserAway + "nft delete table ip nat\nnft delete chain ip filter FORWARD\n"},
		{name: "what somebody uses by now", last: true, made: []string{"nat", "filter"},
			have: strings.NewReplacer(":PREROUTING ACCEPT", ":PREROUTING DROP", ":INPUT ACCEPT", ":LOG-IT - [0:0]\n:INPUT ACCEPT").Replace(complete),
			text: allAway + dockerUserAway},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p := PlanAway(isSample, sampleJumps(), tt.last, tt.made, Tables{Chains: parse(tt.have), Native: native})
			checkText(t, p, tt.text)
		})
	}
}

func checkText(t *testing.T, p plan.Plan, want string) {
	t.Helper()
	var lines []string
	for _, s := range p {
		lines = append(lines, s.Text)
	}
	if got, want := strings.Join(lines, "\n"), strings.TrimSpace(want); got != want {
		t.Errorf("plan is\n%s\nwant\n%s", got, want)
	}
}

func TestParse(t *testing.T) {
	tables := parse(`# Generated by iptables-save v1.8.9 (nf_tables) on Mon Nov 23 22:25:26 2026
*filter
:INPUT DROP [12:3456]
:FAN-INPUT - [0:0]
-A INPUT -j FAN-INPUT
-A FAN-INPUT -s 10.0.0.0/16 -d 10.0.0.45/32 -p ipencap -j ACCEPT
-A FAN-INPUT -p udp -m udp --dport 8472 -m comment --comment "a -p b" -j ACCEPT
COMMIT
# Table 'x' is incompatible, use 'nft' tool.
`)
	input, own := tables["filter"]["INPUT"], tables["filter"]["FAN-INPUT"]
	if input.Policy != "DROP" || len(input.Rules) != 1 || input.Rules[0] != "-j FAN-INPUT" {
		t.Errorf("INPUT is %+v", input)
	}
	want := "-s 10.0.0.0/16 -d 10.0.0.45/32 -p 4 -j ACCEPT|-p udp -m udp --dport 8472 -m comment --comment \"a -p b\" -j ACCEPT"
	if got := strings.Join(own.Rules, "|"); own.Policy != "-" || got != want {
		t.Errorf("FAN-INPUT is %+v, want rules %s", own, want)
	}
	if len(tables) != 1 {
		t.Errorf("%d tables, want 1", len(tables))
	}
}

func FuzzParse(f *testing.F) {
	f.Add(complete)
	f.Add("*\n:\n-A \n-A x\n: -\n")
	f.Fuzz(func(t *testing.T, saved string) {
		for table, chains := range parse(saved) {
			for chain, c := range chains {
				for _, spec := range c.Rules {
					if again := canonical(spec); again != spec {
						t.Errorf("%s %s: %q becomes %q", table, chain, spec, again)
					}
				}
			}
		}
	})
}
