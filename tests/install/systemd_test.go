//go:build install

package install

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fanctl/fanctl/tests/bed"
)

// booted is a machine that has the package since before it was booted, with the list
// in place, and a container on it and one on the other host.
func booted(t *testing.T) (b *bed.Bed, m *machine, one, two *bed.Container) {
	t.Helper()
	b, m = pair(t)
	m.install(t, older)
	m.write(t, "/etc/network/fan", list)
	m.boot(t)
	one = m.Container(t, network(b, m.Host), bed.ContainerOptions{})
	two = b.Hosts[1].Container(t, network(b, b.Hosts[1]), bed.ContainerOptions{})
	return b, m, one, two
}

// property returns what systemd says of a unit.
func (m *machine) property(t *testing.T, name, unit string) string {
	t.Helper()
	return strings.TrimSpace(m.must(t, "systemctl", "show", "-P", name, unit))
}

// journal returns what a unit and systemd about it have logged.
func (m *machine) journal(t *testing.T, unit string) string {
	t.Helper()
	return m.must(t, "journalctl", "--quiet", "--no-pager", "-o", "cat", "-u", unit)
}

// The real systemd brings the fan up at boot, with its sandbox on, keeps it up,
// and takes it down.
func TestService(t *testing.T) {
	_, m, one, two := booted(t)
	for unit, want := range map[string]string{"fanctl.service": "active", "fanctl-check.timer": "active", "ubuntu-fan.service": "active"} {
		if got := m.property(t, "ActiveState", unit); got != want {
			t.Errorf("after boot %s is %s, want %s", unit, got, want)
		}
	}
	reaches(t, one, two, "after boot")
	m.must(t, "systemctl", "reload", "fanctl.service")
	// The fan is in use, so it stays, and the service is up again.
	m.must(t, "systemctl", "restart", "ubuntu-fan.service")
	reaches(t, one, two, "after restart with a container")
	if got := m.property(t, "ActiveState", "fanctl.service"); got != "active" {
		t.Errorf("after restart the service is %s", got)
	}

	// An upgrade restarts neither the service nor dnsmasq, and what was disabled stays
	// so.
	server, invocation := m.dnsmasq(), m.property(t, "InvocationID", "fanctl.service")
	m.must(t, "systemctl", "disable", "--now", "fanctl-check.timer")
	whilePinging(t, one, two, func(n int) { m.must(t, "dpkg", "-i", m.fetch(t, []string{newer, older}[n%2])) })
	if now := m.property(t, "InvocationID", "fanctl.service"); now != invocation || m.dnsmasq() != server || server == "" {
		t.Errorf("the service was %s with dnsmasq %q, and is %s with %q", invocation, server, now, m.dnsmasq())
	}
	if got := m.run("systemctl", "is-enabled", "fanctl-check.timer").Stdout; got != "disabled\n" {
		t.Errorf("after an upgrade, the timer that was disabled is %s", got)
	}

	one.Remove(t)
	m.must(t, "systemctl", "restart", "fanctl.service")
	again := m.Container(t, one.Network, bed.ContainerOptions{})
	reaches(t, again, two, "after restart")
	again.Remove(t)
	m.must(t, "systemctl", "stop", "fanctl.service")
	m.must(t, "systemctl", "start", "fanctl-check.service") // it brings nothing back
	if has(t, m.Host, "fan-250") || m.dnsmasq() != "" {
		t.Errorf("after stop, the fan is there: %t, dnsmasq: %q", has(t, m.Host, "fan-250"), m.dnsmasq())
	}
	m.must(t, "systemctl", "start", "fanctl.service")
	m.must(t, "apt-get", "purge", "-qy", "fanctl")
	if left := m.run("systemctl", "list-unit-files", "--no-legend", "fanctl*", "ubuntu-fan*").Stdout; left != "" || has(t, m.Host, "fan-250") {
		t.Errorf("after purge, the fan is there: %t, units: %s", has(t, m.Host, "fan-250"), left)
	}
}

// A line of the list for a device that is not there keeps neither the service from
// being up nor the others from going with it. What failed is in the log; what came
// later is brought up by reload, and what an operator took down stays so.
func TestServiceWithMissingDevice(t *testing.T) {
	_, m := pair(t)
	m.install(t, older)
	m.write(t, "/etc/network/fan", "eth7/16 248.0.0.0/8\neth0/16 249.0.0.0/8 --frob\neth0/16 250.0.0.0/8\n")
	m.boot(t)
	if got := m.property(t, "ActiveState", "fanctl.service"); got != "active" || !has(t, m.Host, "fan-250") {
		t.Errorf("after boot the service is %s, and the good fan there: %t", got, has(t, m.Host, "fan-250"))
	}
	log := m.journal(t, "fanctl.service")
	for _, words := range []string{"/etc/network/fan:1: underlay eth7/16: there is no device eth7", "/etc/network/fan:2: ", "fan-250 is up"} {
		if !strings.Contains(log, words) {
			t.Errorf("the log has nothing of %q:\n%s", words, log)
		}
	}
	if got := m.property(t, "Restart", "fanctl.service"); got != "no" {
		t.Errorf("the service is started again and again: Restart=%s", got)
	}
	m.IP(t, "link add eth7 type veth peer name far7", "link set eth7 up", "addr add 172.20.0.7/16 dev eth7")
	m.must(t, "systemctl", "reload", "fanctl.service")
	if !has(t, m.Host, "fan-248") {
		t.Errorf("reload does not bring up what has come:\n%s", m.journal(t, "fanctl.service"))
	}
	m.must(t, "fanctl", "down", "248", "eth7")
	m.must(t, "systemctl", "start", "fanctl.service")
	if has(t, m.Host, "fan-248") {
		t.Error("what an operator took down is up again")
	}
	m.must(t, "systemctl", "stop", "fanctl.service")
	if got := m.property(t, "ActiveState", "fanctl.service"); got != "inactive" || has(t, m.Host, "fan-250") {
		t.Errorf("after stop the service is %s, and the fan there: %t", got, has(t, m.Host, "fan-250"))
	}
}

// The timer puts right what a firewall and the death of dnsmasq took away, and says
// nothing else, however often it runs.
func TestTimer(t *testing.T) {
	_, m, one, two := booted(t)
	rules := func() string {
		var list []string
		for line := range strings.Lines(m.Must(t, "iptables-save")) {
			if strings.HasPrefix(line, "-A") {
				list = append(list, line)
			}
		}
		slices.Sort(list)
		return strings.Join(list, "")
	}
	whole, server := rules(), m.dnsmasq()
	if whole == "" || server == "" {
		t.Fatalf("the fan has no rules (%q) or no dnsmasq (%q)", whole, server)
	}
	for _, table := range []string{"filter", "nat", "raw"} {
		m.Must(t, "iptables", "-t", table, "-F")
	}
	m.Must(t, "iptables", "-P", "FORWARD", "DROP")
	m.must(t, "kill", "-9", server)
	start := time.Now()
	if !eventually(func() bool { return rules() == whole && m.dnsmasq() != "" }) {
		t.Errorf("the timer does not put things right; the rules are\n%swant\n%sdnsmasq is %q\n%s", rules(), whole, m.dnsmasq(), m.journal(t, "fanctl-check.service"))
	}
	t.Logf("put right after %s", time.Since(start).Round(100*time.Millisecond))
	reaches(t, one, two, "put right by the timer")

	for range 3 {
		m.must(t, "systemctl", "start", "fanctl-check.service")
	}
	for line := range strings.Lines(m.journal(t, "fanctl-check.service")) {
		if !strings.HasPrefix(line, "fan-250 is put right in ") {
			t.Errorf("the check logs %q", line)
		}
	}
	if logged := m.must(t, "journalctl", "--quiet", "--no-pager", "-o", "cat"); strings.Contains(logged, "left-over process") {
		t.Error("systemd complains of a dnsmasq that the check has left in its unit")
	}
}

// The units are well-formed, and say how much they may.
func TestUnits(t *testing.T) {
	_, m, _, _ := booted(t)
	units := []string{"fanctl.service", "fanctl-check.service", "fanctl-check.timer"}
	if said := m.must(t, append([]string{"systemd-analyze", "verify", "--man=no"}, units...)...); said != "" {
		t.Errorf("systemd-analyze verify: %s", said)
	}
	for _, unit := range units[:2] {
		said := strings.TrimSpace(m.must(t, "systemd-analyze", "security", "--no-pager", unit))
		t.Log(said[strings.LastIndex(said, "\n")+1:])
		// Of all that it is kept from, the one that shows that the sandbox counts.
		if got := m.property(t, "ProtectSystem", unit); got != "strict" {
			t.Errorf("%s has ProtectSystem=%s", unit, got)
		}
	}
	before := m.property(t, "Before", "fanctl.service")
	for _, unit := range []string{"docker.service", "lxd.service", "incus.service", "snap.lxd.daemon.service", "lxc.service"} {
		if !slices.Contains(strings.Fields(before), unit) {
			t.Errorf("the service does not come before %s: %s", unit, before)
		}
	}
}

// In the sandbox of the units fanctl finds out what the kernel has as it does outside of
// it: it may make the network namespace in which devices are tried, and nothing else.
func TestSandboxLetsFeaturesBeTried(t *testing.T) {
	_, m := pair(t)
	m.install(t, older)
	m.boot(t)
	m.write(t, "/run/systemd/system/tried.service", "[Service]\nType=oneshot\nExecStart=/usr/sbin/fanctl features\n")
	m.must(t, "ln", "-s", "/usr/lib/systemd/system/fanctl.service.d", "/run/systemd/system/tried.service.d")
	m.must(t, "systemctl", "start", "tried.service")
	states := func(told string) (list []string) {
		for line := range strings.Lines(told) {
			if words := strings.Fields(line); len(words) > 1 && slices.Contains([]string{"ipip-device", "vxlan-device", "veth", "bridge"}, words[0]) {
				list = append(list, strings.Join(words[:2], " "))
			}
		}
		return list
	}
	inside, outside := states(m.journal(t, "tried.service")), states(m.must(t, "fanctl", "features"))
	if len(inside) != 4 || !slices.Equal(inside, outside) || slices.ContainsFunc(inside, func(s string) bool { return strings.HasSuffix(s, "unknown") }) {
		t.Errorf("in the sandbox the devices are %q, outside %q", inside, outside)
	}
	for kind, may := range map[string]bool{"--net": true, "--mount": false, "--user": false, "--pid": false} {
		m.write(t, "/run/systemd/system/tried.service", "[Service]\nType=oneshot\nExecStart=unshare "+kind+" true\n")
		m.must(t, "systemctl", "daemon-reload")
		if r := m.run("systemctl", "start", "tried.service"); (r.Code == 0) != may {
			t.Errorf("unshare %s in the sandbox: %s", kind, r)
		}
	}
}

// Those who manage devices leave those of fans alone: real udevd, systemd-networkd
// and NetworkManager.
func TestDropIns(t *testing.T) {
	_, m, one, two := booted(t)
	devices := []string{"fan-250", "ftun-250", "ftin-250", "ftrm-250"}
	macs := map[string]string{}
	for _, device := range devices {
		macs[device] = m.MAC(t, device).String()
	}
	m.must(t, "udevadm", "settle")
	m.must(t, "systemctl", "unmask", "NetworkManager.service")
	m.must(t, "systemctl", "start", "NetworkManager.service")
	if !eventually(func() bool {
		return strings.Contains(m.run("nmcli", "-t", "-g", "STATE", "general").Stdout, "connected")
	}) {
		t.Fatalf("NetworkManager does not come up: %s", m.run("nmcli", "general"))
	}
	for _, device := range devices {
		if got := m.must(t, "nmcli", "-t", "-g", "GENERAL.STATE", "device", "show", device); !strings.Contains(got, "unmanaged") {
			t.Errorf("NetworkManager says that %s is %s", device, got)
		}
	}
	if config := m.must(t, "NetworkManager", "--print-config"); !strings.Contains(config, "[device-fanctl]") {
		t.Errorf("NetworkManager's configuration is %s", config)
	}
	// As those have it who manage whatever comes up.
	m.write(t, "/etc/systemd/network/90-all.network", "[Match]\nName=f*\n[Network]\nDHCP=ipv4\n")
	m.must(t, "systemctl", "start", "systemd-networkd.service")
	for _, device := range devices {
		if got := m.must(t, "udevadm", "info", "--query=property", "--property=ID_NET_LINK_FILE", "--value", "/sys/class/net/"+device); got != "/usr/lib/systemd/network/10-fanctl.link\n" {
			t.Errorf("udevd takes %s for %s", got, device)
		}
		if got := m.must(t, "networkctl", "list", "--no-legend", device); !strings.Contains(got, "unmanaged") {
			t.Errorf("systemd-networkd: %s", got)
		}
		if now := m.MAC(t, device).String(); now != macs[device] {
			t.Errorf("the hardware address of %s was %s and is %s", device, macs[device], now)
		}
	}
	reaches(t, one, two, "beside systemd-networkd and NetworkManager")
}
