//go:build vm

package vm

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestMachine(t *testing.T) {
	l := newLab(t).on(t, series()[0])
	t.Run("exit code", l.tellsExitCode)
	t.Run("no verdict", l.hasNoVerdict)
}

// A machine that does not say how its command ended is an error that shows the
// end of its console.
func (l lab) hasNoVerdict(t *testing.T) {
	for name, test := range map[string]struct{ command, want, console string }{
		"panic":     {"echo c >/proc/sysrq-trigger", "without a verdict", "Kernel panic"},
		"power off": {"busybox poweroff -f", "without a verdict", ""},
		"hang":      {"echo started; sleep 100000", "stopped", ""},
	} {
		t.Run(name, func(t *testing.T) {
			image := filepath.Join(t.TempDir(), "image")
			file, err := os.Create(image)
			if err != nil {
				t.Fatal(err)
			}
			if err := errors.Join(writeImage(file, l.kernel, l.built, []string{"sh", "-c", test.command}), file.Close()); err != nil {
				t.Fatal(err)
			}
			ctx, stop := context.WithTimeout(l.ctx, 2*time.Minute)
			defer stop()
			_, err = machine{kernel: l.kernel, image: image}.run(ctx, func(line string) {
				if line == "started" {
					stop()
				}
			})
			if err == nil || !strings.Contains(err.Error(), test.want) || !strings.Contains(err.Error(), test.console) {
				t.Errorf("got error: %v\nwant one with %q and %q", err, test.want, test.console)
			}
		})
	}
}

// The command's exit code comes out, with all that it has printed.
func (l lab) tellsExitCode(t *testing.T) {
	var said []string
	code := l.boot(t, func(line string) { said = append(said, line) }, "sh", "-c", "seq 20000; exit 7")
	if code != 7 {
		t.Errorf("exit code %d, want 7", code)
	}
	if len(said) < 20000 || said[0] != "1" || said[19999] != "20000" {
		t.Errorf("%d lines have come out, want 20000", len(said))
	}
}

func TestArchive(t *testing.T) {
	source := filepath.Join(t.TempDir(), "source")
	if err := os.WriteFile(source, []byte("from a file"), 0o750); err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	a := newArchive(&b)
	a.text("/etc/deep/er/text", "hello", 0o600)
	a.file("/bin/program", source)
	a.link("/etc/link", "deep/er/text")
	a.text("/etc/deep/er/text", "again", 0o600) // is there
	if err := a.close(); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	cmd := exec.Command("busybox", "cpio", "-idm")
	cmd.Dir, cmd.Stdin = dir, &b
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("unpack: %v: %s", err, out)
	}
	for name, want := range map[string]string{"etc/deep/er/text": "hello", "bin/program": "from a file", "etc/link": "hello"} {
		if got, err := os.ReadFile(filepath.Join(dir, name)); string(got) != want {
			t.Errorf("%s has %q (%v), want %q", name, got, err, want)
		}
	}
	if info, err := os.Stat(filepath.Join(dir, "bin/program")); err != nil || info.Mode() != 0o750 {
		t.Errorf("bin/program: %v, %v, want mode 0750", info, err)
	}
	missing := newArchive(&b)
	missing.file("/x", source+"-missing")
	if err := missing.close(); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a file that is missing: %v", err)
	}
}

func TestModules(t *testing.T) {
	all := dependencies("kernel/net/ipip.ko: kernel/net/ip_tunnel.ko kernel/net/tunnel4.ko\n" +
		"kernel/net/ip_tunnel.ko:\nkernel/net/tunnel4.ko:\nkernel/net/xt-mark.ko:\nkernel/sound/pcm.ko:\n")
	got := chosenModules(all, []string{"ipip", "xt_*"})
	want := map[string]bool{"ipip": true, "ip_tunnel": true, "tunnel4": true, "xt_mark": true}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

// Since 7.2 a kernel is several packages, of which only those of the same kernel
// count.
func TestPackagesOf(t *testing.T) {
	for name, test := range map[string]struct {
		source source
		image  string
		want   []string
	}{
		"one package": {source{release: "6.1.0-56-cloud-amd64", version: "6.1.192-2"},
			"Package: linux-image-6.1.0-56-cloud-amd64\nDepends: kmod, linux-base (>= 4.3~), initramfs-tools | linux-initramfs-tool\n",
			[]string{"linux-image-6.1.0-56-cloud-amd64=6.1.192-2"}},
		"several": {source{release: "7.2.13+deb14-cloud-amd64", version: "7.2.13-1"},
			"Depends: dracut, linux-base-7.2.13+deb14-cloud-amd64 (= 7.2.13-1), linux-modules-7.2.13+deb14-cloud-amd64 (= 7.2.13-1)\n" +
				"Pre-Depends: linux-base (>= 4.17~)\nDescription: linux-modules-7.2.13+deb14-cloud-amd64 (= 7.2.13-1)\n",
			[]string{"linux-image-7.2.13+deb14-cloud-amd64=7.2.13-1", "linux-base-7.2.13+deb14-cloud-amd64=7.2.13-1",
				"linux-modules-7.2.13+deb14-cloud-amd64=7.2.13-1"}},
	} {
		if got := packagesOf(test.image, test.source); !reflect.DeepEqual(got, test.want) {
			t.Errorf("%s: got %q, want %q", name, got, test.want)
		}
	}
}

func TestOfSeries(t *testing.T) {
	for _, test := range []struct {
		release, series string
		want            bool
	}{
		{"6.1.0-56-cloud-amd64", "6.1", true}, {"6.12.117+deb13-cloud-amd64", "6.1", false},
		{"7.3.4+deb13-cloud-amd64", newest, true}, {"7.3.4+deb13-cloud-amd64", "7.3", true},
	} {
		if got := ofSeries(test.release, test.series); got != test.want {
			t.Errorf("ofSeries(%q, %q) = %t", test.release, test.series, got)
		}
	}
}

func TestTranscript(t *testing.T) {
	var groups []string
	s := newTranscript(func(group []verdict) {
		var words []string
		for _, v := range group {
			words = append(words, fmt.Sprintf("%s %s %q", v.result, v.name, v.log))
		}
		groups = append(groups, strings.Join(words, "; "))
	})
	for line := range strings.Lines(`=== RUN   TestA
=== RUN   TestA/one
    a_test.go:1: hello
=== RUN   TestA/two
    a_test.go:2: no device
--- FAIL: TestA (1.00s)
    --- FAIL: TestA/one (0.50s)
    --- SKIP: TestA/two (0.50s)
=== RUN   TestB
--- PASS: TestB (0.00s)
=== RUN   TestC
panic: oh
`) {
		s.line(strings.TrimSuffix(line, "\n"))
	}
	tests, last := s.unfinished()
	want := []string{
		`FAIL TestA []; FAIL TestA/one ["    a_test.go:1: hello"]; SKIP TestA/two ["    a_test.go:2: no device"]`,
		`PASS TestB []`,
	}
	if !reflect.DeepEqual(groups, want) {
		t.Errorf("got\n%q\nwant\n%q", groups, want)
	}
	if !reflect.DeepEqual(tests, []string{"TestC"}) || !reflect.DeepEqual(last, []string{"panic: oh"}) {
		t.Errorf("unfinished: %q, last lines %q", tests, last)
	}
}

func TestTable(t *testing.T) {
	of := newTable()
	one := of.column("6.1", "6.1.0-56-cloud-amd64", "core")
	one.add([]verdict{{name: "TestA", result: "PASS"}, {name: "TestA/ipip_by_eBPF", result: "PASS"}, {name: "TestA/more/vxlan/again", result: "PASS"}})
	one.add([]verdict{{name: "TestB", result: "SKIP", log: []string{"    b_test.go:1: no such device"}}})
	other := of.column("5.10", "5.10.0-32-cloud-amd64", "bare")
	other.add([]verdict{{name: "TestA", result: "FAIL"}, {name: "TestA/ipip_by_eBPF", result: "FAIL"}, {name: "TestA/vxlan", result: "PASS"}})
	other.add([]verdict{{name: "TestC", result: "PASS"}})
	got := of.String()
	for _, want := range []string{"kernel 5.10 6.1", "part bare core", "TestA FAIL e v", "TestB skip", "TestC pass", "in all: PASS 2 3", "in all: FAIL 2 0",
		"left out on 6.1: TestB: b_test.go:1: no such device"} {
		if !slices.ContainsFunc(strings.Split(got, "\n"), func(line string) bool { return strings.Join(strings.Fields(line), " ") == want }) {
			t.Errorf("no line %q in\n%s", want, got)
		}
	}
}
