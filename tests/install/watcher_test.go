//go:build install

package install

import (
	"strings"
	"testing"

	"github.com/fanctl/fanctl/tests/bed"
)

// watchers are the processes of the machine that follow the ports of fast fans.
func (m *machine) watchers() []string {
	return strings.Fields(m.run("pgrep", "-f", "^/usr/sbin/fanctl watch").Stdout)
}

// watcher waits until there is one, another than before.
func (m *machine) watcher(t *testing.T, before, when string) string {
	t.Helper()
	var list []string
	if !eventually(func() bool {
		list = m.watchers()
		return len(list) == 1 && list[0] != before
	}) {
		t.Fatalf("%s the watchers are %q\n%s", when, list, m.journal(t, "fanctl.service"))
	}
	return list[0]
}

// The watcher of a fast fan has a unit of its own, in the sandbox; the timer brings it
// back, an upgrade takes it along, and it goes with the fan.
func TestWatcher(t *testing.T) {
	b, m := pair(t)
	m.install(t, older)
	m.write(t, "/etc/network/fan", "eth0/16 250.0.0.0/8 --fast\n")
	m.boot(t)
	fast := func(ports string) bool {
		return strings.Contains(m.run("fanctl", "show", "--json").Stdout, `"fast_ports": `+ports+",")
	}
	joins := func(ports, when string) {
		t.Helper()
		m.Container(t, network(b, m.Host), bed.ContainerOptions{})
		if !eventually(func() bool { return fast(ports) }) {
			t.Errorf("%s a container's port does not become fast: %s\n%s", when, m.run("fanctl", "show", "-v"), m.journal(t, "fanctl.service"))
		}
	}
	pid := m.watcher(t, "", "after boot")
	if unit := m.must(t, "cat", "/proc/"+pid+"/cgroup"); !strings.Contains(unit, ".scope") {
		t.Errorf("the watcher is in the unit %s", unit)
	}
	joins("1", "after boot")

	m.must(t, "kill", "-9", pid)
	m.must(t, "systemctl", "start", "fanctl-check.service")
	pid = m.watcher(t, pid, "after a kill")
	m.must(t, "systemctl", "start", "fanctl-check.service")
	joins("2", "after a kill")

	m.must(t, "dpkg", "-i", m.fetch(t, newer))
	joins("3", "after an upgrade")
	// The kernel tells of a program whose file has been taken away.
	if program := m.must(t, "readlink", "/proc/"+pid+"/exe"); program != "/usr/sbin/fanctl\n" {
		t.Errorf("after an upgrade the watcher is still %s", program)
	}

	m.Must(t, "iptables", "-I", "FORWARD", "-s", "250.0.0.0/8", "-j", "DROP")
	if !eventually(func() bool { return fast("0") }) {
		t.Errorf("a rule that drops does not keep the fan from being fast: %s", m.run("fanctl", "show", "-v"))
	}
	m.Must(t, "iptables", "-D", "FORWARD", "-s", "250.0.0.0/8", "-j", "DROP")
	if !eventually(func() bool { return fast("3") }) {
		t.Errorf("without the rule the fan is not fast again: %s", m.run("fanctl", "show", "-v"))
	}
	logged := m.must(t, "journalctl", "--quiet", "--no-pager", "-o", "cat")
	for _, words := range []string{"fan-250 is not fast now because of iptables", "fan-250 is fast again"} {
		if !strings.Contains(logged, words) {
			t.Errorf("the log has nothing of %q", words)
		}
	}
	if strings.Contains(logged, "left-over process") {
		t.Error("systemd complains of a watcher that was left in another's unit")
	}
	m.must(t, "fanctl", "down", "-e", "--force")
	if !eventually(func() bool { return len(m.watchers()) == 0 }) {
		t.Errorf("after down there are the watchers %q", m.watchers())
	}
}
