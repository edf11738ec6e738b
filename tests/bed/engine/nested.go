package engine

import (
	"archive/tar"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/fanctl/fanctl/tests/bed"
)

// Nested is a container of LXD with a Docker daemon of its own: the machine's
// programs, of Debian's Docker 20.
type Nested struct {
	*Container
	lxd *LXD
}

// nestedStart starts the daemon in the container and waits for it. LXC leaves it to
// the container to mount the groups, as its init would do.
const nestedStart = `set -e
ip link set lo up
mount -t tmpfs -o mode=755 cgroup /sys/fs/cgroup
while IFS=: read -r _ names _; do
	case $names in
	'') continue ;;
	name=*) options=none,$names ;;
	*) options=$names ;;
	esac
	mkdir "/sys/fs/cgroup/${names#name=}"
	mount -t cgroup -o "$options" cgroup "/sys/fs/cgroup/${names#name=}"
done </proc/self/cgroup
dockerd --host unix:///run/docker.sock >/var/log/dockerd 2>&1 </dev/null &
until docker version >/dev/null 2>&1; do
	kill -0 $! || { cat /var/log/dockerd; exit 1; }
	sleep 0.1
done
docker import /bb.tar ` + BusyboxImage + `
`

// NestDocker starts a container with a Docker daemon inside, which has the image
// bb:1, with more words for lxc launch.
func (l *LXD) NestDocker(t testing.TB, name string, words ...string) *Nested {
	t.Helper()
	image, err := nestedImage()
	file := filepath.Join(l.dir, "nested.tar")
	if err == nil {
		err = os.WriteFile(file, image, 0o644)
	}
	if err != nil {
		t.Fatalf("make an image with Docker: %v", err)
	}
	l.MustCLI(t, "image", "import", file, "--alias", "nested")
	l.MustCLI(t, slices.Concat([]string{"init", "nested", name, "--config", "security.nesting=true"}, words)...)
	l.MustCLI(t, "config", "device", "add", name, "usr", "disk", "source=/usr", "path=/usr", "readonly=true")
	l.MustCLI(t, "start", name)
	n := &Nested{l.Container(t, name), l}
	if r := n.run("sh", "/start"); r.Code != 0 {
		t.Fatalf("start Docker in %s: %s", name, r)
	}
	return n
}

// run runs a command in the container.
func (n *Nested) run(args ...string) bed.Result {
	return n.lxd.CLI(slices.Concat([]string{"exec", n.Name, "--env", "PATH=" + searchPath, "--env", "DOCKER_HOST=unix:///run/docker.sock", "--"}, args)...)
}

// MustDocker runs the docker command in the container against the daemon there,
// fails the test unless it ends well, and returns its standard output without the
// line end.
func (n *Nested) MustDocker(t testing.TB, args ...string) string {
	t.Helper()
	r := n.run(append([]string{"docker"}, args...)...)
	if r.Code != 0 {
		t.Fatalf("docker %q in %s: %s", args, n.Name, r)
	}
	return strings.TrimSuffix(r.Stdout, "\n")
}

// nestedImage is the image for it. The machine's /usr is to be mounted in it.
func nestedImage() ([]byte, error) {
	inner, err := dockerImage()
	if err != nil {
		return nil, err
	}
	r := newRoot("rootfs")
	if err := r.lxd(); err != nil {
		return nil, err
	}
	r.file("bb.tar", 0o644, inner)
	r.file("start", 0o755, []byte(nestedStart))
	for _, name := range []string{"var/lib/docker", "var/log", "var/run"} {
		r.folder(name, 0o755)
	}
	r.link("lib", "usr/lib")
	r.link("lib64", "usr/lib64")
	for _, name := range []string{"passwd", "group", "nsswitch.conf", "ld.so.cache"} {
		content, readErr := os.ReadFile(filepath.Join("/etc", name))
		err = errors.Join(err, readErr)
		r.file("etc/"+name, 0o644, content)
	}
	if err := errors.Join(err, r.alternatives()); err != nil {
		return nil, err
	}
	r.describe()
	return r.bytes()
}

// alternatives adds Debian's links, by which iptables is found.
func (r *root) alternatives() error {
	r.folder("etc/alternatives", 0o755)
	return filepath.WalkDir("/etc/alternatives", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.Type()&fs.ModeSymlink == 0 {
			return err
		}
		target, err := os.Readlink(path)
		if err != nil {
			return fmt.Errorf("read a link: %w", err)
		}
		r.add(tar.Header{Typeflag: tar.TypeSymlink, Name: strings.TrimPrefix(path, "/"), Linkname: target, Mode: 0o777}, nil)
		return nil
	})
}
