//go:build containers

package containers

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/fanctl/fanctl/fan"
	"github.com/fanctl/fanctl/internal/docker"
	"github.com/fanctl/fanctl/internal/plan"
	"github.com/fanctl/fanctl/tests/bed"
	"github.com/fanctl/fanctl/tests/bed/engine"
)

// generations are the Dockers that filter differently.
func generations() map[string]func(testing.TB, *bed.Host) *engine.Dockerd {
	return map[string]func(testing.TB, *bed.Host) *engine.Dockerd{"Docker 20": engine.Docker20, "Docker 28": engine.Docker28}
}

// dockerHost is a host with a fan and a Docker, on which the tests call package docker.
type dockerHost struct {
	*bed.Host
	bed     *bed.Bed
	engine  *engine.Dockerd
	fan     fan.Fan
	restart []string
}

// newDockerHost makes one whose Docker has that configuration.
func newDockerHost(t *testing.T, start func(testing.TB, *bed.Host) *engine.Dockerd, kind fan.Type, config string) *dockerHost {
	t.Helper()
	b := bed.New(t, bed.Options{Hosts: []string{"10.0.0.11"}})
	h := &dockerHost{Host: b.Hosts[0], bed: b, engine: start(t, b.Hosts[0])}
	h.restart = []string{h.engine.RestartProgram}
	h.engine.Busybox(t)
	if config != "" {
		h.configure(t, config)
	}
	h.engine.Restart(t) // Docker 20 tells its default gateway from the second start on
	h.MustFanctl(t, append([]string{"up", "--type", kind.String()}, networks()...)...)
	spec, err := fan.ParseSpec(networks())
	if err == nil {
		spec.Type = kind
		h.fan, err = spec.At(fan.Place{Underlay: netip.MustParsePrefix(underlay), Host: h.Addr, Device: "eth0", MTU: 1500})
	}
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func (h *dockerHost) configure(t *testing.T, text string) {
	t.Helper()
	if err := os.WriteFile(h.engine.ConfigFile, []byte(text), 0o640); err != nil {
		t.Fatal(err)
	}
}

// with finds the daemon and calls fn, on the host.
func (h *dockerHost) with(fn func(context.Context, *docker.Daemon) error) error {
	return h.Do(func() error {
		ctx := context.Background()
		d, err := docker.Find(ctx, docker.Options{Host: "unix://" + h.engine.Socket, Restart: h.restart})
		if err != nil {
			return err
		}
		defer d.Close()
		return fn(ctx, d)
	})
}

// planned is a plan of one of the two kinds, not yet applied.
type planned func(context.Context, *docker.Daemon) (docker.Change, error)

func (h *dockerHost) to(m docker.Mode) planned {
	return func(ctx context.Context, d *docker.Daemon) (docker.Change, error) { return d.Plan(ctx, h.fan, m) }
}

func away(force bool) planned {
	return func(ctx context.Context, d *docker.Daemon) (docker.Change, error) {
		return d.PlanAway(ctx, bridge, force)
	}
}

func (h *dockerHost) apply(p planned, observe plan.Observer) (c docker.Change, err error) {
	err = h.with(func(ctx context.Context, d *docker.Daemon) error {
		if c, err = p(ctx, d); err != nil {
			return err
		}
		return c.Plan.Apply(observe)
	})
	return c, err
}

// must applies a plan and then expects nothing more to do.
func (h *dockerHost) must(t *testing.T, p planned) docker.Change {
	t.Helper()
	c, err := h.apply(p, nil)
	if err != nil {
		t.Fatalf("%s: %v\nsteps:\n%s", h, err, steps(c.Plan))
	}
	again, err := h.apply(p, nil)
	if err != nil || len(again.Plan) > 0 {
		t.Fatalf("%s: once more: %v, still to do:\n%s", h, err, steps(again.Plan))
	}
	return c
}

func steps(p plan.Plan) string {
	var list []string
	for _, s := range p {
		list = append(list, s.Text)
	}
	return strings.Join(list, "\n")
}

func (h *dockerHost) status(t *testing.T) (s docker.Status) {
	t.Helper()
	err := h.with(func(ctx context.Context, d *docker.Daemon) (err error) {
		s, err = d.Status(ctx, bridge)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// state is all that Docker and the host have: devices, rules, networks, files.
func (h *dockerHost) state(t *testing.T) string {
	t.Helper()
	lines := strings.Split(h.Settled(t), "\n")
	// Docker puts its rules in another order each time it starts.
	slices.Sort(lines)
	lines = append(lines, h.engine.MustDocker(t, "network", "ls", "--format", "network {{.Name}} {{.Driver}}"),
		h.engine.MustDocker(t, "network", "inspect", "bridge", "--format", "{{.IPAM.Config}} {{.Options}}"),
		h.engine.MustDocker(t, "images", "--format", "image {{.Repository}}"))
	found, err := filepath.Glob(h.engine.ConfigFile + "*")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range found {
		text, err := os.ReadFile(path)
		info, errInfo := os.Stat(path)
		if err = errors.Join(err, errInfo); err != nil {
			t.Fatal(err)
		}
		lines = append(lines, fmt.Sprintf("file %s %s %s %q", filepath.Base(path), info.Mode(), info.ModTime(), text))
	}
	return strings.Join(lines, "\n") + "\n"
}

func (h *dockerHost) asBefore(t *testing.T, before, when string) {
	t.Helper()
	if diff := bed.Diff(before, h.state(t)); diff != "" {
		t.Errorf("%s, not all is as it was before:\n%s", when, diff)
	}
}
