package engine

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/fanctl/fanctl/tests/bed"
)

// Docker28 starts a Docker of 28 or newer, from the next Debian's packages, which
// run on this one but for their runc. It ends with the test. Where the packages
// can't be had, the test is skipped, with the reason.
func Docker28(t testing.TB, h *bed.Host) *Dockerd {
	t.Helper()
	programs, err := cached("docker-forky-1", downloadDocker)
	if err != nil {
		t.Skipf("SKIPPED: Docker 28 can't be had here: %v", err)
	}
	return startDocker(t, h, "Docker 28", filepath.Join(programs, "dockerd"), filepath.Join(programs, "docker"), programs+":"+searchPath)
}

// downloadDocker makes a folder with Docker's programs.
func downloadDocker(dir string) (err error) {
	const release = "forky"
	from, err := mirror()
	if err != nil {
		return err
	}
	scratch, err := os.MkdirTemp("", fmt.Sprintf("%s%d-", prefix, os.Getpid()))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(scratch)) }()
	list, state, debs, root := filepath.Join(scratch, "sources.list"), filepath.Join(scratch, "lists"), filepath.Join(scratch, "debs"), filepath.Join(scratch, "root")
	err = errors.Join(os.MkdirAll(filepath.Join(state, "partial"), 0o755), os.Mkdir(debs, 0o755),
		os.WriteFile(list, []byte("deb "+from+" "+release+" main\n"), 0o644))
	if err != nil {
		return err
	}
	apt := []string{"-qq", "-o", "Dir::Etc::SourceList=" + list, "-o", "Dir::Etc::SourceParts=/dev/null", "-o", "Dir::State::lists=" + state,
		"-o", "Dir::Cache::pkgcache=", "-o", "Dir::Cache::srcpkgcache=", "-o", "Dir::Cache::archives=" + debs, "-o", "APT::Sandbox::User=root",
		"-o", "Acquire::Languages=none"}
	if _, err := command("apt-get", append(apt, "update")...); err != nil {
		return err
	}
	words := append([]string{"-C", debs, "apt-get"}, apt...)
	words = append(words, "download", "docker.io/"+release, "docker-cli/"+release, "containerd/"+release)
	if _, err := command("env", words...); err != nil {
		return err
	}
	all, err := filepath.Glob(filepath.Join(debs, "*.deb"))
	if err != nil {
		return err
	}
	for _, deb := range all {
		if _, err := command("dpkg-deb", "--extract", deb, root); err != nil {
			return err
		}
	}
	for _, name := range []string{"usr/bin/docker", "usr/bin/containerd", "usr/bin/containerd-shim-runc-v2", "usr/sbin/dockerd", "usr/sbin/docker-proxy"} {
		// mv also moves to another disk.
		if _, err := command("mv", filepath.Join(root, name), dir); err != nil {
			return err
		}
	}
	// The next Debian's programs may come to want the next Debian's libraries.
	_, err = command(filepath.Join(dir, "dockerd"), "--version")
	return err
}
