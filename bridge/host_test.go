package bridge_test

import (
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/fanctl/fanctl/bridge"
	"github.com/fanctl/fanctl/fan"
	"github.com/fanctl/fanctl/internal/firewall"
	"github.com/fanctl/fanctl/internal/kernel"
	"github.com/fanctl/fanctl/internal/plan"
)

// host is a network namespace that is used up by one test.
type host struct {
	t      *testing.T
	handle *netlink.Handle
}

// onHost runs f on a host with the address 10.0.0.45/16 on eth0, after the
// commands of a shell. Its thread ends with it: a locked thread that its
// goroutine leaves is never used again.
func onHost(t *testing.T, before string, f func(h host)) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread()
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			t.Error(err)
			return
		}
		handle, err := netlink.NewHandle(unix.NETLINK_ROUTE)
		if err != nil {
			t.Error(err)
			return
		}
		defer handle.Close()
		h := host{t, handle}
		// Without IPv6, whose addresses would come and go by themselves.
		h.sh("sysctl -qw net.ipv6.conf.all.disable_ipv6=1 net.ipv6.conf.default.disable_ipv6=1")
		h.sh("ip link set lo up; ip link add eth0 address 02:00:00:00:00:01 type veth peer name eth1 address 02:00:00:00:00:02; ip link set eth0 up; ip link set eth1 up; ip addr add 10.0.0.45/16 dev eth0")
		// The kernel notices the carrier late.
		h.sh("for i in $(seq 200); do [ $(ip -o link show | grep -c 'eth[01].*state UP') = 2 ] && break; sleep 0.05; done")
		h.sh(before)
		f(h)
	}()
	<-done
}

func (h host) sh(script string) string {
	h.t.Helper()
	out, err := exec.Command("sh", "-ec", script).CombinedOutput()
	if err != nil {
		h.t.Fatalf("%s: %v: %s", script, err, out)
	}
	return string(out)
}

// snapshot is all that fans change.
func (h host) snapshot() string {
	h.t.Helper()
	text := h.sh("ip -d link; ip addr; ip route show table all; iptables-save; nft list ruleset")
	// Without the time, in comments, counters of packets, a new device's index and
	// a bridge's timers.
	volatile := regexp.MustCompile(`(?m)^#.*\n|^\d+: |\[\d+:\d+\]|packets \d+ bytes \d+|_timer +[0-9.]+`)
	text = volatile.ReplaceAllString(text, "")
	for _, pattern := range []string{"conf/*/*", "neigh/*/*", "ip_forward"} {
		paths, err := filepath.Glob("/proc/sys/net/ipv4/" + pattern)
		if err != nil || len(paths) == 0 {
			h.t.Fatalf("no settings %s: %v", pattern, err)
		}
		for _, path := range paths {
			value, err := os.ReadFile(path)
			if err == nil {
				text += fmt.Sprintf("%s = %s", path, value)
			}
		}
	}
	return text
}

// same compares snapshots and prints what differs.
func (h host) same(when, got, want string) {
	h.t.Helper()
	if got == want {
		return
	}
	folder := h.t.TempDir()
	for name, text := range map[string]string{"want": want, "got": got} {
		if err := os.WriteFile(filepath.Join(folder, name), []byte(text), 0o600); err != nil {
			h.t.Fatal(err)
		}
	}
	out, _ := exec.Command("diff", "-U1", filepath.Join(folder, "want"), filepath.Join(folder, "got")).Output()
	h.t.Errorf("%s the host is not as it should be:\n%s", when, out)
}

func (h host) look() (kernel.State, firewall.Tables) {
	h.t.Helper()
	s, err := kernel.Look(h.handle)
	if err != nil {
		h.t.Fatal(err)
	}
	tables, err := firewall.Look()
	if err != nil {
		h.t.Fatal(err)
	}
	return s, tables
}

func (h host) planUp(w bridge.Want) plan.Plan {
	h.t.Helper()
	s, tables := h.look()
	p, err := bridge.Plan(h.handle, w, s, tables)
	if err != nil {
		h.t.Fatal(err)
	}
	return p
}

func (h host) up(w bridge.Want) {
	h.t.Helper()
	if err := h.planUp(w).Apply(nil); err != nil {
		h.t.Fatal(err)
	}
	if again := h.planUp(w); len(again) > 0 {
		h.t.Errorf("after up there is still to do:\n%s", text(again))
	}
}

func (h host) planDown(f fan.Fan) plan.Plan {
	h.t.Helper()
	s, tables := h.look()
	var facts bridge.Facts
	var others []bridge.Other
	for _, l := range s.Links {
		known, extra, err := fan.ParseAlias(l.Name, l.Alias)
		if err != nil {
			continue
		}
		if l.Name == f.Bridge {
			facts = bridge.FactsFrom(extra)
		} else {
			others = append(others, bridge.Other{Fan: known, Facts: bridge.FactsFrom(extra)})
		}
	}
	p := bridge.PlanRules(f, others, facts, tables)
	last, err := bridge.PlanDown(h.handle, f, bridge.ForeignPorts(f.Bridge, nil, s), others, facts, s)
	if err != nil {
		h.t.Fatal(err)
	}
	return append(p, last...)
}

func (h host) down(f fan.Fan) {
	h.t.Helper()
	if err := h.planDown(f).ApplyAll(nil); err != nil {
		h.t.Fatal(err)
	}
	if again := h.planDown(f); len(again) > 0 {
		h.t.Errorf("after down there is still to do:\n%s", text(again))
	}
}

func text(p plan.Plan) string {
	var lines []string
	for _, s := range p {
		lines = append(lines, s.Text)
	}
	return strings.Join(lines, "\n")
}

// wanted is a fan of the overlay on that host; the change makes it another.
func wanted(t *testing.T, overlay string, change func(*bridge.Want)) bridge.Want {
	t.Helper()
	prefix := netip.MustParsePrefix(overlay)
	m, err := fan.NewMapping(netip.MustParsePrefix("10.0.0.0/16"), prefix)
	if err != nil {
		t.Fatal(err)
	}
	w := bridge.Want{WaysOut: []string{"eth0"}, Docker: true, Fan: fan.Fan{Mapping: m, Host: netip.MustParseAddr("10.0.0.45"),
		Device: "eth0", Type: fan.IPIP, Bridge: fan.BridgeName(prefix), MTU: 1480, NAT: true}}
	if change != nil {
		change(&w)
	}
	w.Tunnel = w.Fan.Tunnel()
	return w
}

func asVXLAN(w *bridge.Want) { w.Fan.Type, w.Fan.Port, w.Fan.MTU = fan.VXLAN, fan.DefaultPort, 1450 }
