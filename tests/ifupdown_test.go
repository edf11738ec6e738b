package tests

import (
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/fanctl/fanctl/tests/bed"
)

// interfaces are a host's under ifupdown, the real one, with files of their own.
type interfaces struct {
	host *bed.Host
	dir  string
}

// manage hands a host's eth0 over to ifupdown: what it had is taken away.
func manage(t *testing.T, h *bed.Host, text string) interfaces {
	t.Helper()
	if _, err := exec.LookPath("ifup"); err != nil {
		t.Fatal("needs Debian's package ifupdown; make deps installs it")
	}
	i := interfaces{host: h, dir: t.TempDir()}
	h.IP(t, "addr flush dev eth0", "link set eth0 down")
	i.write(t, "interfaces", text)
	return i
}

func (i interfaces) write(t *testing.T, name, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(i.dir, name), []byte(strings.ReplaceAll(text, "DIR", i.dir)), 0o644); err != nil {
		t.Fatal(err)
	}
}

// installed runs a command with fanctl where its package puts it, for ifupdown has a
// search path of its own, and with a /var/lib of its own. Only that command, and
// what it starts, sees them so.
const installed = `mount -t tmpfs tmpfs /usr/local/sbin && ln -s "$0" /usr/local/sbin/fanctl && mount --bind "$1" /var/lib && shift && exec "$@"`

// run runs ifup or ifdown, which must end well whatever their commands do, and
// returns the lines that fanctl wrote to the errors.
func (i interfaces) run(t *testing.T, command string, args ...string) []string {
	t.Helper()
	r := i.host.Exec(append([]string{"unshare", "--mount", "--propagation", "private",
		"sh", "-c", installed, os.Getenv(bed.BinaryVariable), i.dir, command, "--no-scripts", "-i", filepath.Join(i.dir, "interfaces"),
		"--state-dir", filepath.Join(i.dir, "state")}, args...)...)
	if r.Code != 0 {
		t.Fatalf("%s %q: %s", command, args, r)
	}
	var lines []string
	for line := range strings.Lines(r.Stderr) {
		if strings.HasPrefix(line, "fanctl: ") {
			lines = append(lines, strings.TrimSpace(line))
		}
	}
	return lines
}

func (i interfaces) isUp(t *testing.T) bool {
	t.Helper()
	return len(i.host.Show(t)) == 1
}

// static is eth0 with the host's address and the lines of interfaces(5) that people
// had with the original.
func static(h *bed.Host, lines ...string) string {
	return fmt.Sprintf("iface eth0 inet static\n\taddress %s/16\n\tgateway 10.0.255.254\n\t%s\n", h.Addr, strings.Join(lines, "\n\t"))
}

// The hook lines of the original bring a fan up with its interface, keep it up when
// that is done again, and leave nothing when the interface goes.
func TestHooks(t *testing.T) {
	lines := []string{"up fanctl up 250.0.0.0/8 eth0/16", "down fanctl down 250.0.0.0/8 eth0/16"}
	b := bed.New(t, bed.Options{NoIPv6: true})
	other := upOn(t, b, b.Hosts[1], ipipEBPF(), overlay)
	h := b.Hosts[0]
	ours := fan{host: h, path: ipipEBPF(), net: bed.Network{Bridge: "fan-250", Overlay: netip.MustParsePrefix(overlay),
		Slice: bed.Slice(b.Underlay, netip.MustParsePrefix(overlay), h.Addr)}}

	for name, text := range map[string]string{
		"in the file":     static(h, lines...),
		"source":          "source DIR/*.cfg\n",
		"network form":    static(h, "up fanctl up -u 10.0.0.0/16 -o 250", "down fanctl down -u 10.0.0.0/16 -o 250"),
		"with post-up":    static(h, "post-up fanctl up 250 eth0", "pre-down fanctl down 250 eth0"),
		"hook for a list": static(h, "up fanctl up -a --file DIR/fan", "down fanctl down -a"),
	} {
		t.Run(name, func(t *testing.T) {
			i := manage(t, h, text)
			i.write(t, "more.cfg", static(h, lines...))
			i.write(t, "fan", "10.0.0.0/16 250.0.0.0/8\n")
			before := h.Settled(t)
			for range 2 {
				if told := i.run(t, "ifup", "eth0"); len(told) > 0 {
					t.Errorf("ifup: %q", told)
				}
				tryPair(t, ours, other)
				if told := i.run(t, "ifup", "--force", "--ignore-errors", "eth0"); len(told) > 0 {
					t.Errorf("ifup --force: %q", told)
				}
				tryPair(t, ours, other)
				if told := i.run(t, "ifdown", "eth0"); len(told) > 0 {
					t.Errorf("ifdown: %q", told)
				}
			}
			if difference := h.Becomes(t, before); difference != "" {
				t.Errorf("after ifdown: %s", difference)
			}
		})
	}
}

// The example of 2015, as it stood in /etc/network/interfaces: the container gets an
// address and reaches the other host, and nothing stays.
func TestHookWithDHCP(t *testing.T) {
	b := bed.New(t, bed.Options{NoIPv6: true})
	other := dhcpOn(t, b, b.Hosts[1], ipipEBPF())
	far := other.guest(t, b, "far")
	there := far.ask(t)
	h := b.Hosts[0]
	d := dhcpOn(t, b, h, ipipEBPF()) // for its folders
	h.MustFanctl(t, "down", "-e")
	i := manage(t, h, static(h, "up fanctl up 250.0.0.0/8 eth0/16 dhcp", "down fanctl down 250.0.0.0/8 eth0/16"))
	before := h.Settled(t)
	for _, name := range []string{"near", "next"} {
		if told := i.run(t, "ifup", "eth0"); len(told) > 0 {
			t.Errorf("ifup: %q", told)
		}
		near := d.guest(t, b, name)
		here := near.ask(t)
		reaches(t, near.NS, there.addr, "to the other host")
		reaches(t, far.NS, here.addr, "from the other host")
		i.run(t, "ifup", "--force", "--ignore-errors", "eth0")
		reaches(t, near.NS, there.addr, "after ifup --force")
		h.IP(t, "link del "+name)
		if told := i.run(t, "ifdown", "eth0"); len(told) > 0 {
			t.Errorf("ifdown: %q", told)
		}
		if difference := h.Becomes(t, before); difference != "" || len(servers(t, h)) > 0 {
			t.Errorf("after ifdown: %s, dnsmasq %v", difference, servers(t, h))
		}
	}

	i.run(t, "ifup", "eth0")
	d.guest(t, b, "busy")
	if told := i.run(t, "ifdown", "eth0"); len(told) != 1 || !strings.Contains(told[0], "busy") {
		t.Errorf("ifdown with a container: %q", told)
	}
	if !i.isUp(t) {
		t.Error("ifdown took a fan away from under a container")
	}
}

// A hook waits some time for an address that something else brings.
func TestHookBeforeTheAddress(t *testing.T) {
	b := bed.New(t, bed.Options{NoIPv6: true})
	h := b.Hosts[0]
	later := fmt.Sprintf("up (sleep 0.5; ip addr add %s/16 dev eth0) </dev/null >/dev/null 2>&1 &", h.Addr)
	for _, hook := range []string{"up fanctl up 250 eth0/16", "up fanctl up 10.0.0.0/16 250", "up fanctl up -a --file DIR/fan"} {
		i := manage(t, h, "iface eth0 inet manual\n\t"+later+"\n\t"+hook+"\n\tdown fanctl down -e\n\tdown ip addr flush dev eth0\n")
		i.write(t, "fan", "eth0/16 250.0.0.0/8\n")
		if told := i.run(t, "ifup", "eth0"); len(told) > 0 || !i.isUp(t) {
			t.Errorf("%s, the address comes half a second later: %q, up: %v", hook, told, i.isUp(t))
		}
		i.run(t, "ifdown", "eth0")
	}
}

// What a hook can't do it says in one line, which names the value, and the interface
// is up all the same.
func TestHookNeverFails(t *testing.T) {
	b := bed.New(t, bed.Options{NoIPv6: true})
	h := b.Hosts[0]
	for hook, wanted := range map[string]string{
		"up fanctl up 250.0.0.0/8 eth0/16 --wait 1": "device eth0 has no IPv4 address",
		"up fanctl up 250.0.0.0/8 eth7/16 --wait 0": "there is no device eth7",
		"up fanctl up 250.0.0.0/8 eth0/16 dchp":     `"dchp"`,
		"up fanctl up 250.0.0.0/8 eth0/16 --fast1":  "fast1",
		"up fanctl upp 250.0.0.0/8 eth0/16":         `"upp"`,
		"up fanctl up -a --wait 0 --file DIR/fan":   "DIR/fan:1: ",
		"up fanctl up -a --file DIR":                "DIR",
	} {
		i := manage(t, h, "iface eth0 inet manual\n\t"+hook+"\n")
		i.write(t, "fan", "eth0/16 250.0.0.0/8 # one without an address\n")
		wanted = strings.ReplaceAll(wanted, "DIR", i.dir)
		if told := i.run(t, "ifup", "eth0"); len(told) != 1 || !strings.Contains(told[0], wanted) {
			t.Errorf("%s: %q, want one line with %s", hook, told, wanted)
		}
		isShown(t, h)
	}
}

// The hook of another interface leaves alone, without a word, what another device has
// not got yet. What any interface may bring it tells of, once.
func TestHookOfAnotherInterface(t *testing.T) {
	b := bed.New(t, bed.Options{NoIPv6: true})
	h := b.Hosts[0]
	i := manage(t, h, "iface lo inet manual\n\tup fanctl up -a --file DIR/fan\n")
	i.write(t, "fan", "eth0/16 250.0.0.0/8\neth7/16 248.0.0.0/8\n")
	if told := i.run(t, "ifup", "lo"); len(told) > 0 {
		t.Errorf("ifup lo: %q", told)
	}
	i.write(t, "fan", "eth0/16 250.0.0.0/8\n10.0.0.0/16 249.0.0.0/8\ndefault/16 248.0.0.0/8\n")
	wanted := []string{"fan:2: underlay 10.0.0.0/16: ", "fan:3: underlay default/16: "}
	told := i.run(t, "ifup", "--force", "lo")
	if len(told) != len(wanted) {
		t.Errorf("ifup lo: %q, want lines of %q", told, wanted)
	}
	for n := range min(len(told), len(wanted)) {
		if !strings.Contains(told[n], wanted[n]) {
			t.Errorf("ifup lo: %q, want %q", told[n], wanted[n])
		}
	}
	isShown(t, h)
}

// What an address of the loopback device lacks, any interface's hook may bring, and no
// hook but theirs would tell.
func TestHookWithLoopbackAddress(t *testing.T) {
	b := bed.New(t, bed.Options{NoIPv6: true})
	h := b.Hosts[0]
	h.IP(t, "addr flush dev eth0", fmt.Sprintf("addr add %s/32 dev lo", h.Addr))
	i := manage(t, h, "iface eth0 inet manual\n\tup fanctl up -a --wait 0 --file DIR/fan\n")
	i.write(t, "fan", "lo/16 250.0.0.0/8\n")
	if told := i.run(t, "ifup", "eth0"); len(told) != 1 || !strings.Contains(told[0], "no route leads from there") {
		t.Errorf("ifup eth0 without a route: %q", told)
	}
	h.IP(t, fmt.Sprintf("route add 10.0.0.0/16 dev eth0 src %s", h.Addr))
	if told := i.run(t, "ifup", "--force", "eth0"); len(told) > 0 || !i.isUp(t) {
		t.Errorf("ifup eth0 with a route: %q", told)
	}
}
