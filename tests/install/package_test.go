//go:build install

package install

import (
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/fanctl/fanctl/tests/bed"
)

const list = "# fans of this machine\neth0/16 250.0.0.0/8 --dhcp\n"

// pair makes a bed of two hosts: a machine, and a host that has the fan already.
func pair(t *testing.T) (*bed.Bed, *machine) {
	t.Helper()
	if _, err := packages(); err != nil {
		t.Fatal(err)
	}
	b := bed.New(t, bed.Options{NoIPv6: true})
	b.Hosts[1].MustFanctl(t, "up", "-u", "eth0/16", "-o", "250")
	return b, newMachine(t, b.Hosts[0])
}

// network is the fan's part that a host of the bed has.
func network(b *bed.Bed, h *bed.Host) bed.Network {
	overlay := netip.MustParsePrefix("250.0.0.0/8")
	return bed.Network{Bridge: "fan-250", Overlay: overlay, Slice: bed.Slice(b.Underlay, overlay, h.Addr)}
}

// reaches fails the test unless each of two containers gets answers from the other.
func reaches(t *testing.T, one, two *bed.Container, when string) {
	t.Helper()
	for from, to := range map[*bed.Container]*bed.Container{one: two, two: one} {
		if got := from.Ping(to.Addr, 3); got != 3 {
			t.Errorf("%s: %d of 3 pings from %s to %s answered", when, got, from.Addr, to.Addr)
		}
	}
}

func has(t *testing.T, h *bed.Host, device string) bool {
	t.Helper()
	return h.Exec("ip", "link", "show", device).Code == 0
}

// dnsmasq returns the processes of the machine's DHCP.
func (m *machine) dnsmasq() string { return strings.TrimSpace(m.run("pgrep", "-x", "dnsmasq").Stdout) }

// A package is installed, upgraded while containers talk, removed and purged, and
// the machine is as it was.
func TestLifeOfAPackage(t *testing.T) {
	b, m := pair(t)
	before := m.files(t)

	m.install(t, older)
	if got := m.must(t, "fanctl", "--version"); got != "fanctl "+older+"\n" {
		t.Errorf("fanctl --version: %q", got)
	}
	m.write(t, "/etc/network/fan", list)
	m.must(t, "fanctl", "up", "-a")
	m.must(t, "fanctl", "up", "-u", "eth0/16", "-o", "240") // by hand
	one := m.Container(t, network(b, m.Host), bed.ContainerOptions{})
	two := b.Hosts[1].Container(t, network(b, b.Hosts[1]), bed.ContainerOptions{})
	reaches(t, one, two, "installed")

	server := m.dnsmasq()
	whilePinging(t, one, two, func(n int) {
		version := []string{newer, older}[n%2]
		m.must(t, "dpkg", "-i", m.fetch(t, version))
		if got := m.must(t, "fanctl", "--version"); got != "fanctl "+version+"\n" {
			t.Errorf("after the upgrade, fanctl --version: %q", got)
		}
	})
	if now := m.dnsmasq(); now != server || server == "" {
		t.Errorf("dnsmasq was %q and is %q", server, now)
	}

	said := m.must(t, "apt-get", "remove", "-qy", "fanctl")
	saysRemaining(t, said, "fan-240", "fan-250")
	if !strings.Contains(said, "in use by "+one.Port) {
		t.Errorf("removed while a container is there: %s", said)
	}
	reaches(t, one, two, "removed while a container is there")

	m.install(t, newer)
	one.Remove(t)
	said = m.must(t, "apt-get", "remove", "-qy", "fanctl")
	saysRemaining(t, said, "fan-240")
	if has(t, m.Host, "fan-250") || !has(t, m.Host, "fan-240") || m.dnsmasq() != "" {
		t.Errorf("after removal, fan-250 is there: %t, fan-240: %t, dnsmasq: %q", has(t, m.Host, "fan-250"), has(t, m.Host, "fan-240"), m.dnsmasq())
	}
	m.MustFanctl(t, "down", "-e")

	leases := m.path("/var/lib/fanctl")
	if _, err := os.Stat(leases); err != nil {
		t.Errorf("removal took the leases away: %v", err)
	}
	m.must(t, "apt-get", "purge", "-qy", "fanctl")
	m.must(t, "rm", "/etc/network/fan") // the administrator's
	m.must(t, "rmdir", "--ignore-fail-on-non-empty", "/etc/network")
	if left := differences(before, m.files(t)); len(left) > 0 {
		t.Errorf("what is not as it was:\n%s", strings.Join(left, "\n"))
	}
}

// whilePinging does something again and again while one container pings the other,
// 500 times a second, until it was done twice from beginning to end. No packet may
// be lost.
func whilePinging(t *testing.T, one, two *bed.Container, do func(n int)) {
	t.Helper()
	n, whole := 0, 0
	for count := 2000; whole < 2; count *= 2 {
		if count > 100000 {
			t.Fatalf("in %d pings it was not done once", count/2)
		}
		wait, ended := one.StartPing(t, two.Addr, count, "-i", "0.002")
		for running := true; running; {
			do(n)
			n++
			select {
			case <-ended:
				running = false
			default:
				whole++
			}
		}
		sent, answered := wait()
		t.Logf("%d of %d pings answered, done %d times", answered, sent, n)
		if answered != sent {
			t.Errorf("%d of %d pings were lost", sent-answered, sent)
		}
	}
}

// In a chroot the network is that of the host around it: the package leaves it alone.
func TestChroot(t *testing.T) {
	_, m := pair(t)
	m.install(t, older)
	m.write(t, "/etc/network/fan", list)
	m.must(t, "fanctl", "up", "-a")
	m.must(t, "sh", "-ec", `mkdir /run/chroot; mount -t tmpfs tmpfs /run/chroot; cd /run/chroot; mkdir upper work root
mount -t overlay overlay -o lowerdir=/,upperdir=upper,workdir=work root; mount --bind /tmp root/tmp`)
	m.must(t, "iptables", "-F") // what "up -e" would put right
	before := m.Settled(t)
	in := func(args ...string) string {
		return m.must(t, append([]string{"chroot", "/run/chroot/root"}, args...)...)
	}
	for _, proc := range []string{"without", "with"} {
		if proc == "with" {
			m.must(t, "mount", "-t", "proc", "proc", "/run/chroot/root/proc")
		}
		for _, version := range []string{newer, older} {
			in("dpkg", "-i", m.fetch(t, version))
		}
		if said := in("dpkg", "-r", "fanctl"); strings.Contains(said, "fan-250") {
			t.Errorf("%s /proc, removal says %q", proc, said)
		}
		if difference := m.Becomes(t, before); difference != "" {
			t.Errorf("%s /proc, the host is changed: %s", proc, difference)
		}
	}
}

// Where policy-rc.d forbids that services are stopped, fans stay up.
func TestPolicy(t *testing.T) {
	_, m := pair(t)
	m.install(t, older)
	m.write(t, "/etc/network/fan", list)
	m.must(t, "fanctl", "up", "-a")
	m.write(t, "/usr/sbin/policy-rc.d", "#!/bin/sh\nexit 101\n")
	m.must(t, "chmod", "755", "/usr/sbin/policy-rc.d")
	said := m.must(t, "apt-get", "purge", "-qy", "fanctl")
	saysRemaining(t, said, "fan-250")
	if !has(t, m.Host, "fan-250") {
		t.Errorf("the fan has gone: %s", said)
	}
}

// saysRemaining fails the test unless removal has named the fans that are still up.
func saysRemaining(t *testing.T, said string, fans ...string) {
	t.Helper()
	_, names, _ := strings.Cut(said, "fanctl: still up, and carried by the kernel until the next boot: ")
	names, _, _ = strings.Cut(names, "\n")
	got := strings.Fields(names)
	if slices.Sort(got); !slices.Equal(got, fans) {
		t.Errorf("removal says that %q are still up, want %q: %s", got, fans, said)
	}
}
