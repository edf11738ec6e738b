//go:build install

package install

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/fanctl/fanctl/tests/bed"
)

// makeRPM makes a version of the RPM package, and returns its path.
func makeRPM(t *testing.T, version, to string) string {
	t.Helper()
	if err := runMake("rpm", "VERSION="+version, "SOURCE_DATE_EPOCH=1700000000", "BIN="+filepath.Join(to, "bin"), "DIST="+to); err != nil {
		t.Fatal(err)
	}
	found, err := filepath.Glob(filepath.Join(to, "*.rpm"))
	if err != nil || len(found) != 1 {
		t.Fatalf("make rpm made %q (%v)", found, err)
	}
	return found[0]
}

// The RPM package has what the Debian package has, and scripts that are well-formed.
func TestRPM(t *testing.T) {
	dir, err := packages()
	if err != nil {
		t.Fatal(err)
	}
	to := t.TempDir()
	makeRPM(t, older, to)
	listed := command(t, nil, "sh", "-ec", `rpm -qlp "$0"/*.rpm | sort`, to)
	deb := command(t, nil, "sh", "-ec", `dpkg-deb --fsys-tarfile "$0" | tar -t | sed -n 's#^\.\(.*[^/]\)$#\1#p' | sort`, filepath.Join(dir, older+".deb"))
	for file := range strings.Lines(deb) {
		if !strings.Contains(listed, file) {
			t.Errorf("the RPM package lacks %s", file)
		}
	}
	if strings.Count(deb, "\n") < 15 {
		t.Errorf("the Debian package has only %s", deb)
	}
	scripts := command(t, nil, "sh", "-ec", `rpm -qp --scripts "$0"/*.rpm | tee "$0/scripts" | sed '/scriptlet (using/d' | sh -n; cat "$0/scripts"`, to)
	for _, kind := range []string{"postinstall", "preuninstall", "postuninstall"} {
		if !strings.Contains(scripts, kind+" scriptlet") {
			t.Errorf("the RPM package has no script %s: %s", kind, scripts)
		}
	}
}

// inRoot gives the real rpm a file system of its own for --root: $0 is a Debian, $1 the
// folder for it, $2 a command to prepare it; then come words of rpm, which works outside.
const inRoot = `mount -t tmpfs tmpfs "$1"
mkdir "$1/upper" "$1/work" "$1/root"
mount -t overlay overlay -o "lowerdir=$0,upperdir=$1/upper,workdir=$1/work" "$1/root"
root=$1/root prepare=$2
shift 2
eval "$prepare"
for version; do
	rpm --root "$root" --nodeps --ignorearch -U "$version"
done
test -e "$root/usr/sbin/fanctl"
echo "upgraded: $(ip link show fan-250 | grep -c 'mtu 1300')"
rpm --root "$root" --nodeps -e fanctl
test ! -e "$root/usr/sbin/fanctl"`

// Installed, upgraded and removed below another root, as images are made, the RPM
// package leaves the fans of the host alone, whatever that root has to find out by.
func TestRPMInAnotherRoot(t *testing.T) {
	if _, err := packages(); err != nil {
		t.Fatal(err)
	}
	base, err := debian()
	if err != nil {
		t.Fatal(err)
	}
	versions := []string{makeRPM(t, older, t.TempDir()), makeRPM(t, newer, t.TempDir())}
	for name, prepare := range map[string]string{
		"without proc":                "",
		"with proc":                   `mount --rbind /proc "$root/proc"`,
		"with proc but no systemd":    `mount --rbind /proc "$root/proc"; rm "$root/usr/bin/systemd-detect-virt"`,
		"with proc and who booted it": `mount --rbind /proc "$root/proc"; mkdir -p "$root/run/systemd/system"`,
	} {
		t.Run(name, func(t *testing.T) {
			h := bed.New(t, bed.Options{NoIPv6: true}).Hosts[0]
			file := filepath.Join(t.TempDir(), "fan")
			h.MustFanctl(t, "config", "set", "250", "eth0", "--file", file)
			h.MustFanctl(t, "up", "-a", "--file", file)
			h.IP(t, "link set fan-250 mtu 1300") // which up -e would put right
			said := h.Must(t, append([]string{"unshare", "--mount", "--propagation", "private", "sh", "-ec", inRoot, base, t.TempDir(), prepare}, versions...)...)
			if !strings.Contains(said, "upgraded: 1") {
				t.Errorf("an upgrade below another root changes the host's fan: %s", said)
			}
			if !has(t, h, "fan-250") {
				t.Error("removal below another root takes down the host's fan")
			}
		})
	}
}

// On the host itself the same scripts put the fans right and take them down.
func TestRPMScriptsOnTheHost(t *testing.T) {
	_, m := pair(t)
	m.install(t, older)
	m.write(t, "/etc/network/fan", list)
	m.must(t, "fanctl", "up", "-a")
	scripts := command(t, nil, "sh", "-ec", `cd ../../ifupdown/package/rpm; tar -c post preun | base64 -w0`)
	m.must(t, "sh", "-ec", `mkdir /tmp/rpm; echo "$0" | base64 -d | tar -x -C /tmp/rpm`, strings.TrimSpace(scripts))
	for _, without := range []string{"true", "mv /usr/bin/systemd-detect-virt /tmp"} {
		m.must(t, "sh", "-ec", without)
		m.IP(t, "link set fan-250 mtu 1300")
		m.must(t, "sh", "/tmp/rpm/post", "2")
		if said := m.Must(t, "ip", "link", "show", "fan-250"); !strings.Contains(said, "mtu 1480") {
			t.Errorf("an upgrade does not put the fan right: %s", said)
		}
		m.must(t, "sh", "/tmp/rpm/preun", "1")
		if !has(t, m.Host, "fan-250") {
			t.Error("an upgrade takes the fan down")
		}
	}
	m.must(t, "sh", "/tmp/rpm/preun", "0")
	if has(t, m.Host, "fan-250") {
		t.Error("removal leaves the fan of the list")
	}
}
