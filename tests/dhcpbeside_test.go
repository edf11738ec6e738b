package tests

import (
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/fanctl/fanctl/tests/bed"
)

// A dnsmasq that is killed while containers use it is back with up -e, as a timer
// runs it, and everybody keeps the address; also where its leases are damaged.
func TestMendDHCP(t *testing.T) {
	b := bed.New(t, bed.Options{NoIPv6: true})
	h := b.Hosts[0]
	d := dhcpOn(t, b, h, ipipEBPF())
	far := upOn(t, b, b.Hosts[1], ipipEBPF(), overlay).container(t, bed.ContainerOptions{})
	web, mail := d.guest(t, b, "web"), d.guest(t, b, "mail")
	first := map[*guest]lease{web: web.ask(t), mail: mail.ask(t)}
	leases := filepath.Join(d.state, "fan-250.leases")
	for name, damage := range map[string]string{"killed": "", "killed, leases damaged": "what is this\n"} {
		t.Run(name, func(t *testing.T) {
			wait, _ := web.StartPing(t, far.Addr, 100, "-i", "0.01")
			killServers(t, h)
			before, err := os.ReadFile(leases)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(leases, []byte(damage+string(before)), 0o644); err != nil {
				t.Fatal(err)
			}
			r := h.FanctlEnv(d.env, "up", "-e")
			if r.Code != 0 || r.Stdout != "fan-250 is put right in 1 step (dnsmasq)\n" {
				t.Errorf("up -e: %s", r)
			}
			if damaged := strings.Contains(r.Stderr, leases+":1: "); damaged != (damage != "") {
				t.Errorf("of the leases, up -e says %q", r.Stderr)
			}
			for g, l := range first {
				if again := g.ask(t); again != l {
					t.Errorf("%s had %+v and has %+v", g.name, l, again)
				}
			}
			mail.knows(t, "web", first[web])
			if sent, answered := wait(); answered != sent {
				t.Errorf("%d of %d pings answered", answered, sent)
			}
			nothingToMend(t, h, d.env...)
		})
	}
}

// systemDnsmasq starts the dnsmasq of Debian's package dnsmasq, as its unit does,
// with a file of settings in its folder. settings are lines, with ; between them.
func systemDnsmasq(t *testing.T, h *bed.Host, settings string) (stop func()) {
	t.Helper()
	dir := t.TempDir()
	text := strings.ReplaceAll(settings, ";", "\n") + "\naddress=/answer.test/192.0.2.7\n"
	if err := os.WriteFile(filepath.Join(dir, "site.conf"), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	stop = h.Start(t, "dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null", "-x", filepath.Join(dir, "..", "pid"), "-u", "dnsmasq",
		"-7", dir+",.dpkg-dist,.dpkg-old,.dpkg-new", "--local-service", "--dhcp-leasefile="+filepath.Join(dir, "..", "leases"))
	answersOn(t, h, "127.0.0.1", true)
	return stop
}

// answersOn waits until a DNS server answers on an address of the host.
func answersOn(t *testing.T, h *bed.Host, address string, wanted bool) {
	t.Helper()
	asked := func() bool {
		return strings.Contains(h.Exec("timeout", "1", "busybox", "nslookup", "-type=a", "answer.test", address).Stdout, "192.0.2.7")
	}
	if !eventually(func() bool { return asked() == wanted }) {
		t.Fatalf("a DNS server on %s: want %v", address, wanted)
	}
}

// lxdDnsmasq starts a dnsmasq as LXD does for a bridge of its own.
func lxdDnsmasq(t *testing.T, h *bed.Host) {
	t.Helper()
	dir := t.TempDir()
	h.IP(t, "link add lxdbr0 type bridge", "addr add 192.168.77.1/24 dev lxdbr0", "link set lxdbr0 up")
	h.Start(t, "dnsmasq", "--keep-in-foreground", "--strict-order", "--bind-interfaces", "--except-interface=lo", "--pid-file=", "--no-ping",
		"--interface=lxdbr0", "--dhcp-rapid-commit", "--quiet-dhcp", "--listen-address=192.168.77.1", "--dhcp-no-override", "--dhcp-authoritative",
		"--dhcp-option-force=26,1500", "--dhcp-leasefile="+filepath.Join(dir, "leases"), "--dhcp-range=192.168.77.2,192.168.77.254,1h",
		"-s", "lxd", "--interface-name=_gateway.lxd,lxdbr0", "-S", "/lxd/", "--conf-file=/dev/null", "--address=/answer.test/192.0.2.7", "-u", "dnsmasq")
	answersOn(t, h, "192.168.77.1", true)
}

// Beside other dnsmasqs, each side's clients get what they should: fan containers an
// address of the slice and an answer to names, by whoever has the port. One with
// bind-interfaces takes it and may not answer, for it knows only the networks that
// were there when it started.
func TestDHCPBesideSystemDnsmasq(t *testing.T) {
	lan := func(settings string) func(t *testing.T, h *bed.Host) {
		return func(t *testing.T, h *bed.Host) {
			h.IP(t, "link add lan0 type bridge", "addr add 192.168.77.1/24 dev lan0", "link set lan0 up")
			systemDnsmasq(t, h, settings)
		}
	}
	const serves = ";dhcp-range=192.168.77.2,192.168.77.254,1h"
	for name, test := range map[string]struct {
		start func(t *testing.T, h *bed.Host)
		lan   string // the bridge that it serves, if any
		names string // who answers containers that ask for names
	}{
		"as installed":                    {lan(""), "", "theirs"},
		"bind-dynamic":                    {lan("bind-dynamic"), "", "theirs"},
		"bind-interfaces":                 {lan("bind-interfaces"), "", "unknown"},
		"bind-dynamic but not on fans":    {lan("bind-dynamic;except-interface=fan-*"), "", "ours"},
		"bind-interfaces but not on fans": {lan("bind-interfaces;except-interface=fan-*"), "", "ours"},
		"bind-dynamic with DHCP of a LAN": {lan("bind-dynamic;interface=lan0" + serves), "lan0", "ours"},
		"bind-interfaces and DHCP of LAN": {lan("bind-interfaces;interface=lan0" + serves), "lan0", "ours"},
		"LXD's":                           {lxdDnsmasq, "lxdbr0", "ours"},
		"LXD's and the system's beside it": {func(t *testing.T, h *bed.Host) {
			lxdDnsmasq(t, h)
			systemDnsmasq(t, h, "bind-dynamic;except-interface=lxdbr0")
		}, "lxdbr0", "theirs"},
	} {
		t.Run(name, func(t *testing.T) {
			b := bed.New(t, bed.Options{NoIPv6: true})
			h := b.Hosts[0]
			test.start(t, h)
			d := dhcpOn(t, b, h, ipipEBPF())
			nothingToMend(t, h, d.env...)
			web, mail := d.guest(t, b, "web"), d.guest(t, b, "mail")
			here, there := web.ask(t), mail.ask(t)
			if !d.net.Slice.Contains(here.addr) || !d.net.Slice.Contains(there.addr) {
				t.Errorf("containers of the fan have %s and %s", here.addr, there.addr)
			}
			switch test.names {
			case "ours":
				web.knows(t, "mail", there)
			case "theirs":
				there.addr = netip.MustParseAddr("192.0.2.7")
				web.knows(t, "answer.test", there)
			}
			if told := d.up(t); test.names == "ours" && told != "" {
				t.Errorf("of who answers, up says %q", told)
			}
			if test.lan != "" {
				other := *d
				other.net.Bridge = test.lan
				if l := other.guest(t, b, "neighbour").ask(t); !netip.MustParsePrefix("192.168.77.0/24").Contains(l.addr) {
					t.Errorf("a client of %s has %s", test.lan, l.addr)
				}
			}
			killServers(t, h)
			mend(t, h, d.env...)
			if again := web.ask(t); again != here {
				t.Errorf("after up -e: %+v, before: %+v", again, here)
			}
			nothingToMend(t, h, d.env...)
		})
	}
}

// A dnsmasq that answers for all addresses is started anew: a fan that leaves names to
// it does not take its port meanwhile.
func TestSystemDnsmasqStartsAgain(t *testing.T) {
	b := bed.New(t, bed.Options{NoIPv6: true})
	h := b.Hosts[0]
	stop := systemDnsmasq(t, h, "")
	d := dhcpOn(t, b, h, ipipEBPF())
	stop()
	answersOn(t, h, "127.0.0.1", false)
	nothingToMend(t, h, d.env...)
	stop = systemDnsmasq(t, h, "")
	stop()
	d.up(t) // somebody asks for the fan: now names are the fan's own
	web := d.guest(t, b, "web")
	web.knows(t, "web", web.ask(t))
}

// Where another server has the DHCP port on all interfaces, one line says who, and
// nothing is left.
func TestDHCPPortTaken(t *testing.T) {
	b := bed.New(t, bed.Options{NoIPv6: true})
	h := b.Hosts[0]
	h.IP(t, "link add lan0 type bridge", "addr add 192.168.77.1/24 dev lan0", "link set lan0 up")
	before := h.Settled(t)
	systemDnsmasq(t, h, "dhcp-range=192.168.77.2,192.168.77.254,1h")
	state := filepath.Join(t.TempDir(), "state")
	r := h.FanctlEnv([]string{"FANCTL_STATE=" + state}, "up", "eth0", "250", "dhcp")
	if r.Code != 1 || !oneLine(r.Stderr, "port 67", "(dnsmasq)", "bind-dynamic") {
		t.Errorf("with port 67 taken: %s", r)
	}
	if _, err := os.Stat(state); err == nil {
		t.Error("leases are left")
	}
	if difference := h.Becomes(t, before); difference != "" {
		t.Error(difference)
	}
}
