//go:build install

package install

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/fanctl/fanctl/tests/bed"
	"github.com/fanctl/fanctl/tests/bed/cgroup"
)

// machine is a host of a bed with a Debian and processes of its own.
type machine struct {
	*bed.Host
	pid string // of its first process, as seen from outside
}

// enterScript makes the machine's file system and becomes its first process, in
// namespaces of its own. What it changes is in memory and goes with it. The settings
// of the kernel are read-only but for those of the network, as they are in a
// container.
const enterScript = `
base=$1 work=$2 r=$2/root
mount -t tmpfs tmpfs "$work"
mkdir "$work/upper" "$work/inner" "$r"
mount -t overlay overlay -o "lowerdir=$base,upperdir=$work/upper,workdir=$work/inner" "$r"
mount -t proc proc "$r/proc"
mount --bind "$r/proc/sys" "$r/proc/sys"
mount --bind "$r/proc/sys/net" "$r/proc/sys/net"
mount -o remount,bind,ro "$r/proc/sys"
mount -t sysfs sysfs "$r/sys"
mount -t cgroup2 cgroup2 "$r/sys/fs/cgroup"
for d in run dev tmp; do mount -t tmpfs -o mode=755 tmpfs "$r/$d"; done
for d in null zero full random urandom tty; do touch "$r/dev/$d"; mount --bind "/dev/$d" "$r/dev/$d"; done
mkdir "$r/dev/pts" "$r/dev/shm" "$r/run/old"
mount -t devpts -o newinstance,ptmxmode=0666 devpts "$r/dev/pts"
ln -s pts/ptmx "$r/dev/ptmx"
ln -s /proc/self/fd "$r/dev/fd"
read pid rest </proc/self/stat # of the processes outside
echo "$pid" >"$r/run/pid"
mv "$r/run/pid" "$3"
cd "$r"
pivot_root . run/old
umount -l /run/old
rmdir /run/old
exec env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin container=fan sh -c 'until [ -e /run/boot ]; do sleep 0.1; done; exec /sbin/init'`

// newMachine turns a host into a machine. It runs nothing yet.
func newMachine(t *testing.T, h *bed.Host) *machine {
	t.Helper()
	base, err := debian()
	if err != nil {
		t.Fatal(err)
	}
	group := newGroup(t)
	work, pid := t.TempDir(), filepath.Join(t.TempDir(), "pid")
	stop := h.Start(t, "sh", "-ec", `echo $$ >"$1/cgroup.procs"; shift
exec unshare --mount --pid --fork --kill-child --uts --ipc --cgroup --propagation private sh -ec "$@"`,
		"sh", group, enterScript, "sh", base, work, pid)
	t.Cleanup(func() {
		stop()
		if !eventually(func() bool { return removeGroup(group) == nil }) {
			t.Errorf("the machine's processes are left in %s: %v", group, removeGroup(group))
		}
	})
	m := &machine{Host: h}
	if !eventually(func() bool {
		text, err := os.ReadFile(pid)
		m.pid = strings.TrimSpace(string(text))
		return err == nil && m.pid != ""
	}) {
		t.Fatal("the machine does not start")
	}
	// It has entered its root when the old one has gone.
	if !eventually(func() bool {
		return m.run("test", "!", "-e", "/run/old").Code == 0 && m.run("test", "-e", "/etc/debian_version").Code == 0
	}) {
		t.Fatal("the machine does not get into its root")
	}
	return m
}

// boot starts systemd on the machine and returns when it has started everything.
func (m *machine) boot(t *testing.T) {
	t.Helper()
	// What reaches beyond namespaces, and what changes the machine by itself.
	masked := []string{"systemd-udev-trigger.service", "systemd-modules-load.service", "systemd-sysctl.service",
		"systemd-random-seed.service", "apt-daily.timer", "apt-daily-upgrade.timer", "e2scrub_all.timer", "fstrim.timer",
		"sys-kernel-debug.mount", "sys-kernel-tracing.mount", "sys-fs-fuse-connections.mount", "dev-hugepages.mount",
		"NetworkManager.service", "NetworkManager-wait-online.service"}
	for _, unit := range masked {
		m.must(t, "mkdir", "-p", "/etc/systemd/system")
		m.must(t, "ln", "-sf", "/dev/null", "/etc/systemd/system/"+unit)
	}
	m.must(t, "touch", "/run/boot")
	var state string
	if !eventually(func() bool {
		state = strings.TrimSpace(m.run("systemctl", "is-system-running").Stdout)
		return slices.Contains([]string{"running", "degraded"}, state)
	}) || state != "running" {
		t.Fatalf("systemd is %q:\n%s\n%s", state, m.run("systemctl", "list-jobs").Stdout, m.run("systemctl", "--failed").Stdout)
	}
}

// run runs a command on the machine, with the environment of none of the tests'.
func (m *machine) run(args ...string) bed.Result {
	return m.Exec(append([]string{"nsenter", "-t", m.pid, "--mount", "--pid", "--uts", "--ipc",
		"env", "-C", "/", "-i", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", "LC_ALL=C", "DEBIAN_FRONTEND=noninteractive"}, args...)...)
}

func (m *machine) must(t *testing.T, args ...string) string {
	t.Helper()
	r := m.run(args...)
	if r.Code != 0 {
		t.Fatalf("%s: %q: %s", m, args, r)
	}
	return r.Stdout + r.Stderr
}

// path is where a file of the machine is outside.
func (m *machine) path(name string) string { return filepath.Join("/proc", m.pid, "root", name) }

func (m *machine) write(t *testing.T, name, text string) {
	t.Helper()
	err := os.MkdirAll(filepath.Dir(m.path(name)), 0o755)
	if err == nil {
		err = os.WriteFile(m.path(name), []byte(text), 0o644)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// install installs a version of the package as its users do, and returns what was
// said.
func (m *machine) install(t *testing.T, version string) string {
	t.Helper()
	return m.must(t, "apt-get", "install", "-qy", "--allow-downgrades", "-o", "APT::Sandbox::User=root", m.fetch(t, version))
}

// fetch puts a version of the package onto the machine.
func (m *machine) fetch(t *testing.T, version string) string {
	t.Helper()
	dir, err := packages()
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(dir, version+".deb"))
	if err != nil {
		t.Fatal(err)
	}
	name := "/tmp/fanctl_" + version + ".deb"
	m.write(t, name, string(text))
	return name
}

// eventually tries for a minute until something is so.
func eventually(so func() bool) bool {
	for range 600 {
		if so() {
			return true
		}
		time.Sleep(100 * time.Millisecond)
	}
	return false
}

const groupPrefix = "fanctl-install-"

// newGroup makes a control group for a machine: systemd wants one, and takes the one
// that it is in for the first of all.
func newGroup(t *testing.T) string {
	t.Helper()
	root, err := cgroup.Unified()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(root.Close)
	group := root.Path(fmt.Sprintf("%s%d-%s", groupPrefix, os.Getpid(), rand.Text()[:8]))
	if err := os.Mkdir(group, 0o755); err != nil {
		t.Fatal(err)
	}
	return group
}

// removeGroup removes a control group with all below it.
func removeGroup(group string) error {
	var dirs []string
	err := filepath.WalkDir(group, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() {
			dirs = append(dirs, path)
		}
		return err
	})
	if errors.Is(err, fs.ErrNotExist) && len(dirs) == 0 {
		return nil
	}
	for _, dir := range slices.Backward(dirs) {
		if err := os.Remove(dir); err != nil {
			return err
		}
	}
	return err
}

// sweepGroups removes what machines of dead runs have left.
func sweepGroups() error {
	root, err := cgroup.Unified()
	if err != nil {
		return err
	}
	defer root.Close()
	left, err := filepath.Glob(root.Path(groupPrefix + "*"))
	for _, group := range left {
		word, _, _ := strings.Cut(strings.TrimPrefix(filepath.Base(group), groupPrefix), "-")
		if pid, err := strconv.Atoi(word); err == nil && syscall.Kill(pid, 0) != nil {
			_ = removeGroup(group) // in use by nobody who is alive, or by a test's orphan
		}
	}
	return err
}
