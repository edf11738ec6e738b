package tests

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/fanctl/fanctl/tests/bed"
)

const (
	upIPIP  = "up -u 10.0.0.0/16 -o 250 "
	upVXLAN = upIPIP + "--type vxlan "
)

// hostMistakes are what can't be because of something that the host has, by what
// gives it that.
func hostMistakes() map[string][]mistake {
	return map[string][]mistake{
		"ip addr add 250.1.2.3/24 dev eth0":                                {{upIPIP, "250.0.0.0/8 250.1.2.3/24 eth0"}},
		"ip addr add 192.0.2.1/32 dev lo; ip addr add 250.9.9.9/32 dev lo": {{upIPIP, "250.0.0.0/8 250.9.9.9/32 lo"}},
		"ip route add 250.64.0.0/10 via 10.0.0.1":                          {{upIPIP, "250.0.0.0/8 route 250.64.0.0/10 eth0"}},
		"ip route add 240.0.0.0/4 dev eth0 table 7":                        {{upIPIP, "250.0.0.0/8 route 240.0.0.0/4 eth0"}},
		"ip route add blackhole 250.0.0.0/8":                               {{upIPIP, "250.0.0.0/8 route blackhole"}, {upVXLAN, "250.0.0.0/8 blackhole"}},
		"ip route add unreachable 250.3.0.0/16":                            {{upIPIP, "250.0.0.0/8 route unreachable 250.3.0.0/16"}},
		"ip addr add 10.0.7.7/16 dev eth0; ip link add p0 type veth peer name p1; ip addr add 10.0.8.8/24 dev p0": {
			{upIPIP, "10.0.0.0/16 several 10.0.0.11/16 10.0.7.7/16 eth0 10.0.8.8/24 p0 name"}},
		"ip addr flush dev eth0; ip addr add 10.0.255.255/8 dev eth0; ip link add p0 type veth peer name p1; ip addr add 10.1.0.0/31 dev p0": {
			{"up -u eth0/16 -o 250", "10.0.255.255 broadcast 10.0.0.0/16"},
			{"up -u p0/16 -o 250", "10.1.0.0 network 10.1.0.0/16"},
			{"up -u p1/16 -o 250", "p1 no IPv4 address 10.0.255.255/8"}},
		"ip addr flush dev eth0":                               {{upIPIP, "10.0.0.0/16 no address none"}},
		"ip route del default":                                 {{"up -u default/16 -o 250", "default/16 no default route name"}},
		"ip link set eth0 mtu 595":                             {{upIPIP, "595 eth0 20 596"}, {upVXLAN + "--mtu 576", "595 eth0 50 626"}},
		"ip link add vx type vxlan id 7 dstport 8472 dev eth0": {{upVXLAN, "8472 vx --port"}},
	}
}

// bridgeMistakes are names that something else has, which stays as it is.
func bridgeMistakes() map[string][]mistake {
	return map[string][]mistake{
		"ip link add fan-250 type bridge; ip addr add 192.0.2.1/24 dev fan-250":    {{upIPIP, "fan-250 bridge --bridge"}, {upVXLAN, "fan-250 bridge --bridge"}},
		"ip link add fan-250 type bridge; ip link set fan-250 alias 'fan of mine'": {{upIPIP, "fan-250 bridge --bridge"}},
		"ip link add mine type veth peer name yours":                               {{upIPIP + "--bridge mine", "mine veth --bridge"}},
		"ip link add ftun-250 type veth peer name x": {
			{upIPIP + "--datapath ebpf", "ftun-250 veth rename"}, {upVXLAN, "ftun-250 veth rename"}},
		"ip link add ftin-250 type veth peer name x":  {{upIPIP + "--datapath ebpf", "ftin-250 veth rename"}},
		"ip link add ftin-250 type bridge":            {{upIPIP + "--datapath ebpf", "ftin-250 bridge rename"}},
		"ip link add ftun-ipip type veth peer name x": {{upIPIP + "--datapath device", "ftun-ipip veth rename"}},
	}
}

// fanMistakes are what a fan that is up can't become, and what can't be beside it.
func fanMistakes() map[string][]mistake {
	const fanctl = "$FANCTL "
	return map[string][]mistake{
		fanctl + upIPIP: {
			{"up -u 10.0.0.0/24 -o 250", "250.0.0.0/8 10.0.0.0/16 10.0.0.0/24 down"},
			{upVXLAN, "fan-250 ipip vxlan down"},
			{upIPIP + "--bridge other", "250.0.0.0/8 fan-250 down"},
			{"up -u 10.0.0.0/24 -o 250.0.0.0/16 --bridge other", "250.0.0.0/16 250.0.0.0/8 fan-250"},
			{"up -u 10.0.0.0/16 -o 240 --bridge fan-250", "fan-250 250.0.0.0/8 --bridge"},
			{"up -u fan-250/24 -o 240.0.0.0/12", "fan-250/24 250.0.0.0/8 network of hosts"},
			{"down -u 10.0.0.0/24 -o 250", "10.0.0.0/24 10.0.0.0/16"}},
		fanctl + upIPIP + "--bridge mine": {{upIPIP, "250.0.0.0/8 mine down"}},
		fanctl + upVXLAN: {
			{upVXLAN + "--port 4789", "fan-250 8472 4789 down"},
			{upIPIP, "fan-250 vxlan ipip down"}},
		fanctl + "up -u eth0/29 -o 250.0.0.0/25 --type vxlan": {
			{"up -u eth0/29 -o 250.0.0.128/25 --type vxlan", "250.0.0.128/25 250.0.0.0/25 identifier --port"}},
	}
}

func TestBadInputForThisHost(t *testing.T) {
	for _, mistakes := range []map[string][]mistake{hostMistakes(), bridgeMistakes(), fanMistakes()} {
		for setup, list := range mistakes {
			t.Run(setup, func(t *testing.T) {
				h := bed.New(t, bed.Options{NoIPv6: true}).Hosts[0]
				h.Must(t, "sh", "-ec", setup)
				refuses(t, h, usage, asRoot(h), list...)
			})
		}
	}
}

// Down takes nothing that only has the name of what a fan has.
func TestDownOfWhatIsNotAFan(t *testing.T) {
	for setup := range bridgeMistakes() {
		t.Run(setup, func(t *testing.T) {
			h := bed.New(t, bed.Options{NoIPv6: true}).Hosts[0]
			h.Must(t, "sh", "-ec", setup)
			before := h.Settled(t)
			h.MustFanctl(t, "down", "-u", "10.0.0.0/16", "-o", "250")
			if difference := h.Becomes(t, before); difference != "" {
				t.Error(difference)
			}
		})
	}
}

// A port that a process has is refused with the process's name, wherever it listens.
func TestPortTaken(t *testing.T) {
	name, err := os.ReadFile("/proc/self/comm")
	if err != nil {
		t.Fatal(err)
	}
	for _, address := range []string{"0.0.0.0", "127.0.0.1", "10.0.0.11"} {
		t.Run(address, func(t *testing.T) {
			h := bed.New(t, bed.Options{NoIPv6: true}).Hosts[0]
			h.Mailbox(t, netip.AddrPortFrom(netip.MustParseAddr(address), 8472))
			who := fmt.Sprintf("process %d (%s)", os.Getpid(), strings.TrimSpace(string(name)))
			refuses(t, h, usage, asRoot(h), mistake{upVXLAN, "8472 --port " + who})
			h.MustFanctl(t, strings.Fields(upVXLAN+"--port 8473")...)
		})
	}
}

// What is not the input's fault: exit code 1.
func TestFailures(t *testing.T) {
	h := bed.New(t, bed.Options{NoIPv6: true}).Hosts[0]
	const down = "down -u 10.0.0.0/16 -o 250"
	refuses(t, h, failure, asNobody(t, h), mistake{upIPIP, "root sudo"}, mistake{down, "root sudo"})
	inside := func(setup string) func(string) bed.Result {
		return func(line string) bed.Result {
			return h.Exec("unshare", "-m", "sh", "-ec", "PATH=$PATH:/usr/sbin:/sbin; "+setup+"; exec $FANCTL "+line)
		}
	}
	// All of its programs are links to one.
	withoutIPTables := inside("mount -o bind /dev/null $(readlink -f $(command -v iptables))")
	refuses(t, h, failure, withoutIPTables, mistake{upIPIP, "iptables install"}, mistake{down, "iptables install"})
	h.MustFanctl(t, strings.Fields(upIPIP)...)
	refuses(t, h, failure, withoutIPTables, mistake{upIPIP, "iptables install"}, mistake{down, "iptables install"})
	h.MustFanctl(t, strings.Fields(down)...)

	// Root of a container that has the host's network.
	unprivileged := func(line string) bed.Result { return h.Exec("unshare", "-Ur", "sh", "-c", "exec $FANCTL "+line) }
	if r := h.Exec("unshare", "-Ur", "true"); r.Code == 0 {
		refuses(t, h, failure, unprivileged, mistake{upIPIP, "root privileges container not permitted"})
	}
	refuses(t, h, failure, asRoot(h), mistake{"show >/dev/full", "write no space"})
	if !hasIPIP(t) {
		refuses(t, h, failure, byStep(asRoot(h)), mistake{upIPIP + "--datapath device", "kernel ipip CONFIG_NET_IPIP 4.9 eBPF --datapath"})
	}
}

// A step that fails undoes those before it.
func TestReadOnlySettings(t *testing.T) {
	h := bed.New(t, bed.Options{NoIPv6: true}).Hosts[0]
	readOnly := func(line string) bed.Result {
		return h.Exec("unshare", "-m", "sh", "-ec", "mount -o bind /proc/sys /proc/sys; mount -o remount,bind,ro /proc/sys; exec $FANCTL "+line)
	}
	refuses(t, h, failure, byStep(readOnly), mistake{upIPIP, "sysctl fan-250 read-only"})
}

// byStep leaves dry runs out: they do not fail by what only a step finds out.
func byStep(run func(line string) bed.Result) func(line string) bed.Result {
	var last bed.Result
	return func(line string) bed.Result {
		if !strings.Contains(line, "--dry-run") {
			last = run(line)
		}
		return last
	}
}

// asNobody runs a copy of the program that any user can run.
func asNobody(t *testing.T, h *bed.Host) func(line string) bed.Result {
	t.Helper()
	folder := t.TempDir()
	for _, f := range []string{folder, filepath.Dir(folder)} {
		if err := os.Chmod(f, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	path := filepath.Join(folder, "fanctl")
	program, err := os.ReadFile(os.Getenv(bed.BinaryVariable))
	if err == nil {
		err = os.WriteFile(path, program, 0o755)
	}
	if err != nil {
		t.Fatal(err)
	}
	const nobody = 65534
	return func(line string) bed.Result {
		var out, errOut bytes.Buffer
		cmd := exec.Command(path, strings.Fields(line)...)
		cmd.Stdout, cmd.Stderr = &out, &errOut
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
		err := h.Do(cmd.Run)
		if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
			t.Fatal(err)
		}
		return bed.Result{Stdout: out.String(), Stderr: errOut.String(), Code: cmd.ProcessState.ExitCode()}
	}
}

// Anybody may look.
func TestShowWithoutPrivilege(t *testing.T) {
	b := bed.New(t, bed.Options{})
	f := upOn(t, b, b.Hosts[0], vxlan(), overlay)
	r := asNobody(t, f.host)("show")
	if r.Code != 0 || !strings.Contains(r.Stdout, f.net.Bridge) {
		t.Errorf("fanctl show as nobody: %s", r)
	}
}

// What may be changed while a fan is up is changed, and back, and no packet is lost.
func TestChangesWhileUp(t *testing.T) {
	eachPath(t, func(t *testing.T, p path) {
		b := bed.New(t, bed.Options{})
		fans := upAll(t, b, p, overlay)
		f := fans[0]
		one, two := f.container(t, bed.ContainerOptions{MTU: 576}), fans[1].container(t, bed.ContainerOptions{})
		before := f.host.Settled(t)
		changes := [][]string{{"--mtu", "1300"}, {"--no-nat"}, {"--mtu", "1300", "--no-nat"}}
		whilePinging(t, one, two, func(n int) {
			change := changes[n%len(changes)]
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
		})
		if difference := f.host.Becomes(t, before); difference != "" {
			t.Errorf("changes and back: %s", difference)
		}
	})
}

// whilePinging does something, at least three times and for as long as one
// container pings another; no packet may be lost.
func whilePinging(t *testing.T, one, two *bed.Container, do func(n int)) {
	t.Helper()
	reaches(t, one.NS, two.Addr, "before")
	count := 1000
	if testing.Short() {
		count = 100
	}
	wait, ended := one.StartPing(t, two.Addr, count, "-i", "0.002")
	for n, running := 0, true; running || n < 3; n++ {
		do(n)
		select {
		case <-ended:
			running = false
		default:
		}
	}
	if sent, answered := wait(); sent != count || answered != count {
		t.Errorf("%d of %d pings answered", answered, sent)
	}
}
