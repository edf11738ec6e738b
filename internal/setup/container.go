package setup

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"runtime"
	"time"

	"github.com/fanctl/fanctl/fan"
	"github.com/fanctl/fanctl/internal/docker"
	"github.com/fanctl/fanctl/internal/image"
	"github.com/fanctl/fanctl/internal/lease"
	"github.com/fanctl/fanctl/internal/lxd"
	"github.com/fanctl/fanctl/internal/namespace"
	"github.com/fanctl/fanctl/tunnel"
)

// containerName is what test containers are called, as the original's are.
const containerName = "fanatic-test"

// The engines that tests take containers of.
const (
	EngineDocker = "docker"
	EngineLXD    = "lxd" // or Incus
)

// Container is a test container that runs.
type Container struct {
	Engine    string
	Addr      netip.Addr
	Namespace *namespace.Namespace
	remove    func(context.Context) error
}

// Remove takes the container away, with its image, also when the test was interrupted.
func (c *Container) Remove() error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if c.Namespace != nil {
		c.Namespace.Close()
	}
	return c.remove(ctx)
}

// Engines returns those engines that are wired to a fan.
func (s *Setup) Engines(ctx context.Context, f fan.Fan) ([]string, error) {
	list := []Status{{Row: Row{Fan: &f, Spec: f.Spec()}}}
	err := errors.Join(s.lookDocker(ctx, list), s.lookLXD(ctx, list))
	var engines []string
	if list[0].Docker.Mode != docker.Off {
		engines = append(engines, EngineDocker)
	}
	if len(list[0].LXD) > 0 {
		engines = append(engines, EngineLXD)
	}
	if len(engines) > 0 {
		err = nil // one will do
	}
	return engines, err
}

// Start starts a test container of an engine on a fan. Remove it after use.
func (s *Setup) Start(ctx context.Context, f fan.Fan, engine string) (*Container, error) {
	start := s.startDocker
	if engine == EngineLXD {
		start = s.startLXD
	}
	return start(ctx, f)
}

func (s *Setup) startDocker(ctx context.Context, f fan.Fan) (*Container, error) {
	d, err := s.openDocker(ctx)
	if err != nil {
		return nil, err
	}
	status, err := d.Status(ctx, f.Bridge)
	if err != nil {
		return nil, err
	}
	if status.Mode == docker.Off {
		return nil, fmt.Errorf("docker is not on %s; use fanatic enable-docker -u %s -o %s", f.Bridge, f.Mapping.Underlay(), f.Mapping.Overlay())
	}
	root, err := image.Docker(runtime.GOARCH)
	if err != nil {
		return nil, err
	}
	c := &Container{Engine: EngineDocker, remove: func(ctx context.Context) error { return d.Remove(ctx, containerName) }}
	running, err := d.Start(ctx, docker.Container{Name: containerName, Network: f.Bridge, Image: bytes.NewReader(root)})
	if err == nil {
		c.Addr = running.Addr
		c.Namespace, err = namespace.Open(fmt.Sprintf("/proc/%d/ns/net", running.PID))
	}
	if err != nil {
		return nil, errors.Join(err, c.Remove())
	}
	return c, nil
}

func (s *Setup) startLXD(ctx context.Context, f fan.Fan) (*Container, error) {
	root, err := image.LXD(runtime.GOARCH)
	if err != nil {
		return nil, err
	}
	var server *lxd.Server
	unusable, err := s.eachLXD(ctx, func(candidate *lxd.Server) error {
		status, err := candidate.Status(ctx, f.Bridge)
		if err == nil && status.Enabled && server == nil {
			server = candidate
		}
		return err
	})
	if server == nil {
		return nil, errors.Join(fmt.Errorf("neither LXD nor Incus has the profile %s; use fanatic enable-lxd -u %s -o %s", f.Bridge, f.Mapping.Underlay(), f.Mapping.Overlay()), err, unusable)
	}
	c := &Container{Engine: EngineLXD, remove: func(ctx context.Context) error { return server.Remove(ctx, containerName) }}
	running, err := server.Launch(ctx, lxd.Container{Name: containerName, Profile: f.Bridge, Image: bytes.NewReader(root), Size: int64(len(root))})
	if err == nil {
		err = c.lease(ctx, running.PID)
	}
	if err != nil {
		return nil, errors.Join(err, c.Remove())
	}
	return c, nil
}

// removeLeft removes what a test that was killed has left in Docker; LXD's goes with
// its profile.
func (s *Setup) removeLeft(ctx context.Context) error {
	d, err := s.openDocker(ctx)
	if err != nil {
		return nil // it is absent, or can't be asked, of which others tell
	}
	if err := d.Remove(ctx, containerName); err != nil && !errors.Is(err, fan.ErrUsage) { // somebody else's stays
		return err
	}
	return nil
}

// lease gets the container an address of the fan's DHCP.
func (c *Container) lease(ctx context.Context, pid int) (err error) {
	if c.Namespace, err = namespace.Open(fmt.Sprintf("/proc/%d/ns/net", pid)); err != nil {
		return err
	}
	got, err := lease.Get(ctx, lease.Request{Namespace: c.Namespace, Name: containerName})
	c.Addr = got.Address.Addr()
	return err
}

// Counters returns what a fan has counted.
func (s *Setup) Counters(f fan.Fan) (tunnel.Counters, error) {
	list, err := s.Host.List()
	if err != nil {
		return tunnel.Counters{}, err
	}
	for _, status := range list {
		if status.Fan.Bridge == f.Bridge && status.Counters != nil {
			return *status.Counters, nil
		}
	}
	return tunnel.Counters{}, fmt.Errorf("%s counts nothing", f.Bridge)
}
