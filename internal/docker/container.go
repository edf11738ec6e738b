package docker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"strings"

	cerrdefs "github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/network"
	"github.com/moby/moby/client"

	"github.com/fanctl/fanctl/fan"
)

// testLabel marks containers and images of self-tests.
const testLabel = "fanctl.test"

// Container is a container of a self-test.
type Container struct {
	Name string
	// Network is the fan bridge, whichever mode it is in; empty: the one fan that
	// Docker has.
	Network string
	// Image is a tar of a root file system whose /sbin/init is the program.
	Image io.Reader
}

// Running is a container that runs.
type Running struct {
	ID string
	// PID is its first process, as this host numbers it.
	PID int
	// Addr is its address on the fan.
	Addr netip.Addr
}

// imageOf returns the name of a container's image.
func imageOf(name string) string { return "fanctl-test/" + strings.ToLower(name) + ":latest" }

// Start imports the image and runs the container, in the place of one that an ended
// self-test has left. When it fails it leaves nothing.
func (d *Daemon) Start(ctx context.Context, c Container) (Running, error) {
	on, err := d.networkFor(ctx, c.Network)
	if err != nil {
		return Running{}, err
	}
	if err := d.Remove(ctx, c.Name); err != nil {
		return Running{}, err
	}
	r, err := d.run(ctx, c, on)
	if err != nil {
		return Running{}, errors.Join(fmt.Errorf("run container %s: %w", c.Name, err), d.Remove(context.WithoutCancel(ctx), c.Name))
	}
	return r, nil
}

// networkFor returns the Docker network by which containers get on a fan.
func (d *Daemon) networkFor(ctx context.Context, bridge string) (network.Summary, error) {
	list, err := d.client.NetworkList(ctx, client.NetworkListOptions{})
	if err != nil {
		return network.Summary{}, fmt.Errorf("list Docker's networks: %w", err)
	}
	var found []network.Summary
	for _, n := range list.Items {
		if bridge == "" && ours(n) || bridge != "" && bridgeOf(n) == bridge && (ours(n) || isDefault(n)) {
			found = append(found, n)
		}
	}
	switch {
	case len(found) == 1:
		return found[0], nil
	case len(found) > 1:
		return network.Summary{}, fan.Usagef("Docker has several fans; say which one is meant")
	case bridge != "":
		return network.Summary{}, fan.Usagef("Docker has no network on %s; give it the fan first", bridge)
	}
	for _, n := range list.Items {
		if isDefault(n) {
			return n, nil
		}
	}
	return network.Summary{}, fan.Usagef("Docker has neither a network of ours nor a default bridge; give it a fan first")
}

func (d *Daemon) run(ctx context.Context, c Container, on network.Summary) (Running, error) {
	if err := d.importImage(ctx, c); err != nil {
		return Running{}, fmt.Errorf("import its image: %w", err)
	}
	created, err := d.client.ContainerCreate(ctx, client.ContainerCreateOptions{
		Name:       c.Name,
		Config:     &container.Config{Image: imageOf(c.Name), Cmd: []string{"/sbin/init"}, Labels: map[string]string{testLabel: "1"}},
		HostConfig: &container.HostConfig{NetworkMode: container.NetworkMode(on.Name)},
	})
	if err != nil {
		return Running{}, err
	}
	if _, err := d.client.ContainerStart(ctx, created.ID, client.ContainerStartOptions{}); err != nil {
		return Running{}, err
	}
	got, err := d.client.ContainerInspect(ctx, created.ID, client.ContainerInspectOptions{})
	if err != nil {
		return Running{}, err
	}
	r := Running{ID: created.ID}
	if got.Container.State != nil {
		r.PID = got.Container.State.Pid
	}
	if s := got.Container.NetworkSettings; s != nil && s.Networks[on.Name] != nil {
		r.Addr = s.Networks[on.Name].IPAddress
	}
	if r.PID == 0 || !r.Addr.IsValid() {
		return Running{}, errors.New("its /sbin/init ended at once")
	}
	return r, nil
}

func (d *Daemon) importImage(ctx context.Context, c Container) error {
	messages, err := d.client.ImageImport(ctx, client.ImageImportSource{Source: c.Image, SourceName: "-"}, imageOf(c.Name),
		client.ImageImportOptions{Changes: []string{"LABEL " + testLabel + "=1"}})
	if err != nil {
		return err
	}
	defer func() { _ = messages.Close() }()
	for lines := json.NewDecoder(messages); ; {
		var m struct {
			Error string `json:"error"`
		}
		switch err := lines.Decode(&m); {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		case m.Error != "":
			return errors.New(m.Error)
		}
	}
}

// Remove ends a container of a self-test and removes it with its image. One that is
// not there is no error; one that is not a self-test's is, and stays.
func (d *Daemon) Remove(ctx context.Context, name string) error {
	got, err := d.client.ContainerInspect(ctx, name, client.ContainerInspectOptions{})
	switch {
	case cerrdefs.IsNotFound(err):
	case err != nil:
		return fmt.Errorf("remove container %s: %w", name, err)
	case got.Container.Config == nil || got.Container.Config.Labels[testLabel] == "":
		return fan.Usagef("container %s is not of a self-test of ours (it has no label %s), and stays; rename it", name, testLabel)
	default:
		_, err := d.client.ContainerRemove(ctx, got.Container.ID, client.ContainerRemoveOptions{RemoveVolumes: true, Force: true})
		if err != nil && !cerrdefs.IsNotFound(err) {
			return fmt.Errorf("remove container %s: %w", name, err)
		}
	}
	if _, err := d.client.ImageRemove(ctx, imageOf(name), client.ImageRemoveOptions{Force: true, PruneChildren: true}); err != nil && !cerrdefs.IsNotFound(err) {
		return fmt.Errorf("remove image %s: %w", imageOf(name), err)
	}
	return nil
}
