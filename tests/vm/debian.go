//go:build vm

package vm

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// newest is the series of whatever Debian has newest.
const newest = "newest"

// errNoSuite is that the mirror of this machine does not have a kernel.
var errNoSuite = errors.New("this machine's Debian mirror does not have it")

// suites are where kernels of a series are looked for.
func suites(series string) []string {
	switch series {
	case "5.10":
		return []string{"bullseye"}
	case "6.1":
		return []string{"bookworm"}
	case "6.12":
		return []string{"trixie"}
	}
	return []string{"trixie-backports", "sid"}
}

// source is a kernel that Debian has: its packages, and how apt gets at them.
type source struct {
	release  string
	version  string   // the packages'
	packages []string // NAME=VERSION
	apt      []string // options
}

// name is what the unpacked packages are called in the cache.
func (s source) name() string { return "kernel-" + s.release + "_" + s.version }

// findKernel looks where Debian has a kernel: in what this machine's apt knows,
// which may have later fixes, and then in lists of our own. apt's configuration and
// its lists stay as they are.
func (p platform) findKernel(ctx context.Context, cache, series string) (source, error) {
	found, err := p.resolve(ctx, nil)
	if err == nil && !p.foreign() && ofSeries(found.release, series) && series != newest {
		return found, nil
	}
	var best source
	var why []error
	for _, suite := range suites(series) {
		options, err := p.ownLists(ctx, cache, suite)
		if err == nil {
			found, err = p.resolve(ctx, options)
		}
		switch {
		case err != nil:
			why = append(why, fmt.Errorf("suite %s: %w", suite, err))
		case !ofSeries(found.release, series):
			why = append(why, fmt.Errorf("suite %s has %s", suite, found.release))
		case best.release == "" || newer(ctx, found.version, best.version):
			best = found
		}
	}
	if best.release == "" {
		return source{}, fmt.Errorf("kernel %s: %w: %w", series, errNoSuite, errors.Join(why...))
	}
	return best, nil
}

func ofSeries(release, series string) bool {
	return series == newest || strings.HasPrefix(release, series+".")
}

// newer compares versions of packages.
func newer(ctx context.Context, a, b string) bool {
	_, err := run(ctx, "", "dpkg", "--compare-versions", a, "gt", b)
	return err == nil
}

// ownLists fetches the lists of a suite into the cache and returns the options by
// which apt goes by them. Without the network, lists from earlier will do.
func (p platform) ownLists(ctx context.Context, cache, suite string) (options []string, err error) {
	from, err := mirror(ctx)
	if err != nil {
		return nil, err
	}
	dir := filepath.Join(cache, "apt-"+suite)
	if p.foreign() {
		dir += "-" + p.arch
	}
	lists, file := filepath.Join(dir, "lists"), filepath.Join(dir, "sources.list")
	if err := os.MkdirAll(filepath.Join(lists, "partial"), 0o755); err != nil {
		return nil, err
	}
	lock, err := os.Create(filepath.Join(dir, "lock"))
	if err != nil {
		return nil, err
	}
	defer lock.Close()
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX); err != nil {
		return nil, fmt.Errorf("lock %s: %w", lock.Name(), err)
	}
	if err := os.WriteFile(file, []byte("deb "+from+" "+suite+" main\n"), 0o644); err != nil {
		return nil, err
	}
	options = []string{"-o", "Dir::Etc::SourceList=" + file, "-o", "Dir::Etc::SourceParts=/dev/null",
		"-o", "Dir::State::lists=" + lists, "-o", "Dir::Cache::pkgcache=", "-o", "Dir::Cache::srcpkgcache=",
		"-o", "Acquire::Languages=none", "-o", "APT::Sandbox::User=root"}
	if p.foreign() { // nothing is installed of that processor's
		options = append(options, "-o", "APT::Architecture="+p.arch, "-o", "APT::Architectures::="+p.arch, "-o", "Dir::State::status=/dev/null")
	}
	_, err = run(ctx, "", append([]string{"apt-get", "-qq", "update"}, options...)...)
	if had, _ := filepath.Glob(filepath.Join(lists, "*_Packages*")); err != nil && len(had) == 0 {
		return nil, err
	}
	return options, nil
}

// mirror is where this machine gets its Debian from.
func mirror(ctx context.Context) (string, error) {
	out, err := run(ctx, "", "apt-get", "indextargets", "--format", "$(REPO_URI)", "Created-By: Packages", "Component: main")
	if err != nil {
		return "", err
	}
	first, _, _ := strings.Cut(out, "\n")
	if first == "" {
		return "", errors.New("apt of this machine has no Debian mirror (try: apt-get update)")
	}
	return first, nil
}

// resolve returns the kernel that the meta package stands for. A cloud kernel has all
// modules that a fan needs and boots in seconds: there are few drivers in it.
func (p platform) resolve(ctx context.Context, options []string) (source, error) {
	of := func(name string) (string, error) {
		return run(ctx, "", slices.Concat([]string{"apt-cache"}, options, []string{"show", "--no-all-versions", name})...)
	}
	meta, err := of(p.meta)
	if err != nil {
		return source{}, fmt.Errorf("find %s: %w", p.meta, err)
	}
	found := regexp.MustCompile(`(?m)^Depends: .*\blinux-image-([0-9]\S*) \(= ([^)]+)\)`).FindStringSubmatch(meta)
	if found == nil {
		return source{}, fmt.Errorf("package %s does not name a kernel: %s", p.meta, meta)
	}
	s := source{release: found[1], version: found[2], apt: options}
	name := "linux-image-" + s.release
	image, err := of(name)
	if err != nil {
		return source{}, fmt.Errorf("find %s: %w", name, err)
	}
	s.packages = packagesOf(image, s)
	return s, nil
}

// packagesOf returns the package of a kernel and those of the same kernel that it
// depends on: since 7.2 it is empty itself.
func packagesOf(image string, s source) []string {
	all := []string{"linux-image-" + s.release + "=" + s.version}
	same := regexp.MustCompile(`\b(linux-[a-z]+-` + regexp.QuoteMeta(s.release) + `) \(= ` + regexp.QuoteMeta(s.version) + `\)`)
	for line := range strings.Lines(image) {
		if strings.HasPrefix(line, "Depends: ") {
			for _, found := range same.FindAllStringSubmatch(line, -1) {
				all = append(all, found[1]+"="+s.version)
			}
		}
	}
	return all
}

// download fetches the packages into a folder.
func (s source) download(ctx context.Context, dir string) error {
	// Without apt's own user, who cannot write to our folder.
	get := slices.Concat([]string{"apt-get", "-o", "APT::Sandbox::User=root"}, s.apt, []string{"download"}, s.packages)
	if _, err := run(ctx, dir, get...); err != nil {
		return fmt.Errorf("%w (try: apt-get update)", err)
	}
	return nil
}
