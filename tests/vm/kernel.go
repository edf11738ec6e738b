//go:build vm

// Package vm runs the whole-program tests and the benchmarks on a kernel of
// Debian's in a virtual machine (QEMU, no KVM): kernels other than this machine's,
// and the ipip device where this machine's kernel has none.
//
//	debian.go    which package of which Debian has a kernel, by lists of our own
//	kernel.go    the package: fetched, unpacked, kept in a cache
//	platform.go  the processors that there are machines of
//	foreign.go   tools for other processors, unpacked as well
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
	"strings"
)

// kernel is an unpacked kernel package.
type kernel struct {
	release string // what uname -r prints
	image   string // the file to boot
	modules string // the folder with modules.dep and the modules

	platform platform // what it runs on

	withheld string // a module that machines do not get, or ""
}

// fetchKernel returns the newest kernel of a series, such as "6.1", from the cache
// or from Debian; "newest" is the newest that Debian has.
func fetchKernel(ctx context.Context, cache, series string) (kernel, error) {
	p, err := chosenPlatform()
	if err != nil {
		return kernel{}, err
	}
	from, err := p.findKernel(ctx, cache, series)
	if err != nil {
		return kernel{}, err
	}
	root := filepath.Join(cache, from.name())
	if _, err := os.Stat(root); errors.Is(err, fs.ErrNotExist) {
		if err := from.unpackTo(ctx, cache, root, from.listModules); err != nil {
			return kernel{}, err
		}
	}
	k, err := unpackedKernel(root, from.release)
	k.platform = p
	if err == nil && p.foreign() {
		k.platform, err = p.withTools(ctx, cache, from)
	}
	return k, err
}

// unpackedKernel finds what there is to boot: since 7.2 packages have it beside the
// modules.
func unpackedKernel(root, release string) (kernel, error) {
	k := kernel{release: release, modules: filepath.Join(root, "lib", "modules", release)}
	for _, image := range []string{filepath.Join(root, "boot", "vmlinuz-"+release), filepath.Join(k.modules, "vmlinuz")} {
		if _, err := os.Stat(image); err == nil {
			k.image = image
			return k, nil
		}
	}
	return k, fmt.Errorf("the packages of kernel %s have nothing to boot", release)
}

// unpackTo puts unpacked packages into the cache, as a folder that something is done
// in at the end. It gets its name at the very end, so that what is in the cache is
// whole, whoever else fills it meanwhile.
func (s source) unpackTo(ctx context.Context, cache, folder string, finish func(context.Context, string) error) (err error) {
	dir, err := os.MkdirTemp(cache, runPrefix())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	if err := s.download(ctx, dir); err != nil {
		return err
	}
	packages, err := filepath.Glob(filepath.Join(dir, "*.deb"))
	if err != nil || len(packages) == 0 {
		return errors.Join(fmt.Errorf("download %s: got no package", s.packages), err)
	}
	root := filepath.Join(dir, "root")
	for _, file := range packages {
		if _, err := run(ctx, "", "dpkg-deb", "-x", file, root); err != nil {
			return err
		}
	}
	if err := errors.Join(mergeFolders(ctx, root), finish(ctx, root)); err != nil {
		return err
	}
	err = os.Rename(root, folder)
	if errors.Is(err, fs.ErrExist) {
		return nil // another run was faster
	}
	return err
}

// mergeFolders makes links of folders that are links on Debian, as packages before
// trixie's name the folder and later ones what it is a link to.
func mergeFolders(ctx context.Context, root string) error {
	for _, name := range []string{"bin", "sbin", "lib", "lib64"} {
		folder, merged := filepath.Join(root, name), filepath.Join(root, "usr", name)
		if err := os.MkdirAll(merged, 0o755); err != nil {
			return err
		}
		if _, err := os.Stat(folder); err == nil {
			if _, err := run(ctx, "", "cp", "-al", folder+"/.", merged); err != nil {
				return err
			}
		}
		if err := errors.Join(os.RemoveAll(folder), os.Symlink("usr/"+name, folder)); err != nil {
			return err
		}
	}
	return nil
}

// listModules makes the lists that modprobe goes by.
func (s source) listModules(ctx context.Context, root string) error {
	_, err := run(ctx, "", "depmod", "-b", root, s.release)
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
