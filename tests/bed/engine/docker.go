package engine

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/fanctl/fanctl/tests/bed"
)

// Dockerd is a Docker daemon on a host.
type Dockerd struct {
	*daemon
	// Socket is where it listens.
	Socket string
	// ConfigFile is its daemon.json. It is empty: {}.
	ConfigFile string
	// RestartProgram ends the daemon and starts it again with the same words, as
	// "systemctl restart docker" does.
	RestartProgram string

	client string
}

// Docker20 starts Debian's Docker, which is 20.10 in Debian 12. It ends with the
// test.
func Docker20(t testing.TB, h *bed.Host) *Dockerd {
	t.Helper()
	return startDocker(t, h, "Docker 20", "/usr/sbin/dockerd", "/usr/bin/docker", searchPath)
}

// searchPath is where daemons find programs.
const searchPath = "/usr/sbin:/usr/bin:/sbin:/bin"

func startDocker(t testing.TB, h *bed.Host, name, program, client, path string) *Dockerd {
	t.Helper()
	d := newDocker(t, h, name, program, client)
	d.Socket = filepath.Join(d.dir, "docker.sock")
	d.ConfigFile = filepath.Join(d.dir, "daemon.json")
	if err := os.WriteFile(d.ConfigFile, []byte("{}\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	data := filepath.Join(d.dir, "data")
	d.isolate(func() error {
		// Docker 20 keeps a key in /etc/docker.
		if err := hide("/etc/docker"); err != nil {
			return err
		}
		return tmpfs(data, 0o710)
	})
	d.socket = d.Socket
	d.words = []string{program, "--config-file", d.ConfigFile, "--data-root", data,
		"--exec-root", filepath.Join(d.dir, "exec"), "--pidfile", filepath.Join(d.dir, "pid"), "--host", "unix://" + d.Socket}
	d.env = []string{"PATH=" + path, "HOME=/root"}
	d.Start(t)
	return d
}

func newDocker(t testing.TB, h *bed.Host, name, program, client string) *Dockerd {
	t.Helper()
	if _, err := os.Stat(program); err != nil {
		t.Fatalf("%v (make deps-containers installs it)", err)
	}
	d := &Dockerd{daemon: newDaemon(t, h, name), client: client}
	d.root, d.ping = true, "/_ping"
	d.RestartProgram = d.serveRestarts(d.restart)
	return d
}

// PlainDocker starts Debian's Docker as on a machine that nobody has configured: its
// socket, its files and its daemon.json, which is not there, nor is its folder, are
// where they are by default. Programs see them that run by Inside.
func PlainDocker(t testing.TB, h *bed.Host) *Dockerd {
	t.Helper()
	const program = "/usr/sbin/dockerd"
	d := newDocker(t, h, "Docker 20", program, "/usr/bin/docker")
	d.Socket, d.ConfigFile = "/run/docker.sock", "/etc/docker/daemon.json"
	d.isolate(func() error {
		layer := filepath.Join(d.dir, "layer")
		if err := tmpfs(layer, 0o755); err != nil {
			return err
		}
		for _, path := range []string{"/etc", "/var/lib"} {
			if err := cover(path, filepath.Join(layer, filepath.Base(path))); err != nil {
				return err
			}
		}
		if err := os.RemoveAll("/etc/docker"); err != nil {
			return err
		}
		return tmpfs("/var/lib/docker", 0o710)
	})
	d.socket = d.Socket
	d.words = []string{program}
	d.env = []string{"PATH=" + searchPath, "HOME=/root"}
	d.Start(t)
	return d
}

// cover mounts a layer over a folder, so that what is written there stays there.
func cover(path, layer string) error {
	upper, work := filepath.Join(layer, "upper"), filepath.Join(layer, "work")
	if err := errors.Join(os.MkdirAll(upper, 0o755), os.MkdirAll(work, 0o755)); err != nil {
		return err
	}
	if err := unix.Mount("overlay", path, "overlay", 0, fmt.Sprintf("lowerdir=%s,upperdir=%s,workdir=%s", path, upper, work)); err != nil {
		return fmt.Errorf("mount a layer over %s: %w", path, err)
	}
	return nil
}

// hide mounts an empty folder over one, if that is there.
func hide(path string) error {
	if _, err := os.Stat(path); err != nil {
		return nil
	}
	return tmpfs(path, 0o755)
}

// restart is what the restart program does.
func (d *Dockerd) restart() error {
	if err := d.end(syscall.SIGTERM); err != nil {
		return err
	}
	return d.start()
}

// Restart ends the daemon in an orderly way and starts it again.
func (d *Dockerd) Restart(t testing.TB) {
	t.Helper()
	if err := d.restart(); err != nil {
		t.Fatal(err)
	}
}

// Stop ends the daemon in an orderly way: its containers end before.
func (d *Dockerd) Stop(t testing.TB) {
	t.Helper()
	if err := d.end(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
}

// Refuse makes the daemon fail to start, until the function that it returns is
// called.
func (d *Dockerd) Refuse(t testing.TB) (accept func()) {
	t.Helper()
	d.refuse.Store(true)
	return func() { d.refuse.Store(false) }
}

// Docker runs the docker command against the daemon.
func (d *Dockerd) Docker(args ...string) bed.Result {
	return d.host.Exec(slices.Concat([]string{"env", "DOCKER_CONFIG=" + d.dir, d.client, "--host", "unix://" + d.Outside(d.Socket)}, args)...)
}

// MustDocker runs the docker command against the daemon, fails the test unless it
// ends well, and returns its standard output without the line end.
func (d *Dockerd) MustDocker(t testing.TB, args ...string) string {
	t.Helper()
	r := d.Docker(args...)
	if r.Code != 0 {
		t.Fatalf("%s: docker %q: %s", d.host, args, r)
	}
	return strings.TrimSuffix(r.Stdout, "\n")
}

// BusyboxImage is the name of the image that Busybox imports.
const BusyboxImage = "bb:1"

// Busybox imports an image with busybox, bb:1.
func (d *Dockerd) Busybox(t testing.TB) {
	t.Helper()
	image, err := dockerImage()
	file := filepath.Join(d.dir, "bb.tar")
	if err == nil {
		err = os.WriteFile(file, image, 0o644)
	}
	if err != nil {
		t.Fatalf("make an image: %v", err)
	}
	d.MustDocker(t, "import", file, BusyboxImage)
}

// Run starts a container of the image bb:1 that does nothing, with the words for
// docker run, and returns it.
func (d *Dockerd) Run(t testing.TB, name string, words ...string) *Container {
	t.Helper()
	d.MustDocker(t, slices.Concat([]string{"run", "--detach", "--init", "--name", name}, words, []string{BusyboxImage, "sleep", "1000000"})...)
	return d.Container(t, name)
}

// Container finds a running container by its name.
func (d *Dockerd) Container(t testing.TB, name string) *Container {
	t.Helper()
	return newContainer(t, d.host, name, d.MustDocker(t, "inspect", "--format", "{{.State.Pid}}", name))
}

// Version is what the daemon says of itself.
func (d *Dockerd) Version(t testing.TB) string {
	t.Helper()
	return d.MustDocker(t, "version", "--format", "{{.Server.Version}}")
}

func (d *Dockerd) String() string { return fmt.Sprintf("%s on %s", d.name, d.host) }
