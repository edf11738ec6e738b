package tests

import (
	"testing"

	"github.com/fanctl/fanctl/tests/bed"
)

// opening is what an operator tells firewalld, because its nftables backend has
// tables of its own in which our rules don't count: packets of the fan's devices may
// pass, and those of the tunnel come in.
func opening(f fan) [][]string {
	tunnel := "--add-protocol=ipencap"
	if f.path.kind == "vxlan" {
		tunnel = "--add-port=8472/udp"
	}
	return [][]string{{"--permanent", tunnel}, {"--permanent", "--zone=trusted", "--add-interface=fan-250", "--add-interface=ftun+"}, {"--reload"}}
}

// A firewalld that is reloaded takes the fan's rules away; up -e, as a timer runs it,
// puts them back while containers talk.
func TestFirewalld(t *testing.T) {
	for _, backend := range []string{"nftables", "iptables"} {
		t.Run(backend, func(t *testing.T) {
			eachPath(t, func(t *testing.T, p path) {
				b := bed.New(t, bed.Options{NoIPv6: true})
				firewalld := b.Hosts[0].Firewalld(t, backend)
				fans := upAll(t, b, p, overlay)
				one, two := fans[0].container(t, bed.ContainerOptions{}), fans[1].container(t, bed.ContainerOptions{})
				if backend == "iptables" {
					flows(t, one, two, b) // our rules are enough
				} else {
					if got := one.Ping(b.WorldAddr, 1, "-W", "1"); got != 0 {
						t.Error("firewalld lets everything pass: what is there to open?")
					}
					for _, args := range opening(fans[0]) {
						firewalld.Cmd(t, args...)
					}
					mend(t, fans[0].host)
					flows(t, one, two, b)
				}
				for _, reload := range []string{"--reload", "--complete-reload"} {
					wait, _ := one.StartPing(t, two.Addr, 300, "-i", "0.01")
					firewalld.Cmd(t, reload)
					said, took := mend(t, fans[0].host)
					if said == "" {
						t.Errorf("%s has broken nothing: what is there to heal?", reload)
					}
					sent, answered := wait()
					t.Logf("%s: %s%d of %d pings lost, 10 ms apart; up -e took %v", reload, said, sent-answered, sent, took)
					flows(t, one, two, b)
					nothingToMend(t, fans[0].host)
				}
			})
		})
	}
}
