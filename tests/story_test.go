package tests

import (
	"fmt"
	"maps"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fanctl/fanctl/tests/bed"
)

// ipipDevice is what ip-link(8) calls the device that one path needs.
const ipipDevice = "ipip external"

// path is a way that packets take between hosts.
type path struct {
	name     string
	kind     string // wire type
	datapath string // as "fanctl show" tells it
	args     []string
	overhead int // bytes of header (design.md 4)
}

func ipipEBPF() path {
	return path{"ipip by eBPF", "ipip", "ebpf", []string{"--type", "ipip", "--datapath", "ebpf"}, 20}
}

func ipipByDevice() path {
	return path{"ipip by device", "ipip", "device", []string{"--type", "ipip", "--datapath", "device"}, 20}
}

func vxlan() path {
	return path{"vxlan", "vxlan", "device", []string{"--type", "vxlan"}, 50}
}

// pathsVariable is the environment variable that names the paths to run stories
// for, separated by commas: on an emulated processor all of them take too long.
const pathsVariable = "FANCTL_PATHS"

// eachPath runs a story once for every path that this kernel has (TestMain says
// what is left out), or for those that were named.
func eachPath(t *testing.T, story func(t *testing.T, p path)) {
	t.Helper()
	only := os.Getenv(pathsVariable)
	for _, p := range []path{ipipEBPF(), ipipByDevice(), vxlan()} {
		if only == "" && p.name == ipipByDevice().name && !hasIPIP(t) || only != "" && !slices.Contains(strings.Split(only, ","), p.name) {
			continue
		}
		t.Run(p.name, func(t *testing.T) {
			needs(t, p)
			story(t, p)
		})
	}
}

// needs skips the test if the kernel does not have what the path takes.
func needs(t *testing.T, p path) {
	t.Helper()
	if p.kind == "ipip" && p.datapath == "device" && !hasIPIP(t) {
		t.Skip("this kernel has no ipip device")
	}
}

func hasIPIP(t *testing.T) bool {
	t.Helper()
	return hasDevice(t, ipipDevice)
}

func hasDevice(t *testing.T, kind string) bool {
	t.Helper()
	has, err := bed.HasDevice(kind)
	if err != nil {
		t.Fatal(err)
	}
	return has
}

const overlay = "250.0.0.0/8"

// fan is a fan that is up on a host.
type fan struct {
	host *bed.Host
	net  bed.Network
	path path
	args []string // of "fanctl up", without the word up
}

// fanArgs are the words that name a fan: the same on every host.
func fanArgs(b *bed.Bed, overlay string) []string {
	return []string{"-u", b.Underlay.String(), "-o", overlay}
}

// upOn brings a fan up on one host.
func upOn(t *testing.T, b *bed.Bed, h *bed.Host, p path, overlay string, more ...string) fan {
	t.Helper()
	over := netip.MustParsePrefix(overlay)
	f := fan{host: h, path: p, args: slices.Concat(fanArgs(b, overlay), p.args, more),
		net: bed.Network{Bridge: bridgeName(over), Overlay: over, Slice: bed.Slice(b.Underlay, over, h.Addr)}}
	h.MustFanctl(t, append([]string{"up"}, f.args...)...)
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("%s: fanctl show --json: %s", h, strings.Join(strings.Fields(h.Fanctl("show", "--json").Stdout), ""))
		}
	})
	return f
}

// upAll brings a fan up on every host of the bed.
func upAll(t *testing.T, b *bed.Bed, p path, overlay string, more ...string) []fan {
	t.Helper()
	var fans []fan
	for _, h := range b.Hosts {
		fans = append(fans, upOn(t, b, h, p, overlay, more...))
	}
	return fans
}

func (f fan) down(t *testing.T) {
	t.Helper()
	f.host.MustFanctl(t, "down", "-u", f.args[1], "-o", f.args[3])
}

func (f fan) container(t *testing.T, o bed.ContainerOptions) *bed.Container {
	t.Helper()
	return f.host.Container(t, f.net, o)
}

// mtu is what the fan's packets may have at most.
func (f fan) mtu(b *bed.Bed) int { return b.MTU - f.path.overhead }

// counters are the fan's of "fanctl show --json".
func (f fan) counters(t *testing.T) map[string]uint64 {
	t.Helper()
	return f.host.ShowOf(t, f.net.Bridge).Counters
}

// lost returns the sum of the counters of packets that went nowhere.
func lost(counters map[string]uint64) uint64 {
	var sum uint64
	for name, n := range counters {
		if !strings.HasPrefix(name, "tx_") && !strings.HasPrefix(name, "rx_") {
			sum += n
		}
	}
	return sum
}

// countsTo waits until a counter of the fan has a value, and returns what it has.
func (f fan) countsTo(t *testing.T, name string, want uint64) uint64 {
	t.Helper()
	var counters map[string]uint64
	eventually(func() bool {
		counters = f.counters(t)
		return counters[name] == want
	})
	if counters[name] != want {
		t.Logf("%s: %v", f.host, counters)
	}
	return counters[name]
}

// eventually tries for some seconds until something is so.
func eventually(so func() bool) bool {
	for range 50 {
		if so() {
			return true
		}
		time.Sleep(100 * time.Millisecond)
	}
	return false
}

// bridgeName is design.md 8's: the overlay's octets, trailing zeros dropped.
func bridgeName(overlay netip.Prefix) string {
	octets := strings.Split(overlay.Addr().String(), ".")
	for octets[len(octets)-1] == "0" {
		octets = octets[:len(octets)-1]
	}
	return "fan-" + strings.Join(octets, "-")
}

// reaches fails the test unless one container gets answers from an address.
func reaches(t *testing.T, from *bed.NS, to netip.Addr, what string) {
	t.Helper()
	if got := from.Ping(to, 3); got != 3 {
		t.Errorf("%s: %d of 3 pings to %s answered", what, got, to)
	}
}

// tryPair makes a container on each of two fans, and fails the test unless
// they reach each other.
func tryPair(t *testing.T, a, b fan) {
	t.Helper()
	one, two := a.container(t, bed.ContainerOptions{}), b.container(t, bed.ContainerOptions{})
	defer one.Remove(t)
	defer two.Remove(t)
	reaches(t, one.NS, two.Addr, fmt.Sprintf("%s, %s to %s", a.net.Bridge, a.host, b.host))
	reaches(t, two.NS, one.Addr, fmt.Sprintf("%s, %s to %s", a.net.Bridge, b.host, a.host))
}

func TestBridgeName(t *testing.T) {
	for prefix, want := range maps.All(map[string]string{
		"250.0.0.0/8": "fan-250", "10.254.0.0/16": "fan-10-254", "240.0.0.0/8": "fan-240", "241.0.7.0/24": "fan-241-0-7",
	}) {
		if got := bridgeName(netip.MustParsePrefix(prefix)); got != want {
			t.Errorf("bridge of %s is %s, want %s", prefix, got, want)
		}
	}
}
