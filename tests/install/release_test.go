//go:build install

package install

import (
	"crypto/sha256"
	"debug/elf"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
)

// source copies the source, without git, into a folder.
func source(t *testing.T, to string) {
	t.Helper()
	for _, name := range []string{"Makefile", "README.md", "LICENSE", "go.mod", "go.sum", "cmd", "bridge", "docs", "fan", "ifupdown", "internal", "tunnel"} {
		command(t, nil, "cp", "-r", filepath.Join("../..", name), to)
	}
}

func command(t *testing.T, env []string, args ...string) string {
	t.Helper()
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Env = append(os.Environ(), env...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%q: %v\n%s", args, err, out)
	}
	return string(out)
}

// sums returns the checksum of each file of a folder.
func sums(t *testing.T, dir string) map[string]string {
	t.Helper()
	files, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	of := map[string]string{}
	for _, f := range files {
		text, err := os.ReadFile(filepath.Join(dir, f.Name()))
		if err != nil {
			t.Fatal(err)
		}
		of[f.Name()] = fmt.Sprintf("%x", sha256.Sum256(text))
	}
	return of
}

// processors are what a release is for: as Go, Debian and ELF call them.
var processors = []struct {
	name, debian string
	machine      elf.Machine
}{
	{"386", "i386", elf.EM_386}, {"amd64", "amd64", elf.EM_X86_64}, {"arm", "armhf", elf.EM_ARM},
	{"arm64", "arm64", elf.EM_AARCH64}, {"ppc64le", "ppc64el", elf.EM_PPC64}, {"s390x", "s390x", elf.EM_S390},
}

// A release has static programs and a package with them for each processor. It is the
// same bytes from another folder, with another umask and other settings of Go (for two
// processors of different byte order), and so is a program by a compiler that has kept
// nothing; without git.
func TestRelease(t *testing.T) {
	const program = "_1.2.3_linux_"
	of := []string{"VERSION=1.2.3", "SOURCE_DATE_EPOCH=1700000000"}
	others := append(slices.Clone(of), "TZ=Asia/Tokyo", "LC_ALL=C", "GOAMD64=v3", "GOARM=7", "GOFLAGS=-buildvcs=true", "PROCESSORS=amd64 s390x")
	one, two := filepath.Join(t.TempDir(), "source"), filepath.Join(t.TempDir(), "deeper", "fan")
	command(t, nil, "mkdir", "-p", one, two)
	source(t, one)
	command(t, nil, "cp", "-r", one+"/.", two) // without the dates of the files
	command(t, of, "make", "-C", one, "release")
	command(t, others, "sh", "-c", `umask 077 && exec make -C "$0" release`, two)

	first, second := sums(t, filepath.Join(one, "dist")), sums(t, filepath.Join(two, "dist"))
	delete(second, "SHA256SUMS") // of another number of files
	for name, sum := range second {
		if first[name] != sum {
			t.Errorf("%s is %s, and the second time %s", name, first[name], sum)
		}
	}
	if len(second) != 2*3 {
		t.Errorf("for two processors there are %d files: %v", len(second), second)
	}
	command(t, nil, "sh", "-ec", `cd "$0/dist" && sha256sum --check --strict SHA256SUMS`, one)
	want := []string{"SHA256SUMS"}
	for _, p := range processors {
		debian := "fanctl_1.2.3_" + p.debian + ".deb"
		want = append(want, debian)
		for _, name := range []string{"fanctl", "fanatic"} {
			released := name + program + p.name
			want = append(want, released)
			checkStatic(t, filepath.Join(one, "dist", released), p.machine)
			packed := command(t, nil, "sh", "-c", `dpkg-deb --fsys-tarfile "$0" | tar -xO "./usr/sbin/$1" | sha256sum`, filepath.Join(one, "dist", debian), name)
			if !strings.HasPrefix(packed, first[released]) {
				t.Errorf("%s has another %s", debian, name)
			}
		}
	}
	slices.Sort(want)
	if got := slices.Sorted(maps.Keys(first)); !slices.Equal(got, want) {
		t.Errorf("a release has %q, want %q", got, want)
	}

	afresh := filepath.Join(t.TempDir(), "out")
	command(t, append(slices.Clone(of), "GOCACHE="+t.TempDir()), "make", "-C", two, "build", "PROGRAMS=fanctl", "BIN="+afresh)
	for name, sum := range sums(t, afresh) {
		if native := name + program + runtime.GOARCH; sum != first[native] {
			t.Errorf("compiled afresh, %s is another", native)
		}
	}
}

func checkStatic(t *testing.T, program string, machine elf.Machine) {
	t.Helper()
	file, err := elf.Open(program)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if file.Machine != machine {
		t.Errorf("%s is for %s", program, file.Machine)
	}
	for _, p := range file.Progs {
		if p.Type == elf.PT_INTERP || p.Type == elf.PT_DYNAMIC {
			t.Errorf("%s is not static: it has %s", program, p.Type)
		}
	}
}

// The version is that of the tag, or says how far behind it the source is, and is
// known in a tarball, too.
func TestVersion(t *testing.T) {
	dir := t.TempDir()
	source(t, dir)
	command(t, nil, "cp", "../../.gitattributes", dir)
	git := func(args ...string) string {
		const date = "2023-11-14T22:13:20Z"
		return command(t, []string{"GIT_COMMITTER_DATE=" + date, "GIT_AUTHOR_DATE=" + date, "GIT_CONFIG_GLOBAL=/dev/null"},
			append([]string{"git", "-C", dir, "-c", "user.name=x", "-c", "user.email=x@example.com", "-c", "safe.directory=*"}, args...)...)
	}
	version := func(of string, args ...string) string {
		return strings.TrimSpace(command(t, []string{"GIT_CONFIG_COUNT=1", "GIT_CONFIG_KEY_0=safe.directory", "GIT_CONFIG_VALUE_0=*"},
			append([]string{"sh", filepath.Join(of, "ifupdown/package/version.sh")}, args...)...))
	}
	if got := version(dir); got != "0.0.0+unknown" {
		t.Errorf("without git: %s", got)
	}
	git("init", "-q")
	git("add", ".")
	git("commit", "-qm", "first")
	for _, step := range []struct{ do, want string }{
		{"tag other", "0.0.0+20231114221320.HASH"},
		{"tag v1.2.3-rc.1", "1.2.3~rc.1"},
		{"commit -q --allow-empty -m second", "1.2.3~rc.1+1.gHASH"},
		{"tag v1.2.3", "1.2.3"},
	} {
		git(strings.Fields(step.do)...)
		want := strings.Replace(step.want, "HASH", strings.TrimSpace(git("rev-parse", "--short=12", "HEAD")), 1)
		tarball := t.TempDir()
		command(t, nil, "sh", "-ec", `git -c safe.directory="*" -C "$0" archive HEAD ifupdown | tar -x -C "$1"`, dir, tarball)
		for where, of := range map[string]string{"a clone": dir, "a tarball": tarball} {
			if got := version(of); got != want {
				t.Errorf("in %s, after git %s: %s, want %s", where, step.do, got, want)
			}
			if got := version(of, "date"); got != "1700000000" {
				t.Errorf("in %s, the date is %s", where, got)
			}
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "Makefile"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if got := version(dir); got != "1.2.3+dirty" {
		t.Errorf("with changes: %s", got)
	}
}
