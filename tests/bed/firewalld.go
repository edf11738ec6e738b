package bed

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// Firewalld is a real firewalld in a namespace, with a message bus and settings of
// its own.
type Firewalld struct {
	ns  *NS
	bus string
}

// busConfig lets everybody who can open the socket do everything.
const busConfig = `<busconfig>
<listen>unix:path=DIR/bus</listen><auth>EXTERNAL</auth>
<policy context="default"><allow send_destination="*"/><allow receive_sender="*"/><allow own="*"/></policy>
</busconfig>
`

// Firewalld starts a firewalld with a backend, "nftables" or "iptables". It ends
// with the test.
func (n *NS) Firewalld(t testing.TB, backend string) *Firewalld {
	t.Helper()
	if _, err := exec.LookPath("firewalld"); err != nil {
		t.Fatal("needs Debian's package firewalld; make deps installs it")
	}
	dir := t.TempDir()
	f := &Firewalld{ns: n, bus: "DBUS_SYSTEM_BUS_ADDRESS=unix:path=" + filepath.Join(dir, "bus")}
	for name, text := range map[string]string{
		"bus.conf":       strings.ReplaceAll(busConfig, "DIR", dir),
		"firewalld.conf": "DefaultZone=public\nFirewallBackend=" + backend + "\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	n.Start(t, "dbus-daemon", "--nofork", "--nopidfile", "--config-file="+filepath.Join(dir, "bus.conf"))
	// With a /run of its own, where it keeps files while it changes rules.
	n.Start(t, "env", f.bus, "unshare", "--mount", "--propagation", "private", "sh", "-ec",
		`mount -t tmpfs tmpfs /run; exec firewalld --nofork --nopid --system-config "$1" --log-target file --log-file "$1/log"`, "sh", dir)
	for range 300 {
		if f.cmd("--state").Code == 0 {
			return f
		}
		time.Sleep(100 * time.Millisecond)
	}
	log, _ := os.ReadFile(filepath.Join(dir, "log"))
	t.Fatalf("in %s: firewalld does not start: %s\n%s", n.Name, f.cmd("--state"), log)
	return nil
}

func (f *Firewalld) cmd(args ...string) Result {
	return f.ns.Exec(append([]string{"env", f.bus, "firewall-cmd"}, args...)...)
}

// Cmd runs firewall-cmd and fails the test if that fails.
func (f *Firewalld) Cmd(t testing.TB, args ...string) {
	t.Helper()
	if r := f.cmd(args...); r.Code != 0 {
		t.Fatalf("in %s: firewall-cmd %q: %s", f.ns.Name, args, r)
	}
}
