//go:build vm

package vm

import (
	"encoding/json"
	"os"
	"slices"
	"strings"
	"testing"
)

// smoke asks what the kernel can do, makes a fan on a host that has never heard of
// ipip, and shows it. The module must come by itself.
const smoke = `
set -e
ip link add eth0 type veth peer name far
ip addr add 10.0.0.11/16 dev eth0
ip link set eth0 up
if grep ^ipip /proc/modules >&2; then exit 1; fi
fanctl up -u 10.0.0.0/16 -o 250.0.0.0/8 >&2
if grep -q ^ipip /proc/modules; then echo loaded ipip; fi
fanctl show --json | tr -d '\n'
fanctl down -u 10.0.0.0/16 -o 250.0.0.0/8 >/dev/null
fanctl features --json
`

// pageFile is the page that is true of all kernels.
const pageFile = "../../docs/kernels.md"

// A fan of type ipip is built with the kernel's ipip device where there is one, and
// by eBPF alone where there is none. What each kernel can do stands in docs.
func TestSmoke(t *testing.T) {
	l := newLab(t)
	all := make([]found, len(series()))
	t.Run("all", func(t *testing.T) {
		for i, series := range series() {
			t.Run(series, func(t *testing.T) {
				t.Parallel()
				l := l.on(t, series)
				all[i] = found{series: series, whole: l.smoke(t, "device")}
				l.kernel.withheld = "ipip"
				all[i].withheld = l.smoke(t, "ebpf")
			})
		}
	})
	if t.Failed() || len(all) < len(defaultSeries()) {
		return
	}
	slices.SortFunc(all, func(a, b found) int { return slices.Index(order(), a.series) - slices.Index(order(), b.series) })
	got := page(all)
	if os.Getenv("UPDATE") != "" {
		if err := os.WriteFile(pageFile, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(pageFile)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(lasting(got), lasting(string(want))) {
		t.Errorf("%s is not true (make kernels writes it anew):\n%s", pageFile, got)
	}
	t.Log(got)
}

// order is that of the page.
func order() []string { return []string{"5.10", "6.1", "6.12", newest} }

func (l lab) smoke(t *testing.T, want string) report {
	t.Helper()
	var said []string
	code := l.boot(t, func(line string) { said = append(said, line) }, "sh", "-c", smoke)
	all := strings.Join(said, "\n")
	if code != 0 {
		t.Fatalf("exit code %d:\n%s", code, all)
	}
	if loaded := strings.Contains(all, "loaded ipip"); loaded != (want == "device") {
		t.Errorf("fanctl up has loaded the ipip module: %t:\n%s", loaded, all)
	}
	var shown struct {
		Fans []struct{ Type, Datapath string }
	}
	var r report
	answers := json.NewDecoder(strings.NewReader(all[strings.Index(all+"{", "{"):]))
	for _, a := range []any{&shown, &r} {
		if err := answers.Decode(a); err != nil {
			t.Fatalf("read what fanctl says: %v:\n%s", err, all)
		}
	}
	if len(shown.Fans) != 1 || shown.Fans[0].Type != "ipip" || shown.Fans[0].Datapath != want {
		t.Errorf("fanctl show --json: %+v, want one fan of type ipip with the datapath %s", shown.Fans, want)
	}
	if !strings.HasPrefix(r.path("ipip"), want+":") {
		t.Errorf("fanctl features says that up would take %q, but it has taken %s", r.path("ipip"), want)
	}
	return r
}
