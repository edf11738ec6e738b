//go:build vm

// Package vm runs the whole-program tests and the benchmarks on a kernel of
// Debian's in a virtual machine (QEMU, no KVM): kernels other than this machine's,
// and the ipip device where this machine's kernel has none.
//
//	kernel.go    a Debian kernel package: fetched, unpacked, kept in a cache
//	modules.go   the modules that the tests need, with those that these need
//	image.go     the first file system: tools with their libraries, our binaries
//	cpio.go      its archive format
//	init         the first process in the machine: runs one command, tells its end
//	machine.go   QEMU: start, relay, verdict
//	verdict.go   what "go test -v" says, test by test
//
// It needs no root, changes nothing outside its cache, and opens no ports. Only
// the machine's own network is used for traffic, which ends with it.
package vm

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
)

// metaPackage depends on the newest kernel of the suite that this machine's apt
// knows. The cloud kernel has all modules that a fan needs and boots in seconds:
// there are few drivers in it.
const metaPackage = "linux-image-cloud-amd64"

// kernel is an unpacked kernel package.
type kernel struct {
	release string // what uname -r prints
	image   string // the file to boot
	modules string // the folder with modules.dep and the modules
}

// fetchKernel returns the newest kernel of a series, such as "6.1", from the cache
// or from Debian.
func fetchKernel(ctx context.Context, cache, series string) (kernel, error) {
	name, version, err := resolvePackage(ctx, series)
	if err != nil {
		return kernel{}, err
	}
	k := unpackedKernel(filepath.Join(cache, name+"_"+version), strings.TrimPrefix(name, "linux-image-"))
	if _, err := os.Stat(k.image); err == nil {
		return k, nil
	}
	return k, download(ctx, cache, name, version, k)
}

func unpackedKernel(root, release string) kernel {
	return kernel{
		release: release,
		image:   filepath.Join(root, "boot", "vmlinuz-"+release),
		modules: filepath.Join(root, "lib", "modules", release),
	}
}

// resolvePackage returns the package that the meta package stands for.
func resolvePackage(ctx context.Context, series string) (name, version string, err error) {
	out, err := run(ctx, "", "apt-cache", "show", "--no-all-versions", metaPackage)
	if err != nil {
		return "", "", fmt.Errorf("find %s: %w (try: apt-get update)", metaPackage, err)
	}
	found := regexp.MustCompile(`(?m)^Depends: .*\b(linux-image-[0-9]\S*) \(= ([^)]+)\)`).FindStringSubmatch(out)
	if found == nil {
		return "", "", fmt.Errorf("package %s does not name a kernel: %s", metaPackage, out)
	}
	if !strings.HasPrefix(found[1], "linux-image-"+series+".") {
		return "", "", fmt.Errorf("KERNEL=%s: apt has %s; set KERNEL to its series, or give apt a suite with %s", series, found[1], series)
	}
	return found[1], found[2], nil
}

// download puts an unpacked package into the cache. It gets its name at the very
// end, so that what is in the cache is whole, whoever else fills it meanwhile.
func download(ctx context.Context, cache, name, version string, k kernel) (err error) {
	dir, err := os.MkdirTemp(cache, runPrefix())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	// Without apt's own user, who cannot write to our folder.
	get := []string{"apt-get", "-o", "APT::Sandbox::User=root", "download", name + "=" + version}
	if _, err := run(ctx, dir, get...); err != nil {
		return fmt.Errorf("%w (try: apt-get update)", err)
	}
	packages, err := filepath.Glob(filepath.Join(dir, "*.deb"))
	if err != nil || len(packages) != 1 {
		return errors.Join(fmt.Errorf("download %s: got %q, want one package", name, packages), err)
	}
	root := filepath.Join(dir, "root")
	if _, err := run(ctx, "", "dpkg-deb", "-x", packages[0], root); err != nil {
		return err
	}
	// Since trixie packages name the folder that /lib is a link to.
	if err := os.Symlink("usr/lib", filepath.Join(root, "lib")); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	if _, err := run(ctx, "", "depmod", "-b", root, k.release); err != nil {
		return err
	}
	err = os.Rename(root, filepath.Join(cache, name+"_"+version))
	if errors.Is(err, fs.ErrExist) {
		return nil // another run was faster
	}
	return err
}

// run runs a command of this machine in a folder and returns its output.
func run(ctx context.Context, dir string, words ...string) (string, error) {
	path, err := findTool(words[0])
	if err != nil {
		return "", err
	}
	cmd := exec.CommandContext(ctx, path, words[1:]...)
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("%s: %w: %s", strings.Join(words, " "), err, strings.TrimSpace(string(out)))
	}
	return string(out), nil
}

// findTool finds a program also where only root's PATH leads.
func findTool(name string) (string, error) {
	if path, err := exec.LookPath(name); err == nil {
		return path, nil
	}
	for _, dir := range []string{"/usr/sbin", "/sbin"} {
		if path, err := exec.LookPath(filepath.Join(dir, name)); err == nil {
			return path, nil
		}
	}
	return "", fmt.Errorf("there is no %s on this machine (try: make deps-vm)", name)
}

// runPrefix begins the names of this process's folders in the cache.
func runPrefix() string { return fmt.Sprintf("run-%d-", os.Getpid()) }
