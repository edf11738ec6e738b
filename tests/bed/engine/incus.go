package engine

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/fanctl/fanctl/tests/bed"
)

// StartIncus starts Incus of Debian 13, which is 6.0, with the libraries that it
// wants. It ends with the test. Where the packages can't be had, the test is
// skipped, with the reason.
func StartIncus(t testing.TB, h *bed.Host) *LXD {
	t.Helper()
	root, err := cached("incus-trixie-1", makeIncusRoot)
	if err != nil {
		t.Skipf("SKIPPED: Incus can't be had here: %v", err)
	}
	l := newLXD(t, h, "Incus")
	l.isolate(func() error {
		if err := l.fast(); err != nil {
			return err
		}
		return l.pivot(root)
	})
	l.words = []string{"/usr/libexec/incus/incusd", "--group", "root"}
	l.env = append(l.env, "INCUS_DIR="+l.Dir)
	l.client = func() []string {
		return []string{"nsenter", fmt.Sprintf("--mount=/proc/%d/ns/mnt", l.PID()),
			"env", "INCUS_DIR=" + l.Dir, "HOME=/root", "/usr/bin/incus", "--force-local", "--quiet"}
	}
	l.begin(t)
	return l
}

// makeIncusRoot makes a root file system with what Incus needs. The packages are
// unpacked but not set up, which would take three times as long.
func makeIncusRoot(dir string) error {
	from, err := mirror()
	if err != nil {
		return err
	}
	const packages = "incus-base,incus-client,iptables,iproute2,dash,coreutils,util-linux,tar,gzip,xz-utils,sed,grep,libc-bin"
	if _, err := command("mmdebstrap", "--mode=root", "--variant=extract", "--include="+packages, "trixie", dir, from); err != nil {
		return fmt.Errorf("%w (make deps-containers installs mmdebstrap)", err)
	}
	for _, name := range []string{"bin", "sbin", "lib", "lib64"} {
		if _, err := os.Lstat(filepath.Join(dir, name)); err == nil {
			continue
		}
		err = errors.Join(err, os.Symlink("usr/"+name, filepath.Join(dir, name)))
	}
	if _, statErr := os.Lstat(filepath.Join(dir, "usr/bin/sh")); statErr != nil {
		err = errors.Join(err, os.Symlink("dash", filepath.Join(dir, "usr/bin/sh")))
	}
	for _, name := range []string{"proc", "sys", "run", "dev", "root", "oldroot"} {
		err = errors.Join(err, os.MkdirAll(filepath.Join(dir, name), 0o755))
	}
	// Incus gives containers these user ids.
	const ids = "root:1000000:1000000000\n"
	for name, text := range map[string]string{"passwd": "root:x:0:0:root:/root:/bin/sh\n", "group": "root:x:0:\n", "subuid": ids, "subgid": ids} {
		err = errors.Join(err, os.WriteFile(filepath.Join(dir, "etc", name), []byte(text), 0o644))
	}
	if err != nil {
		return err
	}
	_, err = command("chroot", dir, "/sbin/ldconfig")
	return err
}

// pivot makes a layer over a folder the root of the calling thread's mount
// namespace. The daemon's folder stays where it was.
func (l *LXD) pivot(below string) error {
	layer, root := filepath.Join(l.dir, "layer"), filepath.Join(l.dir, "root")
	if err := tmpfs(layer, 0o755); err != nil {
		return err
	}
	if err := os.Mkdir(root, 0o755); err != nil {
		return err
	}
	if err := bind(below, root); err != nil {
		return err
	}
	if err := cover(root, layer); err != nil {
		return err
	}
	for _, path := range []string{"/proc", "/sys", "/run", "/dev", l.Dir} {
		at := filepath.Join(root, path)
		if err := os.MkdirAll(at, 0o711); err != nil {
			return err
		}
		if err := unix.Mount(path, at, "", unix.MS_BIND|unix.MS_REC, ""); err != nil {
			return fmt.Errorf("bind %s to %s: %w", path, at, err)
		}
	}
	if err := unix.PivotRoot(root, filepath.Join(root, "oldroot")); err != nil {
		return fmt.Errorf("make %s the root: %w", root, err)
	}
	if err := unix.Chdir("/"); err != nil {
		return err
	}
	return unix.Unmount("/oldroot", unix.MNT_DETACH)
}
