package main

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// busybox is the static one, which is all that an image has.
const busybox = "/bin/busybox"

// swarm makes two hosts a Docker Swarm with an overlay network, as its documentation
// says, and a container on each.
func (b *bed) swarm(hosts [2]string, p *path) error {
	daemons, err := b.startSwarm(hosts)
	if err != nil {
		return err
	}
	if _, err := daemons[0].docker("network", "create", "--driver", "overlay", "--attachable", "--subnet", "250.0.0.0/24", "bench"); err != nil {
		return err
	}
	// Docker takes seconds for a container, and waits most of the time.
	failed := make(chan error)
	for i, d := range daemons {
		go func() {
			var err error
			if p.ns[i], p.addr[i], err = b.swarmContainer(d); err != nil {
				err = fmt.Errorf("%w\n%s", err, d.lastWords())
			}
			failed <- err
		}()
	}
	if err := errors.Join(<-failed, <-failed); err != nil {
		return err
	}
	return awaitWay(*p)
}

// startSwarm starts a daemon on each host and joins them. The pool is that of networks
// which Docker makes by itself: by default it would take the underlay's addresses.
func (b *bed) startSwarm(hosts [2]string) (daemons [2]*dockerd, err error) {
	for i, host := range hosts {
		if daemons[i], err = b.startDockerd(host); err != nil {
			return daemons, err
		}
	}
	for _, d := range daemons {
		if err := d.await(); err != nil {
			return daemons, err
		}
	}
	if _, err := daemons[0].docker("swarm", "init", "--advertise-addr", "10.0.0.1", "--default-addr-pool", "172.30.0.0/16"); err != nil {
		return daemons, err
	}
	token, err := daemons[0].docker("swarm", "join-token", "--quiet", "worker")
	if err != nil {
		return daemons, err
	}
	_, err = daemons[1].docker("swarm", "join", "--advertise-addr", "10.0.0.2", "--token", token, "10.0.0.1")
	return daemons, err
}

// swarmContainer starts a container on the overlay network, and gives its network
// namespace a name.
func (b *bed) swarmContainer(d *dockerd) (ns, addr string, err error) {
	image, err := busyboxImage()
	if err != nil {
		return "", "", err
	}
	file := filepath.Join(d.dir, "image.tar")
	if err := os.WriteFile(file, image, 0o644); err != nil {
		return "", "", err
	}
	if _, err := d.docker("import", file, "bench:1"); err != nil {
		return "", "", err
	}
	if _, err := d.docker("run", "--detach", "--name", "end", "--network", "bench", "bench:1", "/busybox", "sleep", "100000"); err != nil {
		return "", "", err
	}
	said, err := d.docker("inspect", "--format", "{{.State.Pid}} {{.NetworkSettings.Networks.bench.IPAddress}}", "end")
	if err != nil {
		return "", "", err
	}
	pid, addr, _ := strings.Cut(said, " ")
	ns, err = b.name("c")
	if err != nil {
		return "", "", err
	}
	// The pid is one of the daemon's namespace, and so is that folder.
	return ns, addr, nameNamespace(ns, fmt.Sprintf("/proc/%d/root/proc/%s/ns/net", d.pid, pid))
}

// nameNamespace gives a network namespace a name for ip-netns(8).
func nameNamespace(name, file string) error {
	at := "/run/netns/" + name
	if err := os.WriteFile(at, nil, 0o444); err != nil {
		return err
	}
	if err := unix.Mount(file, at, "", unix.MS_BIND, ""); err != nil {
		return fmt.Errorf("name %s %s: %w", file, name, err)
	}
	return nil
}

// busyboxImage is an archive for docker import.
func busyboxImage() ([]byte, error) {
	program, err := os.ReadFile(busybox)
	if err != nil {
		return nil, err
	}
	var image bytes.Buffer
	archive := tar.NewWriter(&image)
	if err := archive.WriteHeader(&tar.Header{Name: "busybox", Mode: 0o755, Size: int64(len(program))}); err != nil {
		return nil, err
	}
	if _, err := archive.Write(program); err != nil {
		return nil, err
	}
	return image.Bytes(), archive.Close()
}

// awaitWay waits until packets get from one end to the other: the hosts of a swarm tell
// each other where containers are.
func awaitWay(p path) error {
	const long = 30 * time.Second
	for start := time.Now(); ; {
		sink, source, err := udpPair(p, 0, 1)
		if err == nil {
			err = errors.Join(warmUp(sink, source), sink.Close(), source.Close())
		}
		if err == nil || time.Since(start) > long {
			return err
		}
		time.Sleep(100 * time.Millisecond)
	}
}
