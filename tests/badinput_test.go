package tests

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/fanctl/fanctl/tests/bed"
)

// mistake is a command line that can't be, on a host that was set up.
type mistake struct {
	args  string
	words string // of the one line that it is answered with
}

const (
	usage   = 2
	failure = 1
)

// refuses fails the test unless the command ends with that code and one line that
// has the words, and has changed nothing.
func refuses(t *testing.T, h *bed.Host, code int, m mistake, run func(args []string) bed.Result) {
	t.Helper()
	before := h.Snapshot(t)
	r := run(strings.Fields(m.args))
	if r.Code != code || r.Stdout != "" || !oneLine(r.Stderr, append(strings.Fields(m.words), "fanctl: ")...) {
		t.Errorf("fanctl %s: %s\nwant exit code %d, nothing on stdout, and one line with %s", m.args, r, code, m.words)
	}
	if difference := h.Becomes(t, before); difference != "" {
		t.Errorf("fanctl %s has changed the host: %s", m.args, difference)
	}
}

// What can't be on any host, or on one with 10.0.0.11/16 on eth0 alone.
func TestBadInput(t *testing.T) {
	b := bed.New(t, bed.Options{NoIPv6: true})
	h := b.Hosts[0]
	for _, m := range []mistake{
		{"frob", `"frob" up down show help`},
		{"up -u eth0/16", "--overlay 250.0.0.0/8"},
		{"up -o 250", "--underlay eth0/16"},
		{"up -u eth0/16 -o 250 --frob", "frob"},
		{"up -u eth0/16 -o 250 more", `"more"`},
		{"up -u 10.0.0.300/16 -o 250", "10.0.0.300"},
		{"up -u 10.0.0.0/33 -o 250", `"33" 30`},
		{"up -u 10.0.0.0/0 -o 250", `"0" 1`},
		{"up -u fd00::/16 -o 250", "fd00::/16 IPv4"},
		{"up -u eth0/16 -o 250.0.0.0/33", "250.0.0.0/33"},
		{"up -u eth0/16 -o 300", `"300" 250`},
		{"up -u eth0/16 -o 250.0.0.1/8", "250.0.0.1/8 250.0.0.0/8"},
		{"up -u eth0/16 -o 250.0.0.0/16", "10.0.0.0/16 250.0.0.0/16 longer"},
		{"up -u eth0/16 -o 250.0.0.0/24", "10.0.0.0/16 250.0.0.0/24 longer"},
		{"up -u eth0/16 -o 250.0.0.0/15", "10.0.0.0/16 250.0.0.0/15 /31 /14"},
		{"up -u eth0/16 -o 10.0.0.0/8", "10.0.0.0/8 10.0.0.0/16"},
		{"up -u eth0/16 -o 127.0.0.0/8", "127.0.0.0/8"},
		{"up -u eth0/16 -o 224.0.0.0/8", "224.0.0.0/8"},
		{"up -u 172.16.0.0/12 -o 250", "172.16.0.0/12 10.0.0.11/16 eth0"},
		{"up -u 10.0.0.12/16 -o 250", "10.0.0.12 10.0.0.11/16"},
		{"up -u eth7/16 -o 250", "eth7 eth0"},
		{"up -u lo/16 -o 250", "127.0.0.0/16 127.0.0.0/8"},
		{"up -u eth0/16 -o 250 --type gre", `"gre" ipip vxlan`},
		{"up -u eth0/16 -o 250 --datapath magic", `"magic" auto device ebpf`},
		{"up -u eth0/16 -o 250 --type vxlan --datapath ebpf", "ebpf vxlan"},
		{"up -u eth0/16 -o 250 --mtu 1481", "1481 1500 20 1480"},
		{"up -u eth0/16 -o 250 --type vxlan --mtu 1451", "1451 1500 50 1450"},
		{"up -u eth0/16 -o 250 --mtu 575", `"575" 576`},
		{"up -u eth0/16 -o 250 --mtu many", `"many"`},
		{"up -u eth0/16 -o 250 --type vxlan --port 0", `"0" 65535`},
		{"up -u eth0/16 -o 250 --type vxlan --port 65536", `"65536" 65535`},
		{"up -u eth0/16 -o 250 --port 8472", "8472 ipip vxlan"},
		{"up -u eth0/16 -o 250 --bridge 1234567890123456", "1234567890123456 15"},
		{"up -u eth0/16 -o 250 --bridge a/b", `"a/b"`},
		{"up -u eth0/16 -o 250 --bridge ..", `".."`},
		{"up -u eth0/16 -o 250 --bridge eth0", "eth0 --bridge"},
		{"down -u eth0/16", "--overlay"},
		{"down -u eth0/16 -o 300", `"300"`},
		{"down -u eth0/16 -o 250 more", `"more"`},
		{"down -u eth7/16 -o 250", "eth7"},
		{"show more", `"more"`},
		{"show --xml", "xml"},
	} {
		refuses(t, h, usage, m, func(args []string) bed.Result { return h.Fanctl(args...) })
	}
}

// What can't be because of something that the host has.
func TestBadInputForThisHost(t *testing.T) {
	const fanUp = "$FANCTL up -u 10.0.0.0/16 -o 250.0.0.0/8 "
	for setup, mistakes := range map[string][]mistake{
		"ip addr add 250.1.2.3/24 dev eth0": {
			{"up -u 10.0.0.0/16 -o 250", "250.0.0.0/8 250.1.2.3/24 eth0"}},
		"ip route add 250.64.0.0/10 via 10.0.0.1": {
			{"up -u 10.0.0.0/16 -o 250", "250.0.0.0/8 250.64.0.0/10 eth0"}},
		"ip addr add 10.0.7.7/16 dev eth0": {
			{"up -u 10.0.0.0/16 -o 250", "10.0.0.0/16 several 10.0.0.11/16 10.0.7.7/16 eth0"}},
		"ip addr flush dev eth0; ip addr add 10.0.255.255/8 dev eth0; ip link add p0 type veth peer name p1; ip addr add 10.1.0.0/31 dev p0": {
			{"up -u eth0/16 -o 250", "10.0.255.255 broadcast 10.0.0.0/16"},
			{"up -u p0/16 -o 250", "10.1.0.0 network 10.1.0.0/16"},
			{"up -u p1/16 -o 250", "p1 no 10.0.255.255/8"}},
		"ip route del default": {
			{"up -u default/16 -o 250", "default/16 route"}},
		"ip link add fan-250 type bridge; ip addr add 192.0.2.1/24 dev fan-250": {
			{"up -u 10.0.0.0/16 -o 250", "fan-250 bridge --bridge"}},
		"ip link add mine type veth peer name yours": {
			{"up -u 10.0.0.0/16 -o 250 --bridge mine", "mine veth --bridge"}},
		"ip link add ftun-250 type veth peer name x": {
			{"up -u 10.0.0.0/16 -o 250 --datapath ebpf", "ftun-250 veth"},
			{"up -u 10.0.0.0/16 -o 250 --type vxlan", "ftun-250 veth"}},
		"ip link add vx type vxlan id 7 dstport 8472 dev eth0": {
			{"up -u 10.0.0.0/16 -o 250 --type vxlan", "8472 vx --port"}},
		fanUp: {
			{"up -u 10.0.0.0/24 -o 250", "250.0.0.0/8 10.0.0.0/16 10.0.0.0/24 down"},
			{"up -u 10.0.0.0/16 -o 250 --type vxlan", "fan-250 ipip vxlan down"},
			{"up -u 10.0.0.0/16 -o 250 --bridge other", "250.0.0.0/8 fan-250 down"},
			{"up -u 10.0.0.0/24 -o 250.0.0.0/16 --bridge other", "250.0.0.0/16 250.0.0.0/8 fan-250"},
			{"up -u 10.0.0.0/16 -o 240 --bridge fan-250", "fan-250 250.0.0.0/8 --bridge"},
			{"down -u 10.0.0.0/24 -o 250", "10.0.0.0/24 10.0.0.0/16"}},
		fanUp + "--datapath ebpf": {
			{"up -u 10.0.0.0/16 -o 250 --datapath device", "fan-250 ebpf device down"}},
		fanUp + "--type vxlan": {
			{"up -u 10.0.0.0/16 -o 250 --type vxlan --port 4789", "fan-250 8472 4789 down"},
			{"up -u 10.0.0.0/16 -o 250", "fan-250 vxlan ipip down"}},
	} {
		t.Run(setup, func(t *testing.T) {
			b := bed.New(t, bed.Options{NoIPv6: true})
			h := b.Hosts[0]
			h.Must(t, "sh", "-ec", setup)
			h.Settled(t)
			for _, m := range mistakes {
				refuses(t, h, usage, m, func(args []string) bed.Result { return h.Fanctl(args...) })
			}
		})
	}
}

// A port that a process has is refused with the process's name.
func TestPortTaken(t *testing.T) {
	b := bed.New(t, bed.Options{NoIPv6: true})
	h := b.Hosts[0]
	h.Mailbox(t, bed.AnyAddress(8472))
	refuses(t, h, usage, mistake{"up -u 10.0.0.0/16 -o 250 --type vxlan", "8472 process --port"},
		func(args []string) bed.Result { return h.Fanctl(args...) })
}

// What is not the input's fault: exit code 1.
func TestFailures(t *testing.T) {
	b := bed.New(t, bed.Options{NoIPv6: true})
	h := b.Hosts[0]
	up := "up -u 10.0.0.0/16 -o 250"
	program := forAll(t)
	asNobody := func(args []string) bed.Result {
		return h.Exec(slices.Concat([]string{"setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", program}, args)...)
	}
	refuses(t, h, failure, mistake{up, "root sudo"}, asNobody)
	refuses(t, h, failure, mistake{"down -u 10.0.0.0/16 -o 250", "root sudo"}, asNobody)

	// All of its programs are links to one.
	hidden := "PATH=$PATH:/usr/sbin:/sbin; mount --bind /dev/null $(readlink -f $(command -v iptables)); exec "
	withoutIPTables := func(args []string) bed.Result {
		return h.Exec("unshare", "-m", "sh", "-ec", hidden+program+" "+strings.Join(args, " "))
	}
	refuses(t, h, failure, mistake{up, "iptables install"}, withoutIPTables)

	if has, err := bed.HasDevice(ipipDevice); err == nil && !has {
		refuses(t, h, failure, mistake{up + " --datapath device", "kernel ipip CONFIG_NET_IPIP 4.9"},
			func(args []string) bed.Result { return h.Fanctl(args...) })
	}
}

// forAll is a copy of the program that any user can run.
func forAll(t *testing.T) string {
	t.Helper()
	folder := t.TempDir()
	for _, f := range []string{folder, filepath.Dir(folder)} {
		if err := os.Chmod(f, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	program, err := os.ReadFile(os.Getenv(bed.BinaryVariable))
	if err == nil {
		err = os.WriteFile(filepath.Join(folder, "fanctl"), program, 0o755)
	}
	if err != nil {
		t.Fatal(err)
	}
	return filepath.Join(folder, "fanctl")
}

// Anybody may look.
func TestShowWithoutPrivilege(t *testing.T) {
	b := bed.New(t, bed.Options{})
	f := upOn(t, b, b.Hosts[0], vxlan(), overlay)
	r := f.host.Exec("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", forAll(t), "show")
	if r.Code != 0 || !strings.Contains(r.Stdout, f.net.Bridge) {
		t.Errorf("fanctl show as nobody: %s", r)
	}
}

// What may be changed while a fan is up is changed, and back.
func TestChangesWhileUp(t *testing.T) {
	eachPath(t, func(t *testing.T, p path) {
		b := bed.New(t, bed.Options{})
		f := upOn(t, b, b.Hosts[0], p, overlay)
		before := f.host.Settled(t)
		for _, change := range [][]string{{"--mtu", "1300"}, {"--no-nat"}, {"--mtu", "1300", "--no-nat"}} {
			up := slices.Concat([]string{"up"}, f.args, change)
			f.host.MustFanctl(t, up...)
			if steps := f.host.MustFanctl(t, append(up, "--dry-run")...); steps != "" {
				t.Errorf("%q has left steps undone: %s", change, steps)
			}
			shown := f.host.ShowOf(t, f.net.Bridge)
			if shown.NAT == slices.Contains(change, "--no-nat") || (shown.MTU == 1300) != slices.Contains(change, "--mtu") {
				t.Errorf("%q: fanctl show has %+v", change, shown)
			}
			f.up(t)
			if difference := f.host.Becomes(t, before); difference != "" {
				t.Errorf("%q and back: %s", change, difference)
			}
		}
	})
}
