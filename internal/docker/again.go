package docker

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	cerrdefs "github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/client"

	"github.com/fanctl/fanctl/internal/plan"
)

// swarmLabel marks the containers of a swarm, which makes new ones by itself.
const swarmLabel = "com.docker.swarm.task.id"

// again sorts the running containers by what becomes of them when they are stopped and
// the daemon restarts: those that have to be started then, and those that go with
// their end (docker run --rm).
func (d *Daemon) again(ctx context.Context, l look) (starts, gone []string, err error) {
	for _, c := range l.containers {
		if !isUp(c) || c.Labels[swarmLabel] != "" {
			continue
		}
		got, err := d.client.ContainerInspect(ctx, c.ID, client.ContainerInspectOptions{})
		if cerrdefs.IsNotFound(err) {
			continue // it has ended
		}
		if err != nil {
			return nil, nil, fmt.Errorf("look at container %s: %w", nameOf(c), err)
		}
		switch h := got.Container.HostConfig; {
		case h != nil && h.AutoRemove:
			gone = append(gone, nameOf(c))
		case h == nil || l.liveRestore || !comesBack(h.RestartPolicy):
			starts = append(starts, nameOf(c))
		}
	}
	slices.Sort(starts)
	slices.Sort(gone)
	return starts, gone, nil
}

// comesBack says whether the daemon starts a container whenever it starts itself. With
// on-failure that depends on how the container took its end.
func comesBack(p container.RestartPolicy) bool { return p.IsAlways() || p.IsUnlessStopped() }

// stepStart starts the containers again that the restart has stopped. The daemon keeps
// its default bridge while containers run over a restart (live-restore), so these stop
// again before another one.
func (d *Daemon) stepStart(names []string, liveRestore bool) plan.Step {
	s := plan.Step{Text: "docker start " + strings.Join(names, " "), Do: func() error { return d.startAll(names) }}
	if liveRestore {
		s.Undo = func() error {
			var failed []error
			for _, name := range names {
				failed = append(failed, d.stop(name))
			}
			return errors.Join(failed...)
		}
	}
	return s
}

// startAll starts containers; those that run are no error. One may need another to run
// first (a link, its network), so it goes on as long as one more can be started.
func (d *Daemon) startAll(names []string) error {
	for {
		var left []string
		var failed []error
		for _, name := range names {
			if err := d.start(name); err != nil {
				left = append(left, name)
				failed = append(failed, fmt.Errorf("start container %s: %w", name, err))
			}
		}
		if len(left) == 0 || len(left) == len(names) {
			return errors.Join(failed...)
		}
		names = left
	}
}

// stop stops a container; one that is gone is no error.
func (d *Daemon) stop(name string) error {
	ctx, cancel := context.WithTimeout(context.Background(), restartPatience)
	defer cancel()
	_, err := d.client.ContainerStop(ctx, name, client.ContainerStopOptions{})
	if cerrdefs.IsNotFound(err) {
		return nil
	}
	return err
}

// start starts a container; one that is gone is no error.
func (d *Daemon) start(name string) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	_, err := d.client.ContainerStart(ctx, name, client.ContainerStartOptions{})
	if cerrdefs.IsNotFound(err) {
		return nil
	}
	return err
}
