package tests

import (
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/fanctl/fanctl/tests/bed"
)

// pretended is the name under which this program is run by strangers: it sleeps.
const pretended = "dnsmasq"

// stranger runs a process of another user on the host that says that it is the fan's
// dnsmasq.
func stranger(t *testing.T, h *bed.Host, dir string, arguments ...string) *os.Process {
	t.Helper()
	path := filepath.Join(dir, "pretend")
	copyFile(t, "/proc/self/exe", path)
	cmd := &exec.Cmd{Path: path, Args: append([]string{pretended, "--interface=fan-250"}, arguments...),
		SysProcAttr: &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}}
	if err := h.Do(cmd.Start); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	return cmd.Process
}

// publicDir is a folder of the test that every user can use.
func publicDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "fanctl-test-public-")
	if err == nil {
		t.Cleanup(func() { os.RemoveAll(dir) })
		err = os.Chmod(dir, 0o777)
	}
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	in, err := os.Open(from)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_CREATE|os.O_WRONLY, 0o755)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(out, in); err != nil {
		t.Fatal(err)
	}
	if err := out.Close(); err != nil {
		t.Fatal(err)
	}
}

// A process of another user may say that it is the fan's dnsmasq, and what it was
// told to run: it is not ended, and none of that is run. And what is wrong with DHCP
// keeps nothing else from being put right.
func TestDHCPOfStrangers(t *testing.T) {
	b := bed.New(t, bed.Options{NoIPv6: true})
	h := b.Hosts[0]
	d := dhcpOn(t, b, h, ipipEBPF())
	dir := publicDir(t)
	evil, trace := filepath.Join(dir, "evil"), filepath.Join(dir, "trace")
	if err := os.WriteFile(evil, []byte("#!/bin/sh\nid >"+trace+"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	killServers(t, h)
	p := stranger(t, h, dir, "--conf-script="+evil, "--port=0", "--pid-file=")
	h.IP(t, "link add lan0 type bridge", "addr add 192.168.77.1/24 dev lan0", "link set lan0 up")
	systemDnsmasq(t, h, "dhcp-range=192.168.77.2,192.168.77.254,1h")
	h.Must(t, "iptables", "-F", "FAN-FORWARD")

	r := h.FanctlEnv(d.env, "up", "-e")
	if r.Code != 1 || !oneLine(r.Stderr, "fan-250", "port 67") || !strings.Contains(r.Stdout, "fan-250 is put right") {
		t.Errorf("up -e with port 67 taken and no rules: %s", r)
	}
	if rules := h.Must(t, "iptables", "-S", "FAN-FORWARD"); strings.Count(rules, "-A") < 3 {
		t.Errorf("the rules are still not there:\n%s", rules)
	}
	if err := p.Signal(syscall.Signal(0)); err != nil {
		t.Errorf("the stranger's process has ended: %v", err)
	}
	if _, err := os.Stat(trace); err == nil {
		t.Error("the stranger's script was run")
	}
}

// What was started is ended also where its leases have been removed meanwhile.
func TestDHCPWithoutItsLeases(t *testing.T) {
	b := bed.New(t, bed.Options{NoIPv6: true})
	h := b.Hosts[0]
	d := dhcpOn(t, b, h, vxlan())
	if err := os.RemoveAll(d.state); err != nil {
		t.Fatal(err)
	}
	r := h.FanctlEnv(d.env, append(append([]string{"up"}, fanArgs(b, overlay)...), vxlan().args...)...)
	if left := servers(t, h); r.Code != 0 || len(left) > 0 {
		t.Errorf("up without DHCP: %s; dnsmasq is left: %v", r, left)
	}
}

// sleepAsStranger is what this program does under another name.
func sleepAsStranger() { time.Sleep(10 * time.Minute) }
