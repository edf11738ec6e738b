package image

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"path"
	"runtime"
	"slices"
	"strings"
	"testing"
)

// processors are those that fanatic is released for.
var processors = []string{"386", "amd64", "arm", "arm64", "ppc64le", "s390x"}

// read returns the files of an archive in its order.
func read(t *testing.T, r io.Reader) (headers []*tar.Header, contents map[string]string) {
	t.Helper()
	contents = map[string]string{}
	for archive := tar.NewReader(r); ; {
		h, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return headers, contents
		}
		if err != nil {
			t.Fatal(err)
		}
		content, err := io.ReadAll(archive)
		if err != nil {
			t.Fatal(err)
		}
		headers = append(headers, h)
		contents[h.Name] = string(content)
	}
}

// checkFiles checks that an archive has each file once, each in a folder that is
// there, all of one date and root's, in order.
func checkFiles(t *testing.T, headers []*tar.Header) {
	t.Helper()
	var names []string
	for _, h := range headers {
		if dir := path.Dir(strings.TrimSuffix(h.Name, "/")) + "/"; dir != "./" && !slices.Contains(names, dir) {
			t.Errorf("%s comes before %s", h.Name, dir)
		}
		names = append(names, h.Name)
		if h.ModTime.Unix() != made || h.Uid != 0 || h.Gid != 0 || h.Uname != "" {
			t.Errorf("%s: of %v and user %d %q, group %d", h.Name, h.ModTime, h.Uid, h.Uname, h.Gid)
		}
	}
	if !slices.IsSorted(names) {
		t.Errorf("not sorted: %q", names)
	}
}

func TestDocker(t *testing.T) {
	for _, arch := range processors {
		t.Run(arch, func(t *testing.T) {
			image, err := Docker(arch)
			if err != nil {
				t.Fatal(err)
			}
			if again, err := Docker(arch); err != nil || !bytes.Equal(image, again) {
				t.Errorf("made twice it is not the same (%v)", err)
			}
			headers, contents := read(t, bytes.NewReader(image))
			checkFiles(t, headers)
			checkProgram(t, arch, contents["sbin/init"])
			if len(image) > 100_000 {
				t.Errorf("%d bytes", len(image))
			}
		})
	}
}

func TestLXD(t *testing.T) {
	for arch, want := range map[string]string{"386": "i686", "amd64": "x86_64", "arm": "armv7l", "arm64": "aarch64", "ppc64le": "ppc64le", "s390x": "s390x"} {
		t.Run(arch, func(t *testing.T) {
			image, err := LXD(arch)
			if err != nil {
				t.Fatal(err)
			}
			if again, err := LXD(arch); err != nil || !bytes.Equal(image, again) {
				t.Errorf("made twice it is not the same (%v)", err)
			}
			z, err := gzip.NewReader(bytes.NewReader(image))
			if err != nil {
				t.Fatal(err)
			}
			headers, contents := read(t, z)
			checkFiles(t, headers)
			checkProgram(t, arch, contents["rootfs/sbin/init"])
			if line := "architecture: " + want + "\n"; !strings.HasPrefix(contents["metadata.yaml"], line) {
				t.Errorf("metadata.yaml does not begin with %q:\n%s", line, contents["metadata.yaml"])
			}
			for _, dir := range []string{"dev", "proc", "sys", "tmp", "run", "etc", "var"} {
				if _, there := contents["rootfs/"+dir+"/"]; !there {
					t.Errorf("no folder %s to mount on", dir)
				}
			}
			if len(image) > 100_000 {
				t.Errorf("%d bytes", len(image))
			}
		})
	}
}

// checkProgram reads the program with another reader of ELF files than the kernel.
func checkProgram(t *testing.T, arch, program string) {
	t.Helper()
	f, err := elf.NewFile(strings.NewReader(program))
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]struct {
		machine elf.Machine
		class   elf.Class
		data    elf.Data
	}{
		"386":     {elf.EM_386, elf.ELFCLASS32, elf.ELFDATA2LSB},
		"amd64":   {elf.EM_X86_64, elf.ELFCLASS64, elf.ELFDATA2LSB},
		"arm":     {elf.EM_ARM, elf.ELFCLASS32, elf.ELFDATA2LSB},
		"arm64":   {elf.EM_AARCH64, elf.ELFCLASS64, elf.ELFDATA2LSB},
		"ppc64le": {elf.EM_PPC64, elf.ELFCLASS64, elf.ELFDATA2LSB},
		"s390x":   {elf.EM_S390, elf.ELFCLASS64, elf.ELFDATA2MSB},
	}[arch]
	if f.Type != elf.ET_EXEC || f.Machine != want.machine || f.Class != want.class || f.Data != want.data {
		t.Errorf("the program is %v %v %v %v", f.Type, f.Machine, f.Class, f.Data)
	}
	if len(f.Progs) != 2 || f.Progs[0].Type != elf.PT_LOAD || f.Progs[0].Filesz != uint64(len(program)) ||
		f.Progs[1].Type != elf.PT_GNU_STACK || f.Progs[1].Flags != elf.PF_R|elf.PF_W {
		t.Fatalf("segments: %v", f.Progs)
	}
	if in := f.Entry - f.Progs[0].Vaddr; in >= uint64(len(program)) {
		t.Errorf("it begins at %#x, outside of %d bytes", in, len(program))
	}
}

func TestUnknownProcessor(t *testing.T) {
	want := `make a test container's image: there is none for the processor "riscv64", only for ` + strings.Join(processors, ", ")
	for name, make := range map[string]func(string) ([]byte, error){"Docker": Docker, "LXD": LXD} {
		if _, err := make("riscv64"); fmt.Sprint(err) != want {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// This host's processor, on which the tests run, is one of those.
func TestNativeProcessor(t *testing.T) {
	if _, err := Docker(runtime.GOARCH); err != nil {
		t.Error(err)
	}
}
