package sysctl

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/fanctl/fanctl/internal/plan"
)

// inNamespace moves the test's goroutine into a network namespace that ends with
// it: its thread is locked and is never used again.
func inNamespace(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root: makes a network namespace")
	}
	runtime.LockOSThread()
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		t.Fatal(err)
	}
}

func text(p plan.Plan) string {
	var lines []string
	for _, s := range p {
		lines = append(lines, s.Text)
	}
	return strings.Join(lines, "\n")
}

func TestDiff(t *testing.T) {
	settings := []Setting{{Path: "net/a", Value: "1"}, {Path: "net/b", Value: "0"}, {Path: "net/c", Value: "1", Optional: true}}
	tests := []struct {
		name string
		now  Values
		want string
	}{
		{"nothing there yet", nil, "sysctl -w net/a=1\nsysctl -w net/b=0\nsysctl -w net/c=1"},
		{"one differs", Values{"net/a": "1", "net/b": "1", "net/c": "1"}, "sysctl -w net/b=0"},
		{"all there", Values{"net/a": "1", "net/b": "0", "net/c": "1"}, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := text(Diff(settings, tt.now)); got != tt.want {
				t.Errorf("plan is\n%s\nwant\n%s", got, tt.want)
			}
		})
	}
}

// TestDots checks that a device's name may have dots, which sysctl(8) reads as
// slashes in other places.
func TestDots(t *testing.T) {
	inNamespace(t)
	if out, err := exec.Command("ip", "link", "add", "a.b.5", "type", "veth", "peer", "name", "p").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	settings := []Setting{{Path: "net/ipv4/conf/a.b.5/rp_filter", Value: "2"}, {Path: "net/ipv4/conf/a.b.5/proxy_arp", Value: "1"}}
	if err := Plan(settings).Apply(nil); err != nil {
		t.Fatal(err)
	}
	for _, s := range settings {
		if got, err := Read(s.Path); err != nil || got != s.Value {
			t.Errorf("%s is %q, %v", s.Path, got, err)
		}
	}
	if p := Plan(settings); len(p) != 0 {
		t.Errorf("there is still to do:\n%s", text(p))
	}
	words := strings.Fields(text(Diff(settings[:1], nil)))
	if out, err := exec.Command(words[0], words[1:]...).CombinedOutput(); err != nil {
		t.Errorf("%s can't be typed: %v: %s", words, err, out)
	}
}

func TestUndo(t *testing.T) {
	inNamespace(t)
	const path = "net/ipv4/conf/lo/rp_filter"
	before, err := Read(path)
	if err != nil {
		t.Fatal(err)
	}
	injected := errors.New("injected")
	p := plan.Plan{Step(Setting{Path: path, Value: "2"}), Step(Setting{Path: path, Value: "1"})}
	err = p.Apply(func(i int, _ plan.Step) error {
		if i == 1 {
			return injected
		}
		return nil
	})
	if !errors.Is(err, injected) {
		t.Errorf("error is %v, want the injected one", err)
	}
	if now, err := Read(path); err != nil || now != before {
		t.Errorf("%s is %q, %v; want %q", path, now, err, before)
	}
}

func TestMissing(t *testing.T) {
	inNamespace(t)
	const path = "net/ipv4/conf/no-such-device/rp_filter"
	if err := Step(Setting{Path: path, Value: "1"}).Do(); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("error is %v, want fs.ErrNotExist", err)
	}
	if err := Step(Setting{Path: path, Value: "1", Optional: true}).Do(); err != nil {
		t.Errorf("optional setting: %v", err)
	}
	for _, path := range []string{"net/no-such-protocol/conf/lo/x", "net/ipv4/conf/no-such-device/x"} {
		if p := Plan([]Setting{{Path: path, Value: "1", Optional: true}}); len(p) != 0 {
			t.Errorf("optional setting that the kernel does not have is planned:\n%s", text(p))
		}
	}
}
