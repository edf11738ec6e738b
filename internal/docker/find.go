package docker

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/moby/moby/client"

	"github.com/fanctl/fanctl/fan"
	"github.com/fanctl/fanctl/internal/docker/program"
)

// ErrAbsent says that Docker is not installed on this host.
var ErrAbsent = errors.New("no Docker is installed here")

// usualSocket is where dockerd listens unless it is told.
const usualSocket = "/var/run/docker.sock"

// patience is how long one request to the daemon may take. Removing a network, the
// slowest, takes a second.
const patience = 30 * time.Second

// Find returns the daemon of this host, in the network namespace of the calling
// thread. The error is ErrAbsent without Docker, fan.ErrUsage for a daemon that can't
// have fans, and says in every case what would help.
func Find(ctx context.Context, o Options) (*Daemon, error) {
	socket, err := socketOf(o.Host)
	if err != nil {
		return nil, err
	}
	p, err := findProcess(socket)
	if err != nil {
		return nil, explain(socket, o.Host != "", err)
	}
	c, err := client.New(client.WithHost("unix://" + socket))
	if err != nil {
		return nil, fmt.Errorf("ask Docker at %s: %w", socket, err)
	}
	d := &Daemon{client: c, socket: socket, restart: o.Restart}
	if err := d.check(ctx, p); err != nil {
		d.Close()
		return nil, err
	}
	return d, nil
}

// socketOf returns the path of the socket that DOCKER_HOST names.
func socketOf(host string) (string, error) {
	if host == "" {
		return usualSocket, nil
	}
	path, ok := strings.CutPrefix(host, "unix://")
	if !ok && filepath.IsAbs(host) {
		path, ok = host, true
	}
	if !ok {
		return "", fan.Usagef("DOCKER_HOST %s: a fan is on this host, and so must Docker be; unset DOCKER_HOST, or name a socket as unix://%s", host, usualSocket)
	}
	if !filepath.IsAbs(path) {
		return "", fan.Usagef("DOCKER_HOST %s: it should name the socket by its whole path, as unix://%s", host, usualSocket)
	}
	return path, nil
}

// explain says why nobody answers at a socket.
func explain(socket string, named bool, err error) error {
	switch {
	case errors.Is(err, os.ErrPermission):
		return fmt.Errorf("the Docker socket %s: permission denied; run this as root", socket)
	case errors.Is(err, syscall.ECONNREFUSED), errors.Is(err, os.ErrNotExist):
	default:
		return err
	}
	if !program.Installed() && errors.Is(err, os.ErrNotExist) {
		if named {
			return fmt.Errorf("%w: there is no socket %s and no program dockerd", ErrAbsent, socket)
		}
		if other := others(); other != nil { // anybody may have put it there
			return fmt.Errorf("%w (%w)", ErrAbsent, other)
		}
		return ErrAbsent
	}
	return fmt.Errorf("%w at %s: start it with systemctl start docker", ErrDown, socket)
}

// others says which other kind of Docker runs here, where the usual one does not.
func others() error {
	if found, _ := filepath.Glob("/run/user/*/docker.sock"); len(found) > 0 {
		return rootless(found[0])
	}
	for _, pattern := range []string{"/home/*/.docker/desktop/docker.sock", "/root/.docker/desktop/docker.sock"} {
		if found, _ := filepath.Glob(pattern); len(found) > 0 {
			return desktop(found[0])
		}
	}
	return nil
}

func rootless(socket string) error {
	return fan.Usagef("Docker at %s is rootless: its containers are in a network of their own and can't reach a fan bridge; install Docker for the whole host", socket)
}

func desktop(socket string) error {
	return fan.Usagef("Docker at %s is Docker Desktop, which runs in a virtual machine where no fan of this host is; install Docker Engine", socket)
}

// check asks the daemon what it is and refuses those that can't have fans.
func (d *Daemon) check(ctx context.Context, p process) error {
	if strings.Contains(filepath.Base(p.exe), "podman") {
		return fan.Usagef("it is Podman that answers at %s, not Docker; give its containers the fan bridge by podman network create --interface-name", d.socket)
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	version, err := d.client.ServerVersion(ctx, client.ServerVersionOptions{})
	if err != nil {
		return fmt.Errorf("ask Docker at %s for its version: %w", d.socket, err)
	}
	d.version = version.Version
	for _, c := range version.Components {
		if strings.Contains(c.Name, "Podman") {
			return fan.Usagef("it is Podman that answers at %s, not Docker", d.socket)
		}
	}
	info, err := d.client.Info(ctx, client.InfoOptions{})
	if err != nil {
		return fmt.Errorf("ask Docker at %s what it is: %w", d.socket, err)
	}
	switch {
	case strings.Contains(info.Info.OperatingSystem, "Docker Desktop"):
		return desktop(d.socket)
	case p.uid != 0, slices.ContainsFunc(info.Info.SecurityOptions, func(s string) bool { return strings.Contains(s, "name=rootless") }):
		return rootless(d.socket)
	case filepath.Base(p.exe) != "dockerd":
		return fan.Usagef("it is %s (process %d) that listens at %s, not dockerd; name dockerd's own socket by DOCKER_HOST", filepath.Base(p.exe), p.pid, d.socket)
	case !sameNetwork(p):
		return fan.Usagef("the Docker daemon at %s (process %d) is in another network namespace than this command; run this in its own: nsenter -t %d -n", d.socket, p.pid, p.pid)
	case !p.snap() && !sameRoot(p):
		return fan.Usagef("the Docker daemon at %s (process %d) has another root directory, so it runs in a container; run this in there", d.socket, p.pid)
	}
	return nil
}
