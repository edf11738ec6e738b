package tests

import (
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/fanctl/fanctl/tests/bed"
)

// breakage is something that goes wrong under a fan that is up. Each of its steps is
// one from which the fan is to recover.
type breakage struct {
	name  string
	steps []func(t *testing.T, f fan)
	// harmless says that a fan has nothing to put right after it, on all paths or
	// on some.
	harmless bool
}

// shell is a step that a shell on the host takes; TUNNEL is the fan tunnel's name,
// PORT that of the bridge's port that leads to it.
func shell(script string) func(t *testing.T, f fan) {
	return func(t *testing.T, f fan) {
		t.Helper()
		tunnel := f.host.ShowOf(t, f.net.Bridge).Tunnel
		port := tunnel
		if f.path.kind == "ipip" {
			port = "ftrm-250"
		}
		f.host.Must(t, "sh", "-ec", strings.NewReplacer("TUNNEL", tunnel, "PORT", port).Replace(script))
	}
}

// detach takes all programs away from a device, however they are attached.
func detach(t *testing.T, h *bed.Host, device string) {
	t.Helper()
	h.DetachPrograms(t, device)
	h.Must(t, "sh", "-c", "tc qdisc del dev "+device+" clsact 2>/dev/null || true")
}

func withRoute(script string) func(t *testing.T, f fan) {
	return func(t *testing.T, f fan) {
		t.Helper()
		shell(script)(t, f)
		f.host.DefaultRoute(t)
	}
}

func breakages() []breakage {
	one := func(name string, step func(t *testing.T, f fan)) breakage {
		return breakage{name: name, steps: []func(*testing.T, fan){step}}
	}
	return []breakage{
		one("chains emptied", shell("for c in INPUT FORWARD; do iptables -F FAN-$c; done; iptables -t nat -F FAN-POSTROUTING")),
		one("chains and jumps removed", shell(`for t in raw nat filter; do
	iptables-save -t $t | sed -n 's/^-A \(.*-j FAN-.*\)/-D \1/p' | while read line; do iptables -t $t $line; done
	for c in $(iptables-save -t $t | sed -n 's/^:\(FAN-[A-Z]*\) .*/\1/p'); do iptables -t $t -F $c; iptables -t $t -X $c; done
done`)),
		one("nft flush ruleset", shell("nft flush ruleset; "+closed)),
		{name: "NIC down and up", steps: []func(*testing.T, fan){withRoute("ip link set eth0 down; ip link set eth0 up")}, harmless: true},
		{name: "NIC deleted and made anew", steps: []func(*testing.T, fan){func(t *testing.T, f fan) { f.host.Replug(t) }}, harmless: true},
		{name: "NIC renamed and named as before", steps: []func(*testing.T, fan){
			withRoute("ip link set eth0 down; ip link set eth0 name wan0; ip link set wan0 up"),
			withRoute("ip link set wan0 down; ip link set wan0 name eth0; ip link set eth0 up")}},
		{name: "underlay's MTU smaller and as before", steps: []func(*testing.T, fan){
			shell("ip link set eth0 mtu 1400"), shell("ip link set eth0 mtu 1500")}},
		{name: "programs of the NIC detached", steps: []func(*testing.T, fan){func(t *testing.T, f fan) { detach(t, f.host, "eth0") }}, harmless: true},
		one("programs of the tunnel detached", func(t *testing.T, f fan) { detach(t, f.host, f.host.ShowOf(t, f.net.Bridge).Tunnel) }),
		one("tunnel deleted", shell("ip link del TUNNEL")),
		one("tunnel set down", shell("ip link set TUNNEL down")),
		one("port taken out of the bridge", shell("ip link set PORT nomaster")),
		one("bridge set down", shell("ip link set fan-250 down")),
		one("bridge's address taken away", shell("ip addr flush dev fan-250")),
		one("bridge's MTU changed", shell("ip link set fan-250 mtu 1200")),
		one("route taken away", shell("ip route flush root 250.0.0.0/8")),
		one("forwarding off", shell("echo 0 >/proc/sys/net/ipv4/ip_forward")),
		one("settings of the bridge put back", shell("cd /proc/sys/net/ipv4/conf/fan-250; echo 0 >forwarding; echo 1 >send_redirects")),
	}
}

// A fan that was broken while containers talk is put right by up -e, as a timer runs
// it: traffic flows again, the host is as it was, and nothing is left to be done.
func TestMend(t *testing.T) {
	if testing.Short() && os.Getenv(pathsVariable) == "" {
		// An emulated processor takes minutes for each path, and what is broken and put
		// right differs only with the device that this machine has not.
		t.Setenv(pathsVariable, ipipByDevice().name)
	}
	eachPath(t, func(t *testing.T, p path) {
		b := bed.New(t, bed.Options{NoIPv6: true})
		addRules(t, b, closed)
		fans := upAll(t, b, p, overlay)
		f := fans[0]
		one, two := f.container(t, bed.ContainerOptions{}), fans[1].container(t, bed.ContainerOptions{})
		nothingToMend(t, f.host)
		before := f.host.Settled(t)
		for _, broken := range breakages() {
			t.Run(broken.name, func(t *testing.T) {
				for _, step := range broken.steps {
					wait, _ := one.StartPing(t, two.Addr, 100, "-i", "0.01")
					step(t, f)
					steps := f.host.MustFanctl(t, "up", "-e", "--dry-run")
					if steps == "" && !broken.harmless {
						t.Error("there is nothing to put right: was anything broken?")
					}
					said, took := mend(t, f.host)
					if strings.Count(said, "\n") != min(len(steps), 1) || !strings.HasPrefix(said, "fan-250 is put right in ") && steps != "" {
						t.Errorf("up -e says %q, of the steps\n%s", said, steps)
					}
					sent, answered := wait()
					t.Logf("%s%d of %d pings lost, 10 ms apart; up -e took %v", said, sent-answered, sent, took)
					flows(t, one, two, b)
					nothingToMend(t, f.host)
				}
				if difference := f.host.Becomes(t, before); difference != "" {
					t.Error(difference)
				}
			})
		}
	})
}

// flows fails the test unless two containers reach each other and one the world.
func flows(t *testing.T, one, two *bed.Container, b *bed.Bed) {
	t.Helper()
	for _, way := range []struct {
		from *bed.NS
		to   netip.Addr
	}{{one.NS, two.Addr}, {two.NS, one.Addr}, {one.NS, b.WorldAddr}} {
		if got := way.from.Ping(way.to, 3, "-i", "0.01"); got != 3 {
			t.Errorf("after up -e, %d of 3 pings to %s answered", got, way.to)
		}
	}
}

// mend runs up -e as a timer does, and returns what it said and how long it took.
func mend(t *testing.T, h *bed.Host, env ...string) (said string, took time.Duration) {
	t.Helper()
	start := time.Now()
	r := h.FanctlEnv(env, "up", "-e")
	took = time.Since(start).Round(100 * time.Microsecond)
	if r.Code != 0 {
		t.Fatalf("%s: up -e: %s", h, r)
	}
	return r.Stdout, took
}

// nothingToMend fails the test unless up -e has nothing to do and to say.
func nothingToMend(t *testing.T, h *bed.Host, env ...string) {
	t.Helper()
	for _, args := range [][]string{{"up", "-e", "--dry-run"}, {"up", "-e"}} {
		if r := h.FanctlEnv(env, args...); r.Code != 0 || r.Stdout+r.Stderr != "" {
			t.Errorf("%s: %q has something to put right: %s", h, args, r)
		}
	}
}

// A fan whose bridge was deleted is no fan that could be put right, but what is left of
// it is told of, until up or down.
func TestMendTellsOfLostBridge(t *testing.T) {
	eachPath(t, func(t *testing.T, p path) {
		b := bed.New(t, bed.Options{NoIPv6: true})
		h := b.Hosts[0]
		h.Must(t, "sh", "-c", "echo 1 >/proc/sys/net/ipv4/ip_forward") // whether it was off stood on the bridge
		before := h.Settled(t)
		f := upOn(t, b, h, p, overlay)
		nothingToMend(t, h)
		for _, again := range []func(){func() { f.up(t) }, func() { f.down(t) }} {
			h.Must(t, "ip", "link", "del", "fan-250")
			if r := h.Fanctl("up", "-e"); r.Code != 0 || r.Stdout != "" || !oneLine(r.Stderr, "ftun-250", "bridge", "up or down") {
				t.Errorf("up -e without the bridge: %s", r)
			}
			again()
			nothingToMend(t, h)
		}
		if difference := h.Becomes(t, before); difference != "" {
			t.Error(difference)
		}
	})
}
