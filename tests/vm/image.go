//go:build vm

package vm

import (
	"context"
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"strings"
)

// Where the programs under test are in the machine.
const (
	fanctlPath  = "/bin/fanctl"
	testsPath   = "/bin/fantests"
	benchPath   = "/bin/fanbench"
	commandPath = "/etc/command" // what init runs, its words separated by zero bytes
)

// tools are the programs of this machine that the tests, the benchmarks and fanctl
// run. Everything else is busybox: it needs no libraries, which an emulated
// processor takes longest to load. Its own sh, nsenter and unshare would run its own ip.
func tools() []string {
	return []string{"sh", "nsenter", "unshare", "ip", "tc", "bridge", "nft", "ping", "iperf3",
		"iptables", "iptables-save", "iptables-restore", "iptables-nft", "iptables-legacy", "xtables-legacy-multi"}
}

// binaries are the programs of this project, compiled.
type binaries struct{ init, fanctl, tests, bench string }

// compile builds our programs into a folder. They are static, so that the machine
// can be older than this one.
func compile(ctx context.Context, dir string) (binaries, error) {
	b := binaries{init: filepath.Join(dir, "init"), fanctl: filepath.Join(dir, "fanctl"),
		tests: filepath.Join(dir, "fantests"), bench: filepath.Join(dir, "fanbench")}
	const module = "github.com/fanctl/fanctl"
	p, err := chosenPlatform()
	if err != nil {
		return b, err
	}
	for _, words := range [][]string{
		{"build", "-tags", "vm", "-o", b.init, module + "/tests/vm/init"},
		{"build", "-o", b.fanctl, module + "/cmd/fanctl"},
		{"build", "-o", b.bench, module + "/tests/bench"},
		{"test", "-c", "-o", b.tests, module + "/tests"},
	} {
		if _, err := run(ctx, "", append([]string{"env", "CGO_ENABLED=0", "GOARCH=" + p.arch, "go"}, words...)...); err != nil {
			return b, err
		}
	}
	return b, nil
}

// writeImage writes the machine's first file system, which is also its last: all
// is in memory. command is what init runs.
func writeImage(out io.Writer, k kernel, b binaries, command []string) error {
	a := newArchive(out)
	for _, name := range []string{"/bin", "/sbin", "/lib", "/lib64"} {
		a.directory("/usr" + name)
		a.link(name, "usr"+name) // as on Debian: paths of libraries and tools hold
	}
	for _, name := range []string{"/dev", "/proc", "/sys", "/run", "/tmp", "/root"} {
		a.directory(name)
	}
	a.link("/var/run", "/run")
	a.file("/init", b.init)
	a.file("/usr"+fanctlPath, b.fanctl)
	a.file("/usr"+testsPath, b.tests)
	a.file("/usr"+benchPath, b.bench)
	a.text(commandPath, strings.Join(command, "\x00"), 0o644)
	a.text("/etc/passwd", "root:x:0:0:root:/root:/bin/sh\n", 0o644)
	a.text("/etc/group", "root:x:0:\n", 0o644)
	if err := addModules(a, k); err != nil {
		return err
	}
	if err := k.platform.addTools(a); err != nil {
		return err
	}
	return a.close()
}

// addTools adds the tools, what they load, and busybox under all its other names.
func (p platform) addTools(a *archive) error {
	for _, name := range tools() {
		if err := p.addTool(a, name); err != nil {
			return err
		}
	}
	for _, kind := range []string{"libxt_*.so", "libipt_*.so"} {
		plugins, err := filepath.Glob(filepath.Join(p.root+"/usr/lib", p.triplet, "xtables", kind))
		if err != nil {
			return err
		}
		for _, plugin := range plugins {
			if err := p.addProgram(a, strings.TrimPrefix(plugin, p.root)); err != nil {
				return err
			}
		}
	}
	for _, file := range []string{"/etc/protocols", "/etc/services", "/etc/iproute2/rt_protos", "/etc/iproute2/rt_scopes", "/etc/iproute2/rt_tables"} {
		if _, err := os.Stat(p.root + file); err == nil {
			a.file(file, p.root+file)
		}
	}
	return p.addBusybox(a)
}

func (p platform) addTool(a *archive, name string) error {
	found, err := p.find(name)
	if err != nil {
		return err
	}
	program, err := p.real(found)
	if err != nil {
		return err
	}
	if err := p.addProgram(a, program); err != nil {
		return err
	}
	// In /usr/bin, where nothing is if the program has another name or folder.
	a.link(path.Join("/usr/bin", name), program)
	return nil
}

func (p platform) addBusybox(a *archive) error {
	found, err := p.find("busybox")
	if err != nil {
		return err
	}
	if needs, err := p.linkedWith(found); err != nil || len(needs) > 0 {
		return errors.Join(fmt.Errorf("%s is not static (try: make deps-vm)", found), err)
	}
	a.file("/usr/bin/busybox", p.root+found)
	// This machine's own knows the same ones.
	names, err := run(context.Background(), "", "busybox", "--list")
	if err != nil {
		return err
	}
	for _, name := range strings.Fields(names) {
		if !a.names["/usr/bin/"+name] && !a.names["/usr/sbin/"+name] {
			a.link("/usr/bin/"+name, "busybox")
		}
	}
	a.link("/usr/sbin/modprobe", "/usr/bin/busybox") // where the kernel looks for it
	return nil
}

// addProgram adds a program or library and all libraries that it is linked with,
// under the paths that they have there.
func (p platform) addProgram(a *archive, file string) error {
	if a.names[file] {
		return nil
	}
	a.file(file, p.root+file)
	needs, err := p.linkedWith(file)
	if err != nil {
		return err
	}
	for _, library := range needs {
		if err := p.addLibrary(a, library); err != nil {
			return fmt.Errorf("%s: %w", file, err)
		}
	}
	return nil
}

// linkedWith returns the paths of the dynamic linker and the libraries that a
// program or library names.
func (p platform) linkedWith(file string) (paths []string, err error) {
	program, err := elf.Open(p.root + file)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	defer func() { err = errors.Join(err, program.Close()) }()
	if interpreter := program.Section(".interp"); interpreter != nil {
		name, err := interpreter.Data()
		if err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		paths = append(paths, strings.TrimRight(string(name), "\x00"))
	}
	names, err := program.ImportedLibraries()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	for _, name := range names {
		found, err := p.findLibrary(name)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		paths = append(paths, found)
	}
	return paths, nil
}

// addLibrary adds what a library's name leads to, and the name.
func (p platform) addLibrary(a *archive, name string) error {
	real, err := p.real(name)
	if err != nil {
		return err
	}
	if err := p.addProgram(a, real); err != nil {
		return err
	}
	folder, err := p.real(filepath.Dir(name)) // /lib64 is a link
	if err != nil {
		return err
	}
	a.link(filepath.Join(folder, filepath.Base(name)), real)
	return nil
}
