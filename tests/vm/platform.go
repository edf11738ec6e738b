//go:build vm

package vm

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// platform is a processor that machines have, and what follows from it.
type platform struct {
	arch     string   // as Go and Debian call it
	meta     string   // the package that depends on a suite's newest kernel
	emulator []string // QEMU, its machine and processor
	ports    []string // the console on stdio, and another port that writes to the pipe
	kernel   string   // words for the kernel: its console, and which device the port is
	modules  []string // those that only this platform's kernels have as modules, or need
	triplet  string   // Debian's name of the folder with libraries

	root string // the folder with its tools, "" for this machine's own
}

// reportPath is the pipe in QEMU: the first of ExtraFiles.
const reportPath = "/proc/self/fd/3"

// platforms are the processors that there are machines of. Those of 386 are amd64's:
// programs of 32 bits on a kernel of 64, as Debian's own on such a machine.
//
// What is not amd64's has one serial port of its own; the second is virtio's.
func platforms() []platform {
	pc := platform{
		arch: "amd64", meta: "linux-image-cloud-amd64", triplet: "x86_64-linux-gnu",
		emulator: []string{"qemu-system-x86_64", "-cpu", "Nehalem,-cx16"},
		ports:    []string{"-serial", "stdio", "-serial", "file:" + reportPath},
		kernel:   "console=ttyS0 report=ttyS1",
	}
	pc32 := pc
	pc32.arch = "386"
	port := []string{"-chardev", "file,id=report,path=" + reportPath, "-device", "virtserialport,chardev=report"}
	return []platform{pc, pc32, {
		arch: "s390x", meta: "linux-image-s390x", triplet: "s390x-linux-gnu",
		emulator: []string{"qemu-system-s390x", "-M", "s390-ccw-virtio", "-cpu", "max"},
		ports:    append([]string{"-chardev", "stdio,id=console", "-device", "sclplmconsole,chardev=console", "-device", "virtio-serial-ccw"}, port...),
		kernel:   "console=ttyS0 report=vport0p1",
		modules:  []string{"virtio_console", "crc32c*"}, // nf_tables asks for a checksum by name
	}, {
		arch: "arm64", meta: "linux-image-cloud-arm64", triplet: "aarch64-linux-gnu",
		emulator: []string{"qemu-system-aarch64", "-M", "virt", "-cpu", "cortex-a72"},
		ports:    append([]string{"-serial", "stdio", "-device", "virtio-serial-pci"}, port...),
		kernel:   "console=ttyAMA0 report=vport0p1",
		modules:  []string{"virtio_console", "crc32c*"},
	}}
}

// chosenPlatform is the processor to test on, by ARCH.
func chosenPlatform() (platform, error) {
	arch := os.Getenv("ARCH")
	var known []string
	for _, p := range platforms() {
		if p.arch == arch || arch == "" {
			return p, nil
		}
		known = append(known, p.arch)
	}
	return platform{}, fmt.Errorf("ARCH=%s: there are machines for %s only", arch, strings.Join(known, ", "))
}

// foreign says whether this machine's tools and packages are for another processor.
func (p platform) foreign() bool { return p.arch != "amd64" && p.arch != "386" }

// find finds a tool for this platform, under the path that it has in its machine.
func (p platform) find(name string) (string, error) {
	if p.root == "" {
		return findTool(name)
	}
	for _, folder := range []string{"/usr/sbin", "/usr/bin"} {
		file := filepath.Join(folder, name)
		if _, err := os.Stat(p.root + file); err == nil {
			return file, nil
		}
	}
	return "", fmt.Errorf("the packages for %s have no %s", p.arch, name)
}

// real follows the symbolic links of a path in the machine, where absolute ones lead
// to the machine's folders.
func (p platform) real(file string) (string, error) {
	root, err := filepath.EvalSymlinks("/" + p.root)
	if err != nil {
		return "", err
	}
	for range 40 { // as many as the kernel follows
		folder, err := filepath.EvalSymlinks(filepath.Join(root, filepath.Dir(file)))
		if err != nil {
			return "", err
		}
		found := filepath.Join(folder, filepath.Base(file))
		file = "/" + strings.TrimPrefix(strings.TrimPrefix(found, root), "/")
		target, err := os.Readlink(found)
		switch {
		case errors.Is(err, syscall.EINVAL): // no link
			return file, nil
		case err != nil:
			return "", err
		case filepath.IsAbs(target):
			file = target
		default:
			file = filepath.Join(filepath.Dir(file), target)
		}
	}
	return "", fmt.Errorf("%s leads round in circles", file)
}

// libraryFolders are where the dynamic linker looks; Debian's are merged with /usr.
func (p platform) libraryFolders() []string {
	return []string{"/usr/lib/" + p.triplet, "/usr/lib"}
}

func (p platform) findLibrary(name string) (string, error) {
	for _, folder := range p.libraryFolders() {
		file := filepath.Join(folder, name)
		if _, err := os.Stat(p.root + file); !errors.Is(err, fs.ErrNotExist) {
			return file, err
		}
	}
	return "", fmt.Errorf("there is no library %s in %s", name, strings.Join(p.libraryFolders(), ", "))
}
