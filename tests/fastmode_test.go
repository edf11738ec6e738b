package tests

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/fanctl/fanctl/tests/bed"
)

// fastState is what "fanctl show --json" tells of a fan's fast path.
type fastState struct {
	Bridge   string            `json:"bridge"`
	Ports    int               `json:"fast_ports"`
	Off      []string          `json:"fast_off"`
	Counters map[string]uint64 `json:"counters"`
}

func (f fan) fast(t *testing.T) fastState {
	t.Helper()
	out := f.host.MustFanctl(t, "show", "--json")
	var all struct {
		Fans []fastState `json:"fans"`
	}
	if err := json.Unmarshal([]byte(out), &all); err != nil {
		t.Fatalf("%s: fanctl show --json: %v:\n%s", f.host, err, out)
	}
	for _, s := range all.Fans {
		if s.Bridge == f.net.Bridge {
			return s
		}
	}
	t.Fatalf("%s: fanctl show --json has no fan %s", f.host, f.net.Bridge)
	return fastState{}
}

// went is how many packets have gone fast, both ways.
func (f fan) went(t *testing.T) uint64 {
	t.Helper()
	s := f.fast(t)
	return s.Counters["tx_fast"] + s.Counters["rx_fast"]
}

// becomesFast waits until a number of the fan's ports have the program.
func (f fan) becomesFast(t *testing.T, ports int, when string) {
	t.Helper()
	if !eventually(func() bool { return f.fast(t).Ports == ports }) {
		t.Fatalf("%s: %s: %d fast ports, want %d", f.host, when, f.fast(t).Ports, ports)
	}
}

// upFast brings a fan up again with an option of its own, after those that it has.
func (f fan) upFast(t *testing.T, option ...string) {
	t.Helper()
	f.host.MustFanctl(t, slices.Concat([]string{"up"}, f.args, option)...)
}

// watcher waits until one process follows the ports of the host's fast fans.
func watcher(t *testing.T, h *bed.Host, when string) (pid int) {
	t.Helper()
	var pids []int
	if !eventually(func() bool {
		pids = h.Watchers()
		return len(pids) == 1
	}) {
		t.Fatalf("%s: %s: the watchers are %v, want one", h, when, pids)
	}
	return pids[0]
}

// killWatcher leaves a host's fast fans without a watcher.
func killWatcher(t *testing.T, h *bed.Host) {
	t.Helper()
	if err := unix.Kill(watcher(t, h, "before it is killed"), unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if !eventually(func() bool { return len(h.Watchers()) == 0 }) {
		t.Fatalf("%s: the watcher does not die", h)
	}
}

// fastPair is two hosts with a container each, at ports that have the program.
func fastPair(t *testing.T, p path) (fans []fan, one, two *bed.Container) {
	t.Helper()
	_, fans, one, two = fastBed(t, p)
	return fans, one, two
}

func fastBed(t *testing.T, p path) (b *bed.Bed, fans []fan, one, two *bed.Container) {
	t.Helper()
	b = bed.New(t, bed.Options{NoIPv6: true})
	fans = upAll(t, b, p, overlay, "--fast")
	one, two = fans[0].containerOf(t), fans[1].containerOf(t)
	for _, f := range fans {
		f.up(t) // for the containers' ports
		f.becomesFast(t, 1, "with one container")
	}
	reaches(t, one.NS, two.Addr, "container to container")
	return b, fans, one, two
}

// containerOf is a container that is in the same network as those it talks to.
func (f fan) containerOf(t *testing.T) *bed.Container {
	t.Helper()
	if f.path.kind == "vxlan" {
		return f.container(t, bed.ContainerOptions{Bits: f.net.Overlay.Bits()})
	}
	return f.container(t, bed.ContainerOptions{})
}

// goes fails the test unless TCP and UDP between two containers work, and says whether
// their packets went fast on the fan's host.
func goes(t *testing.T, f fan, from *bed.Container, server netip.AddrPort, when string) bool {
	t.Helper()
	before := f.went(t)
	if seen, err := from.SeenBy("tcp4", server); err != nil || seen != from.Addr {
		t.Errorf("%s: %s sees %s over TCP, %v; want %s", when, server, seen, err, from.Addr)
	}
	if got, err := from.EchoUDP(server, 10, 200); err != nil || got != 10 {
		t.Errorf("%s: %d of 10 datagrams came back, %v", when, got, err)
	}
	return f.went(t) > before
}

// A fast fan does the same as a normal one to thousands of packets.
func TestFastIsEquivalent(t *testing.T) {
	eachPath(t, func(t *testing.T, p path) {
		normal, fast := newTwin(t, p), newTwin(t, p, "--fast")
		for _, f := range fast.fans {
			f.becomesFast(t, 2, "with two containers")
		}
		equivalent(t, normal, fast)
		for _, f := range fast.fans {
			s := f.fast(t)
			t.Logf("%s: %v", f.host, s.Counters)
			for _, name := range []string{"tx_fast", "rx_fast"} {
				if s.Counters[name] < enough/20 {
					t.Errorf("%s: only %d packets in %s: was it the fast path that was compared?", f.host, s.Counters[name], name)
				}
			}
		}
		for _, f := range normal.fans {
			if n := f.went(t); n != 0 {
				t.Errorf("%s: %d packets of a normal fan went fast", f.host, n)
			}
		}
	})
}

// Turning it on and off under load loses nothing and stops nothing.
func TestFastOnOff(t *testing.T) {
	eachPath(t, func(t *testing.T, p path) {
		b := bed.New(t, bed.Options{NoIPv6: true})
		fans := upAll(t, b, p, overlay)
		one, two := fans[0].containerOf(t), fans[1].containerOf(t)
		reaches(t, one.NS, two.Addr, "before")
		load := newLoad(t, one, two)
		turns := 16
		if testing.Short() {
			turns = 8
		}
		tcx := false // the kernel has it
		for i := range turns {
			option := []string{"--fast"}
			if i/2%2 == 1 {
				option = nil
			}
			f := fans[i%2]
			f.upFast(t, option...)
			f.becomesFast(t, len(option), fmt.Sprintf("change %d", i))
			load.goesOn(t, fmt.Sprintf("change %d", i))
			attached, err := f.host.TCX()
			if err != nil {
				t.Fatal(err)
			}
			tcx = tcx || len(attached) > 0
		}
		// Without tcx a port gets a place for filters or loses it, meanwhile the kernel drops
		// what is sent to it.
		oneIn := int64(0)
		if !tcx {
			oneIn = 100
		}
		load.end(t, oneIn)
		for _, f := range fans {
			if f.went(t) == 0 {
				t.Errorf("%s: no packet went fast", f.host)
			}
		}
	})
}

// The watcher only follows ports: without it all goes on as it is.
func TestFastWatcherKilled(t *testing.T) {
	eachPath(t, func(t *testing.T, p path) {
		fans, one, two := fastPair(t, p)
		load := newLoad(t, one, two)
		load.goesOn(t, "with the watchers")
		for _, f := range fans {
			killWatcher(t, f.host)
		}
		for i, f := range fans {
			before := f.went(t)
			load.goesOn(t, fmt.Sprintf("after both watchers were killed, %d", i))
			if f.went(t) == before {
				t.Errorf("%s: no packet went fast any more", f.host)
			}
			f.becomesFast(t, 1, "without a watcher")
		}
		three := fans[0].containerOf(t)
		reaches(t, three.NS, two.Addr, "a container without a watcher")
		fans[0].becomesFast(t, 1, "with a container without a watcher")
		fans[0].host.MustFanctl(t, "up", "-e")
		watcher(t, fans[0].host, "after up -e")
		fans[0].becomesFast(t, 2, "after up -e")
		load.goesOn(t, "with another watcher")
		load.end(t, 0)
	})
}
