//go:build containers

package containers

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/fanctl/fanctl/fan"
	"github.com/fanctl/fanctl/internal/docker"
	"github.com/fanctl/fanctl/internal/image"
	"github.com/fanctl/fanctl/internal/plan"
	"github.com/fanctl/fanctl/tests/bed/engine"
)

// Both modes, on both generations and by both types, let containers reach the world
// and be reached, and go without a trace.
func TestDockerOnAndOff(t *testing.T) {
	t.Parallel()
	for name, start := range generations() {
		for _, kind := range []fan.Type{fan.IPIP, fan.VXLAN} {
			if kind == fan.VXLAN && name == "Docker 20" && os.Getenv(everyStep) == "" {
				continue // the type concerns the filters of the newer one
			}
			t.Run(name+" "+kind.String(), func(t *testing.T) {
				t.Parallel()
				h := newDockerHost(t, start, kind, "{\r\n\t\"debug\": false,\r\n\t\"ipv6\": false\r\n}")
				world := h.bed.World.Serve(t, h.bed.WorldAddr)
				before := h.state(t)
				for _, mode := range []docker.Mode{docker.Network, docker.Default} {
					h.must(t, h.to(mode))
					if s := h.status(t); s.Mode != mode || len(s.Users) > 0 {
						t.Errorf("the status is %+v, want mode %s and no users", s, mode)
					}
					h.works(t, mode, world)
					c := h.must(t, away(false))
					if c.Restart != (mode == docker.Default) {
						t.Errorf("mode %s is taken away with restart %v", mode, c.Restart)
					}
					h.asBefore(t, before, fmt.Sprintf("mode %s on and off", mode))
				}
				if kind == fan.VXLAN {
					return // what follows has nothing to do with the type
				}
				for _, mode := range []docker.Mode{docker.Network, docker.Default, docker.Network, docker.Off} {
					h.must(t, h.to(mode))
				}
				h.asBefore(t, before, "from mode to mode")
			})
		}
	}
}

// works tries containers on the fan and beside it, and removes them.
func (h *dockerHost) works(t *testing.T, mode docker.Mode, world netip.AddrPort) {
	t.Helper()
	var onFan []string
	if mode == docker.Network {
		onFan = []string{"--network", bridge}
	}
	a := h.engine.Run(t, "one", append(onFan, "--publish", "8080:7777")...)
	h.engine.MustDocker(t, "network", "create", "beside")
	u := h.engine.Run(t, "two", "--network", "beside")
	addr := eth0(t, a)
	if first, last := h.fan.Leases(); addr.Compare(first) >= 0 && addr.Compare(last) <= 0 {
		t.Errorf("mode %s: the container has %s, which DHCP may hand out", mode, addr)
	}
	if mtu := a.Device(t, "eth0").MTU; mtu != int(h.fan.MTU) {
		t.Errorf("mode %s: the container's MTU is %d, the fan's is %d", mode, mtu, h.fan.MTU)
	}
	a.Serve(t, addr)
	for _, c := range []*engine.Container{a, u} {
		if seen, err := c.SeenBy("tcp4", world); err != nil || seen != h.Addr {
			t.Errorf("mode %s: the world sees container %s as %v (%v), not as its host", mode, c.Name, seen, err)
		}
	}
	if _, err := h.bed.World.SeenBy("tcp4", netip.AddrPortFrom(h.Addr, 8080)); err != nil {
		t.Errorf("mode %s: a published port does not answer: %v", mode, err)
	}
	if s := h.status(t); !slices.Equal(s.Users, []string{"one"}) {
		t.Errorf("mode %s: the users are %q", mode, s.Users)
	}
	var inUse *docker.InUseError
	if _, err := h.apply(away(false), nil); !errors.As(err, &inUse) || !slices.Equal(inUse.Users, []string{"one"}) {
		t.Errorf("mode %s: taking a fan away that container one uses: %v", mode, err)
	}
	h.engine.MustDocker(t, "rm", "--force", "one", "two")
	h.engine.MustDocker(t, "network", "rm", "beside")
}

// A daemon that does not come up with the new configuration runs with the old one
// again.
func TestDockerRefusesRestart(t *testing.T) {
	t.Parallel()
	for name, start := range generations() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newDockerHost(t, start, fan.IPIP, `{"debug": false}`)
			before := h.state(t)
			// What the programs do to the new configuration, somebody else could do.
			change := "#!/bin/sh\nif grep -q fan-250 " + h.engine.ConfigFile + "; then sed -i '%s' " + h.engine.ConfigFile + "; fi; exec " + h.engine.RestartProgram + "\n"
			for what, program := range map[string]string{
				"a restart that does nothing but fail":         "#!/bin/sh\nexit 1\n",
				"a daemon that comes up with something else":   fmt.Sprintf(change, `s/"bridge": "fan-250", "fixed-cidr": [^,]*, //`),
				"a daemon that does not take the new settings": fmt.Sprintf(change, `s/"fixed-cidr": "/&9/`),
			} {
				path := filepath.Join(t.TempDir(), "restart")
				if err := os.WriteFile(path, []byte(program), 0o755); err != nil {
					t.Fatal(err)
				}
				h.restart = []string{path}
				_, err := h.apply(h.to(docker.Default), nil)
				if err == nil {
					t.Errorf("%s: no error", what)
				}
				t.Logf("%s: %.200s", what, fmt.Sprint(err))
				h.asBefore(t, before, what)
			}
		})
	}
}

var errStep = errors.New("this step is to fail")

// everyStep has TestDockerEachStep try every step of both modes on both generations,
// which takes minutes.
const everyStep = "FANCTL_EVERY_STEP"

// Whichever step fails, all of the plan is undone; whichever step was the last of a
// run that was killed, PlanAway brings everything back.
func TestDockerEachStep(t *testing.T) {
	t.Parallel()
	modes := []docker.Mode{docker.Default}
	all := os.Getenv(everyStep) != ""
	if all {
		modes = []docker.Mode{docker.Network, docker.Default}
	}
	for name, start := range generations() {
		if !all && name != "Docker 28" {
			continue
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newDockerHost(t, start, fan.IPIP, "{\n    \"mtu\": 1400\n}\n")
			before := h.state(t)
			for _, mode := range modes {
				for _, i := range h.someSteps(t, h.to(mode), all) {
					c, err := h.apply(h.to(mode), func(index int, _ plan.Step) error {
						if index == i {
							return errStep
						}
						return nil
					})
					if !errors.Is(err, errStep) {
						t.Fatalf("mode %s, step %d fails: %v", mode, i, err)
					}
					h.asBefore(t, before, fmt.Sprintf("mode %s, %q failed", mode, c.Plan[i].Text))
					h.partly(t, h.to(mode), i)
					h.must(t, away(false))
					h.asBefore(t, before, fmt.Sprintf("mode %s, killed after %q", mode, c.Plan[i].Text))
				}
				h.must(t, h.to(mode))
				for _, i := range h.someSteps(t, away(false), all) {
					h.must(t, h.to(mode))
					c := h.partly(t, away(false), i)
					h.must(t, away(false))
					h.asBefore(t, before, fmt.Sprintf("mode %s taken away, killed after %q", mode, c.Plan[i].Text))
				}
			}
		})
	}
}

// someSteps returns the indices of the steps of a plan to try: the first, the restart
// and the last, or all of them.
func (h *dockerHost) someSteps(t *testing.T, p planned, all bool) (list []int) {
	t.Helper()
	var c docker.Change
	err := h.with(func(ctx context.Context, d *docker.Daemon) (err error) {
		c, err = p(ctx, d)
		return err
	})
	if err != nil || len(c.Plan) == 0 {
		t.Fatalf("%s: %v, with %d steps", h, err, len(c.Plan))
	}
	for i, s := range c.Plan {
		if all || i == 0 || i == len(c.Plan)-1 || s.Text == h.engine.RestartProgram {
			list = append(list, i)
		}
	}
	return list
}

// partly does the steps up to one and then stops, as if killed.
func (h *dockerHost) partly(t *testing.T, p planned, last int) (c docker.Change) {
	t.Helper()
	err := h.with(func(ctx context.Context, d *docker.Daemon) (err error) {
		if c, err = p(ctx, d); err != nil {
			return err
		}
		return c.Plan[:last+1].Apply(nil)
	})
	if err != nil {
		t.Fatalf("%s: %v", h, err)
	}
	return c
}

// With force, containers lose the fan, in both modes, and over live-restore too.
func TestDockerForce(t *testing.T) {
	t.Parallel()
	for name, start := range generations() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newDockerHost(t, start, fan.IPIP, `{"live-restore": true}`)
			// Docker's bridge gets an IPv6 address with its first port, and keeps it.
			h.engine.Run(t, "zero")
			h.engine.MustDocker(t, "rm", "--force", "zero")
			before := h.state(t)
			h.must(t, h.to(docker.Network))
			h.engine.Run(t, "one", "--network", bridge)
			if _, err := h.apply(h.to(docker.Default), nil); err == nil {
				t.Error("another mode while container one uses the network: no error")
			}
			h.must(t, away(true))
			if _, err := h.apply(h.to(docker.Default), nil); !errors.Is(err, fan.ErrUsage) || !strings.Contains(err.Error(), "live-restore") {
				t.Errorf("another default bridge while a container runs and live-restore is on: %v", err)
			}
			h.engine.MustDocker(t, "rm", "--force", "one")
			h.must(t, h.to(docker.Default))
			h.engine.Run(t, "three")
			if c := h.must(t, away(true)); !slices.Equal(c.Stops, []string{"three"}) {
				t.Errorf("containers that it stops: %q, want three", c.Stops)
			}
			if s := h.engine.MustDocker(t, "inspect", "--format", "{{.State.Running}} {{.NetworkSettings.IPAddress}}", "three"); !strings.HasPrefix(s, "true 172.") {
				t.Errorf("container three has not started again on the old bridge: %s", s)
			}
			h.engine.MustDocker(t, "rm", "--force", "three")
			h.asBefore(t, before, "taken away by force")
		})
	}
}

// What is not ours stays, and is named.
func TestDockerStrangers(t *testing.T) {
	t.Parallel()
	h := newDockerHost(t, engine.Docker20, fan.IPIP, "")
	h.engine.MustDocker(t, "network", "create", bridge)
	refused := func(mode docker.Mode, words ...string) {
		t.Helper()
		_, err := h.apply(h.to(mode), nil)
		if !errors.Is(err, fan.ErrUsage) {
			t.Errorf("mode %s: %v, want bad input", mode, err)
			return
		}
		for _, w := range words {
			if !strings.Contains(err.Error(), w) {
				t.Errorf("mode %s: %q does not name %s", mode, err, w)
			}
		}
	}
	refused(docker.Network, bridge)
	h.must(t, away(true))
	h.engine.MustDocker(t, "network", "inspect", bridge)
	h.engine.MustDocker(t, "network", "rm", bridge)
	for text, word := range map[string]string{
		`{"debug": false`: "JSON", "{ // none\n}": "comments", `{"bip": "10.9.0.1/24"}`: "bip", `{"mtu": 1400, "mtu": 1300}`: "mtu",
	} {
		h.configure(t, text)
		refused(docker.Default, h.engine.ConfigFile, word)
		if now, err := os.ReadFile(h.engine.ConfigFile); err != nil || string(now) != text {
			t.Errorf("%q became %q (%v)", text, now, err)
		}
	}
	target := filepath.Join(t.TempDir(), "target")
	err := errors.Join(os.WriteFile(target, []byte("{}"), 0o600), os.Remove(h.engine.ConfigFile), os.Symlink(target, h.engine.ConfigFile))
	if err != nil {
		t.Fatal(err)
	}
	refused(docker.Default, "symbolic link")
}

// A test's container runs on the fan in each mode and goes with its image.
func TestDockerTestContainer(t *testing.T) {
	t.Parallel()
	for name, start := range generations() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newDockerHost(t, start, fan.IPIP, "")
			before := h.state(t)
			archive, err := image.Docker(runtime.GOARCH)
			if err != nil {
				t.Fatal(err)
			}
			for _, mode := range []docker.Mode{docker.Network, docker.Default} {
				h.must(t, h.to(mode))
				err := h.with(func(ctx context.Context, d *docker.Daemon) error {
					var r docker.Running
					for range 2 { // the first is what a test that was killed leaves
						var err error
						if r, err = d.Start(ctx, docker.Container{Name: "fanatic-test", Network: bridge, Image: bytes.NewReader(archive)}); err != nil {
							return err
						}
					}
					if !h.fan.Slice().Contains(r.Addr) || r.PID <= 1 {
						t.Errorf("mode %s: it runs as %+v", mode, r)
					}
					if h.Ping(r.Addr, 1) != 1 {
						t.Errorf("mode %s: it does not answer", mode)
					}
					return errors.Join(d.Remove(ctx, "fanatic-test"), d.Remove(ctx, "fanatic-test"))
				})
				if err != nil {
					t.Errorf("mode %s: %v", mode, err)
				}
				h.must(t, away(false))
			}
			h.asBefore(t, before, "test containers")
			h.engine.Run(t, "mine")
			err = h.with(func(ctx context.Context, d *docker.Daemon) error { return d.Remove(ctx, "mine") })
			if !errors.Is(err, fan.ErrUsage) {
				t.Errorf("removing somebody's container: %v", err)
			}
		})
	}
}

// A newer daemon is asked whether it takes the configuration before it has to, and one
// in another network namespace is not ours.
func TestDockerIsAskedFirst(t *testing.T) {
	t.Parallel()
	h := newDockerHost(t, engine.Docker28, fan.IPIP, "")
	h.configure(t, `{"nonsense": true}`)
	before := h.state(t)
	pid := h.engine.PID()
	if _, err := h.apply(h.to(docker.Default), nil); err == nil || !strings.Contains(err.Error(), "nonsense") {
		t.Errorf("a setting that Docker does not know: %v", err)
	}
	h.asBefore(t, before, "refused")
	if h.engine.PID() != pid {
		t.Error("the daemon was restarted for a configuration that it does not take")
	}
	o := docker.Options{Host: "unix://" + h.engine.Socket}
	if _, err := docker.Find(context.Background(), o); !errors.Is(err, fan.ErrUsage) || !strings.Contains(err.Error(), "namespace") {
		t.Errorf("a daemon in another network namespace: %v", err)
	}
	h.engine.Stop(t)
	if err := h.with(func(context.Context, *docker.Daemon) error { return nil }); err == nil || !strings.Contains(err.Error(), "start docker") {
		t.Errorf("a daemon that does not run: %v", err)
	}
}
