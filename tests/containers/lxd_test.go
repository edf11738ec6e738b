//go:build containers

package containers

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/fanctl/fanctl/fan"
	"github.com/fanctl/fanctl/internal/lxd"
	"github.com/fanctl/fanctl/internal/plan"
	"github.com/fanctl/fanctl/tests/bed"
	"github.com/fanctl/fanctl/tests/bed/engine"
)

// lxdHost is a host with LXD or Incus and a fan, on which package lxd is tried without
// fanatic.
type lxdHost struct {
	*engine.LXD
	host *bed.Host
	fan  fan.Fan
}

func TestProfilesOfLXD(t *testing.T) {
	t.Parallel()
	h := oneHost(t)
	tryProfiles(t, &lxdHost{LXD: engine.StartLXD(t, h), host: h}, lxd.LXD)
}

func TestProfilesOfIncus(t *testing.T) {
	t.Parallel()
	h := oneHost(t)
	tryProfiles(t, &lxdHost{LXD: engine.StartIncus(t, h), host: h}, lxd.Incus)
}

func tryProfiles(t *testing.T, l *lxdHost, kind lxd.Kind) {
	l.host.MustFanctl(t, "up", "-u", "10.0.0.0/16", "-o", "250", "--type", "ipip")
	shown := l.host.ShowOf(t, "fan-250")
	mapping, err := fan.NewMapping(netip.MustParsePrefix(shown.Underlay), netip.MustParsePrefix(shown.Overlay))
	if err != nil {
		t.Fatal(err)
	}
	l.fan = fan.Fan{Mapping: mapping, Host: l.host.Addr, Device: shown.Device, Type: fan.IPIP, Bridge: shown.Bridge, MTU: fan.MTU(shown.MTU)}
	l.Busybox(t)
	l.with(t, func(s *lxd.Server) error {
		t.Logf("%s %s", s.Kind(), s.Version())
		if s.Kind() != kind || s.Socket() != l.Socket || s.Version() == "" {
			return fmt.Errorf("found %s %q at %s", s.Kind(), s.Version(), s.Socket())
		}
		return nil
	})
	for _, test := range []struct {
		name string
		try  func(*testing.T, *lxdHost)
		both bool // with Incus, too, even without FANCTL_EVERY_STEP
	}{
		{"on and off", tryOnOff, true},
		{"another MTU", tryOtherMTU, false},
		{"default profile", tryDefault, false},
		{"default profile changed since", tryDefaultChanged, false},
		{"default profile with another eth0", tryDefaultTaken, false},
		{"default profile of another fan", tryDefaultElsewhere, false},
		{"running container", tryDefaultRunning, false},
		{"profile of somebody else", tryForeignProfile, false},
		{"in use", tryInUse, false},
		{"killed", tryKilledSteps, false},
		{"launch", tryLaunch, true},
		{"launch cancelled", tryLaunchCancelled, false},
		{"launch killed", tryLaunchKilled, false},
		{"launch fails", tryLaunchFails, false},
		{"instance of somebody else", tryForeignInstance, false},
		{"sockets", trySockets, false},
	} {
		if kind == lxd.Incus && !test.both && os.Getenv(everyStep) == "" {
			t.Logf("%s: with LXD only, unless %s is set", test.name, everyStep)
			continue
		}
		if !t.Run(test.name, func(t *testing.T) {
			before := l.dump(t)
			test.try(t, l)
			l.check(t, "afterwards", before)
		}) {
			return // what it has left would be in the way of the next
		}
	}
}

// with runs fn with the daemon that Find finds on the host.
func (l *lxdHost) with(t *testing.T, fn func(*lxd.Server) error) {
	t.Helper()
	err := l.host.Do(func() error {
		servers, err := lxd.Find(context.Background(), lxd.Options{Sockets: []string{l.Socket}})
		if err != nil || len(servers) != 1 {
			return fmt.Errorf("found %d daemons: %w", len(servers), err)
		}
		defer servers[0].Close()
		return fn(servers[0])
	})
	if err != nil {
		t.Fatal(err)
	}
}

// plan returns the plan for a wired or unwired default profile.
func (l *lxdHost) plan(t *testing.T, byDefault bool) (p plan.Plan) {
	t.Helper()
	l.with(t, func(s *lxd.Server) (err error) { p, err = s.Plan(context.Background(), l.fan, byDefault); return err })
	return p
}

func (l *lxdHost) away(t *testing.T, force bool) (p plan.Plan) {
	t.Helper()
	l.with(t, func(s *lxd.Server) (err error) {
		p, err = s.PlanAway(context.Background(), l.fan.Bridge, force)
		return err
	})
	return p
}

// on applies Plan, and checks that a second one has nothing to do.
func (l *lxdHost) on(t *testing.T, byDefault bool) {
	t.Helper()
	p := l.plan(t, byDefault)
	if len(p) == 0 {
		t.Error("nothing to do")
	}
	apply(t, p)
	if again := l.plan(t, byDefault); len(again) != 0 {
		t.Errorf("done twice: %v", again)
	}
}

// off applies PlanAway, and checks that a second one has nothing to do.
func (l *lxdHost) off(t *testing.T, force bool) {
	t.Helper()
	apply(t, l.away(t, force))
	if again := l.away(t, force); len(again) != 0 {
		t.Errorf("done twice: %v", again)
	}
}

func apply(t *testing.T, p plan.Plan) {
	t.Helper()
	err := p.Apply(func(_ int, s plan.Step) error { t.Log(s); return nil })
	if err != nil {
		t.Fatal(err)
	}
}

var errEnough = errors.New("enough")

// undone applies a plan whose last step fails after it was done.
func undone(t *testing.T, p plan.Plan) {
	t.Helper()
	err := p.Apply(func(i int, _ plan.Step) error {
		if i == len(p)-1 {
			return errEnough
		}
		return nil
	})
	if !errors.Is(err, errEnough) || strings.Contains(err.Error(), "undo") {
		t.Errorf("undo: %v", err)
	}
}

func (l *lxdHost) status(t *testing.T) (status lxd.Status) {
	t.Helper()
	l.with(t, func(s *lxd.Server) (err error) {
		status, err = s.Status(context.Background(), l.fan.Bridge)
		return err
	})
	return status
}

// dump is all of the daemon that package lxd may touch, without dates of last use.
func (l *lxdHost) dump(t *testing.T) string {
	t.Helper()
	var b strings.Builder
	for _, path := range []string{"profiles", "images", "instances", "storage-pools/p/volumes"} {
		for line := range strings.Lines(l.MustCLI(t, "query", "/1.0/"+path+"?recursion=1")) {
			if !strings.Contains(line, `"last_used_at"`) {
				b.WriteString(line)
			}
		}
	}
	return b.String()
}

func (l *lxdHost) check(t *testing.T, what, before string) {
	t.Helper()
	if diff := bed.Diff(before, l.dump(t)); diff != "" {
		t.Errorf("%s not as before:\n%s", what, diff)
	}
}

func tryOnOff(t *testing.T, l *lxdHost) {
	before := l.dump(t)
	if p := l.away(t, false); len(p) != 0 {
		t.Errorf("of nothing: %v", p)
	}
	undone(t, l.plan(t, false))
	l.check(t, "after undo", before)
	l.on(t, false)
	for key, want := range map[string]string{"nictype": "bridged", "parent": "fan-250", "mtu": fmt.Sprint(int(l.fan.MTU)), "name": "eth0"} {
		if got := l.MustCLI(t, "profile", "device", "get", "fan-250", "eth0", key); got != want {
			t.Errorf("%s is %q, want %q", key, got, want)
		}
	}
	if got := l.MustCLI(t, "profile", "get", "fan-250", "user.profile_autoconfig"); got != "fanatic" {
		t.Errorf("the mark is %q", got)
	}
	if s := l.status(t); !s.Enabled || s.InDefault || len(s.Users) != 0 {
		t.Errorf("status %+v", s)
	}
	l.with(t, func(s *lxd.Server) error {
		if bridges, err := s.Bridges(context.Background()); err != nil || fmt.Sprint(bridges) != "[fan-250]" {
			t.Errorf("bridges %v (%v)", bridges, err)
		}
		return nil
	})
	wired := l.dump(t)
	undone(t, l.away(t, false))
	l.check(t, "after undo of away", wired)
	l.off(t, false)
	if s := l.status(t); s.Enabled {
		t.Errorf("status %+v", s)
	}
}

// The original's profile is ours, and gets the MTU that this fan has. What somebody has
// added to it stays.
func tryOtherMTU(t *testing.T, l *lxdHost) {
	l.MustCLI(t, "profile", "create", "fan-250")
	l.MustCLI(t, "profile", "set", "fan-250", "user.profile_autoconfig", "fanatic")
	l.MustCLI(t, "profile", "set", "fan-250", "limits.processes", "100")
	l.MustCLI(t, "profile", "device", "add", "fan-250", "eth0", "nic", "nictype=bridged", "parent=fan-250", "mtu=1450", "name=eth0", "security.mac_filtering=true")
	before := l.dump(t)
	undone(t, l.plan(t, false))
	l.check(t, "after undo", before)
	l.on(t, false)
	if diff := bed.Diff(strings.ReplaceAll(before, `"1450"`, fmt.Sprintf("%q", fmt.Sprint(int(l.fan.MTU)))), l.dump(t)); diff != "" {
		t.Errorf("more than the MTU has changed:\n%s", diff)
	}
	l.off(t, false)
}

// A program that is killed after any step leaves what PlanAway puts back.
func tryKilledSteps(t *testing.T, l *lxdHost) {
	l.MustCLI(t, "profile", "device", "add", "default", "eth0", "nic", "nictype=bridged", "parent=elsewhere", "name=eth0")
	defer l.MustCLI(t, "profile", "device", "remove", "default", "eth0")
	before := l.dump(t)
	for steps := 1; ; steps++ {
		p := l.plan(t, true)
		if steps > len(p) {
			break
		}
		apply(t, p[:steps])
		l.off(t, false)
		l.check(t, fmt.Sprintf("killed after step %d", steps), before)
	}
	for steps := 1; ; steps++ {
		l.on(t, true)
		p := l.away(t, false)
		if steps > len(p) {
			break
		}
		apply(t, p[:steps])
		l.off(t, false)
		l.check(t, fmt.Sprintf("killed after step %d of the way back", steps), before)
	}
	l.off(t, false)
}

// checkCard checks that a container's eth0 is on the fan bridge, with the fan's MTU.
func checkCard(t *testing.T, l *lxdHost, ns *bed.NS) {
	t.Helper()
	d := ns.Device(t, "eth0")
	if d.MTU != int(l.fan.MTU) {
		t.Errorf("eth0 has an MTU of %d, want %d", d.MTU, int(l.fan.MTU))
	}
	_, after, _ := strings.Cut(ns.Must(t, "ip", "-oneline", "link", "show", "eth0"), "@if")
	peer, _, _ := strings.Cut(after, ":")
	ports := l.host.Must(t, "ip", "-oneline", "link", "show", "master", l.fan.Bridge)
	if peer == "" || !strings.Contains("\n"+ports, "\n"+peer+": ") {
		t.Errorf("the other end of eth0, %q, is not at the bridge:\n%s", peer, ports)
	}
}

func trySockets(t *testing.T, l *lxdHost) {
	dir := t.TempDir()
	other := filepath.Join(dir, "other")
	if err := os.Symlink(l.Socket, other); err != nil {
		t.Fatal(err)
	}
	find := func(sockets ...string) (n int, err error) {
		servers, err := lxd.Find(context.Background(), lxd.Options{Sockets: sockets})
		for _, s := range servers {
			s.Close()
		}
		return len(servers), err
	}
	err := l.host.Do(func() error {
		if n, err := find(other, l.Socket, filepath.Join(dir, "absent")); n != 1 || err != nil {
			t.Errorf("found %d of one: %v", n, err)
		}
		if n, err := find(filepath.Join(dir, "absent")); n != 0 || err != nil {
			t.Errorf("found %d of none: %v", n, err)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	if n, err := find(l.Socket); n != 0 || err == nil || !strings.Contains(err.Error(), "another network namespace") {
		t.Errorf("found %d on another host: %v", n, err)
	}
}
