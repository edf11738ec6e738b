//go:build install

// Package install tests what a user installs: the packages in a fresh Debian, under
// a real systemd, and that a release is the same bytes whoever builds it. It needs
// root and changes nothing outside of namespaces of its own.
//
//	FANCTL_DEBIAN=/path   keep the Debian that is made there for the next run
package install

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/fanctl/fanctl/tests/bed"
)

func TestMain(m *testing.M) {
	os.Exit(runAll(m))
}

// scratch is the folder of this run.
var scratch string

func runAll(m *testing.M) int {
	if os.Geteuid() != 0 {
		fmt.Println("SKIPPED: the tests of packages need root for namespaces")
		return 0
	}
	dir, err := os.MkdirTemp("/var/tmp", "fanctl-install-")
	if err == nil {
		err = errors.Join(bed.Sweep(), sweepGroups())
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	scratch = dir
	return m.Run()
}

// debian makes a fresh Debian with what the package needs, once for all tests. They
// see it through a layer of their own.
var debian = sync.OnceValues(func() (string, error) {
	root := os.Getenv("FANCTL_DEBIAN")
	if root == "" {
		root = filepath.Join(scratch, "debian")
	} else if _, err := os.Stat(root); err == nil {
		return root, nil
	}
	mirror, err := exec.Command("apt-get", "indextargets", "--format", "$(REPO_URI)", "Created-By: Packages", "Codename: bookworm").Output()
	if err != nil {
		return "", fmt.Errorf("find this machine's Debian mirror: %w", err)
	}
	first, _, _ := strings.Cut(string(mirror), "\n")
	const packages = "iptables,iproute2,iputils-ping,dnsmasq-base,procps,systemd,systemd-sysv,udev,network-manager"
	out, err := exec.Command("mmdebstrap", "--mode=root", "--variant=minbase", "--dpkgopt=force-unsafe-io",
		"--include="+packages, "bookworm", root, first).CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("make a Debian from %s (make deps installs mmdebstrap): %w\n%s", first, err, out)
	}
	return root, nil
})

// Versions of the package, made of this source.
const (
	older = "1.0.0"
	newer = "1.0.1"
)

// packages makes both versions of the package, as "make deb" does, and returns the
// folder in which each is VERSION.deb.
var packages = sync.OnceValues(func() (string, error) {
	dir := filepath.Join(scratch, "packages")
	for _, version := range []string{older, newer} {
		of := filepath.Join(dir, version)
		if err := runMake("deb", "VERSION="+version, "SOURCE_DATE_EPOCH=1700000000", "BIN="+filepath.Join(of, "bin"), "DIST="+of); err != nil {
			return "", err
		}
		found, err := filepath.Glob(filepath.Join(of, "*.deb"))
		if err != nil || len(found) != 1 {
			return "", fmt.Errorf("make deb made %q, not one package (%w)", found, err)
		}
		if err := os.Rename(found[0], filepath.Join(dir, version+".deb")); err != nil {
			return "", err
		}
	}
	return dir, os.Setenv(bed.BinaryVariable, filepath.Join(dir, older, "bin", "fanctl"))
})

// runMake runs make in the source of this test, two folders up.
func runMake(args ...string) error {
	cmd := exec.Command("make", append([]string{"-C", "../..", "--no-print-directory"}, args...)...)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("make %q: %w\n%s", args, err, out)
	}
	return nil
}
