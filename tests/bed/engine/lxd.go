package engine

import (
	"encoding/json"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/fanctl/fanctl/tests/bed"
)

// LXD is LXD's or Incus' daemon on a host. It has a storage pool "p", and its
// default profile has a root disk in that and nothing else.
type LXD struct {
	*daemon
	// Kind is LXD or Incus.
	Kind string
	// Dir is the daemon's folder: LXD_DIR or INCUS_DIR.
	Dir string
	// Socket is where it listens.
	Socket string

	client func() []string
}

// LXDImage is the name of the image that Busybox imports.
const LXDImage = "bb"

const lxdProgram, lxcProgram = "/usr/bin/lxd", "/usr/bin/lxc"

// architecture is the machine's, in LXD's words.
func architecture() string {
	switch runtime.GOARCH {
	case "amd64":
		return "x86_64"
	case "arm64":
		return "aarch64"
	}
	return runtime.GOARCH
}

// StartLXD starts Debian's LXD, which is 5.0 in Debian 12. It ends with the test.
func StartLXD(t testing.TB, h *bed.Host) *LXD {
	t.Helper()
	if _, err := os.Stat(lxdProgram); err != nil {
		t.Fatalf("%v (make deps-containers installs it)", err)
	}
	l := newLXD(t, h, "LXD")
	l.isolate(l.fast)
	l.words = []string{lxdProgram, "--group", "root"}
	l.env = append(l.env, "LXD_DIR="+l.Dir)
	l.client = func() []string {
		return []string{"env", "LXD_DIR=" + l.Dir, "HOME=" + l.dir, lxcProgram, "--force-local", "--quiet"}
	}
	l.begin(t)
	return l
}

func newLXD(t testing.TB, h *bed.Host, name string) *LXD {
	t.Helper()
	l := &LXD{daemon: newDaemon(t, h, name), Kind: name}
	l.Dir = filepath.Join(l.dir, "var")
	l.Socket = filepath.Join(l.Dir, "unix.socket")
	if err := os.Mkdir(l.Dir, 0o711); err != nil {
		t.Fatal(err)
	}
	l.socket, l.ping = l.Socket, "/1.0/storage-pools"
	l.env = []string{"PATH=" + searchPath, "HOME=/root"}
	return l
}

// fast mounts tmpfs where the daemon writes much and waits for the disk. Its
// folder itself has the socket, which is to be seen from outside.
func (l *LXD) fast() error {
	for _, name := range []string{"database", "storage-pools", "images"} {
		if err := tmpfs(filepath.Join(l.Dir, name), 0o711); err != nil {
			return err
		}
	}
	return nil
}

// begin starts the daemon for the first time, with a storage pool.
func (l *LXD) begin(t testing.TB) {
	t.Helper()
	l.Start(t)
	l.MustCLI(t, "storage", "create", "p", "dir")
	l.MustCLI(t, "profile", "device", "add", "default", "root", "disk", "path=/", "pool=p")
}

// CLI runs lxc, or incus, against the daemon.
func (l *LXD) CLI(args ...string) bed.Result {
	return l.host.Exec(slices.Concat(l.client(), args)...)
}

// MustCLI runs lxc, or incus, against the daemon, fails the test unless it ends
// well, and returns its standard output without the line end.
func (l *LXD) MustCLI(t testing.TB, args ...string) string {
	t.Helper()
	r := l.CLI(args...)
	if r.Code != 0 {
		t.Fatalf("%s on %s: %q: %s", l.name, l.host, args, r)
	}
	return strings.TrimSuffix(r.Stdout, "\n")
}

// Busybox imports an image "bb", whose containers have busybox and ask for an
// address on eth0 until they end.
func (l *LXD) Busybox(t testing.TB) {
	t.Helper()
	image, err := lxdImage()
	// Incus' client sees this folder, too.
	file := filepath.Join(l.Dir, "bb.tar")
	if err == nil {
		err = os.WriteFile(file, image, 0o644)
	}
	if err != nil {
		t.Fatalf("make an image: %v", err)
	}
	l.MustCLI(t, "image", "import", file, "--alias", LXDImage)
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
}

// Launch starts a container of the image bb, with more words for lxc launch.
func (l *LXD) Launch(t testing.TB, name string, words ...string) *Container {
	t.Helper()
	l.MustCLI(t, slices.Concat([]string{"launch", LXDImage, name}, words)...)
	return l.Container(t, name)
}

// Container finds a running container by its name.
func (l *LXD) Container(t testing.TB, name string) *Container {
	t.Helper()
	var state struct {
		Metadata struct {
			PID json.Number `json:"pid"`
		} `json:"metadata"`
	}
	answer := l.Get(t, "/1.0/instances/"+name+"/state")
	if err := json.Unmarshal([]byte(answer), &state); err != nil {
		t.Fatalf("%s: state of %s: %v:\n%s", l.name, name, err, answer)
	}
	return newContainer(t, l.host, name, state.Metadata.PID.String())
}
