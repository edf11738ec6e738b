package tests

import (
	"strings"
	"testing"

	"github.com/fanctl/fanctl/tests/bed"
)

// Rules that somebody has put into the fan's chains stay in force, where they are, while
// up -e goes on putting the fan's own right, and go with the last fan.
func TestRulesOfOthersInOurChains(t *testing.T) {
	eachPath(t, func(t *testing.T, p path) {
		b := bed.New(t, bed.Options{NoIPv6: true})
		h := b.Hosts[0]
		before := h.Settled(t)
		f := upOn(t, b, h, p, overlay)
		one := f.container(t, bed.ContainerOptions{})
		if got := one.Ping(b.WorldAddr, 3, "-i", "0.01"); got != 3 {
			t.Fatalf("%d of 3 pings to the world answered", got)
		}
		drop, open := "-d "+b.WorldAddr.String()+"/32 -i fan-250 -j DROP", "-p tcp -m tcp --dport 22 -j ACCEPT"
		h.Must(t, "sh", "-ec", "iptables -I FAN-FORWARD "+drop+"; iptables -A FAN-INPUT "+open)
		holds := func(when string) {
			t.Helper()
			if got := one.Ping(b.WorldAddr, 3, "-i", "0.01"); got != 0 {
				t.Errorf("%s %d of 3 pings pass the DROP", when, got)
			}
			forward := strings.Split(h.Must(t, "iptables", "-S", "FAN-FORWARD"), "\n")
			if input := h.Must(t, "iptables", "-S", "FAN-INPUT"); forward[1] != "-A FAN-FORWARD "+drop || !strings.Contains(input, open) {
				t.Errorf("%s the rules are\n%s\n%s", when, strings.Join(forward, "\n"), input)
			}
		}
		holds("at first")
		nothingToMend(t, h)
		holds("after up -e")
		h.Must(t, "iptables", "-D", "FAN-FORWARD", "-i", "fan-250", "-o", "fan-250", "-j", "ACCEPT")
		mend(t, h)
		nothingToMend(t, h)
		holds("after up -e with something to do")
		h.MustFanctl(t, "up", "eth0", "240")
		nothingToMend(t, h)
		h.MustFanctl(t, "down", "240", "eth0")
		holds("after another fan")
		h.MustFanctl(t, "down", "-e", "--force")
		h.IP(t, "link del "+one.Port)
		if difference := h.Becomes(t, before); difference != "" {
			t.Errorf("after the last down: %s", difference)
		}
	})
}
