package tests

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fanctl/fanctl/internal/host"
	"github.com/fanctl/fanctl/internal/namespace"
	"github.com/fanctl/fanctl/internal/selftest"
	"github.com/fanctl/fanctl/tests/bed"
	"github.com/fanctl/fanctl/tunnel"
)

// recorder keeps what a self-test reports, as the lines that a user would see.
type recorder struct {
	mu      sync.Mutex
	text    strings.Builder
	results []selftest.Result
}

func (r *recorder) locked(do func(selftest.Text)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	do(selftest.Text{Writer: &r.text})
}

func (r *recorder) Start(x selftest.Result) { r.locked(func(t selftest.Text) { t.Start(x) }) }
func (r *recorder) Note(line string)        { r.locked(func(t selftest.Text) { t.Note(line) }) }
func (r *recorder) Done(x selftest.Result) {
	r.locked(func(t selftest.Text) {
		t.Done(x)
		r.results = append(r.results, x)
	})
}

func (r *recorder) String() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.text.String()
}

// done returns the results so far.
func (r *recorder) done() []selftest.Result {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.results)
}

// tester is a host with a container that self-tests can be made from.
type tester struct {
	selftest.Test
	fan  fan
	con  *bed.Container
	told *recorder
}

// newTester prepares a self-test on a fan that is up, with small sizes.
func newTester(t *testing.T, f fan, o bed.ContainerOptions) *tester {
	t.Helper()
	c := f.container(t, o)
	return testerOf(t, f, c)
}

func testerOf(t *testing.T, f fan, c *bed.Container) *tester {
	t.Helper()
	told := &recorder{}
	status := statusOf(t, f)
	x := &tester{fan: f, con: c, told: told, Test: selftest.Test{
		Fan: status.Fan, Host: opened(t, f.host.NS), Container: opened(t, c.NS), Addr: c.Addr,
		Label: "docker", Version: "test", Report: told,
		Counters: func() (tunnel.Counters, error) { return countersIn(f) },
		Effort: selftest.Effort{Long: 2 << 20, Throughput: 200 * time.Millisecond, Wait: 1500 * time.Millisecond, Stall: 2 * time.Second,
			Meeting: 20 * time.Second, Again: 50 * time.Millisecond},
	}}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("%s reported:\n%s", f.host, told)
		}
	})
	return x
}

func opened(t *testing.T, ns *bed.NS) *namespace.Namespace {
	t.Helper()
	n, err := namespace.Open(ns.Path())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(n.Close)
	return n
}

func fansIn(h *bed.Host) (list []host.Status, err error) {
	err = h.Do(func() error {
		here, err := host.Open()
		if err != nil {
			return err
		}
		defer here.Close()
		list, err = here.List()
		return err
	})
	return list, err
}

func statusOf(t *testing.T, f fan) host.Status {
	t.Helper()
	list, err := fansIn(f.host)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range list {
		if s.Fan.Bridge == f.net.Bridge {
			return s
		}
	}
	t.Fatalf("%s has no fan %s", f.host, f.net.Bridge)
	return host.Status{}
}

func countersIn(f fan) (tunnel.Counters, error) {
	list, err := fansIn(f.host)
	if err != nil {
		return tunnel.Counters{}, err
	}
	for _, s := range list {
		if s.Fan.Bridge == f.net.Bridge && s.Counters != nil {
			return *s.Counters, nil
		}
	}
	return tunnel.Counters{}, tunnel.ErrNoCounters
}

// serve has a host answer until the test, or what is returned, ends it.
func (x *tester) serve(t *testing.T) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- x.Serve(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("serve on %s: %v", x.fan.host, err)
		}
	})
	t.Cleanup(stop)
	if !eventually(func() bool { return strings.Contains(x.told.String(), "waiting for other hosts") }) {
		t.Fatalf("%s does not serve", x.fan.host)
	}
	return stop
}

// duel is two hosts with a container each.
type duel struct {
	bed  *bed.Bed
	fans []fan
	a, b *tester
}

func newDuel(t *testing.T, p path, o bed.Options) duel {
	t.Helper()
	b := bed.New(t, o)
	fans := upAll(t, b, p, overlay)
	var c bed.ContainerOptions
	if p.kind == "vxlan" {
		c.Bits = fans[0].net.Overlay.Bits() // one flat network (design.md 4)
	}
	return duel{b, fans, newTester(t, fans[0], c), newTester(t, fans[1], c)}
}

// against runs a test from the first host to the second, which serves.
func (d duel) against(t *testing.T) selftest.Outcome {
	t.Helper()
	d.b.serve(t)
	o, err := d.a.Against(context.Background(), d.b.Fan.Host)
	if err != nil {
		t.Fatalf("test with %s: %v", d.b.fan.host, err)
	}
	return o
}

func lineOf(verdicts string, side, test string) string {
	for line := range strings.Lines(verdicts) {
		if strings.HasPrefix(line, fmt.Sprintf("test %s: %s test", side, test)) && (strings.Contains(line, "... PASS") || strings.Contains(line, "... FAIL")) {
			return strings.TrimSpace(line)
		}
	}
	return ""
}
