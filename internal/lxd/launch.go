package lxd

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"path"
)

// Container is a container that a self-test wants.
type Container struct {
	Name    string
	Profile string    // which is the bridge's name
	Image   io.Reader // such as package image makes
	Size    int64     // of the image, in bytes
}

// Running is a container that runs.
type Running struct {
	Name string
	PID  int // of its first process, as this host sees it
}

// Launch makes a container of an image and starts it. Whatever an earlier test has left of
// that name is removed before, and what this one has made when it fails. The error has the
// daemon's own words.
func (s *Server) Launch(ctx context.Context, c Container) (running Running, err error) {
	content, err := io.ReadAll(io.LimitReader(c.Image, c.Size+1))
	if err == nil && int64(len(content)) != c.Size {
		err = fmt.Errorf("it has not %d bytes, as is said", c.Size)
	}
	if err != nil {
		return Running{}, fmt.Errorf("read the image of container %s: %w", c.Name, err)
	}
	root, err := s.rootDisk(ctx)
	if err != nil {
		return Running{}, err
	}
	if err := s.Remove(ctx, c.Name); err != nil {
		return Running{}, err
	}
	defer func() {
		if err != nil { // with another context: this one may be what has failed
			err = errors.Join(err, s.Remove(context.WithoutCancel(ctx), c.Name))
		}
	}()
	fingerprint, err := s.importImage(ctx, content)
	if err != nil {
		return Running{}, err
	}
	if err := s.createContainer(ctx, c, fingerprint, root); err != nil {
		return Running{}, err
	}
	return s.start(ctx, c.Name)
}

// rootDisk returns the device on which containers have their files: the default profile's,
// or else one of the first storage pool.
func (s *Server) rootDisk(ctx context.Context) (device, error) {
	base, _, _, err := s.profile(ctx, defaultName)
	if err != nil {
		return nil, err
	}
	if base != nil {
		for _, d := range base.Devices {
			if d["type"] == "disk" && d["path"] == "/" {
				return d, nil
			}
		}
	}
	var pools []struct {
		Name   string `json:"name"`
		Status string `json:"status"`
	}
	if err := s.get(ctx, "/1.0/storage-pools", url.Values{"recursion": {"1"}}, &pools); err != nil {
		return nil, fmt.Errorf("%s: list storage pools: %w", s, err)
	}
	for _, p := range pools {
		if p.Status == "" || p.Status == "Created" {
			return device{"type": "disk", "path": "/", "pool": p.Name}, nil
		}
	}
	return nil, fmt.Errorf("%s has no storage for containers; give it some: %s", s, s.kind.initialise())
}

// importImage stores an image, unless it is there already, and returns its fingerprint.
func (s *Server) importImage(ctx context.Context, content []byte) (string, error) {
	sum := sha256.Sum256(content)
	fingerprint := hex.EncodeToString(sum[:])
	err := s.get(ctx, "/1.0/images/"+fingerprint, nil, &image{})
	if err == nil {
		return fingerprint, nil
	}
	if !absent(err) {
		return "", fmt.Errorf("%s: look at the test's image: %w", s, err)
	}
	header := http.Header{"Content-Type": {"application/octet-stream"}}
	for _, daemon := range []string{"X-Lxd-", "X-Incus-"} {
		header.Set(daemon+"Properties", url.Values{testProperty: {testValue}}.Encode())
		header.Set(daemon+"Filename", "fanatic.tar.gz")
	}
	if _, err := s.call(ctx, request{method: http.MethodPost, path: "/1.0/images", body: content, header: header}, nil); err != nil {
		return "", fmt.Errorf("%s: import the test's image: %w", s, err)
	}
	return fingerprint, nil
}

// createContainer makes a container that is marked as a test's.
func (s *Server) createContainer(ctx context.Context, c Container, fingerprint string, root device) error {
	body := map[string]any{
		"name":     c.Name,
		"type":     "container",
		"source":   map[string]string{"type": "image", "fingerprint": fingerprint},
		"profiles": []string{c.Profile},
		"devices":  map[string]device{"root": root},
		"config":   map[string]string{testKey: testValue, "boot.autostart": "false"},
	}
	if _, err := s.call(ctx, request{method: http.MethodPost, path: instances, body: body}, nil); err != nil {
		return fmt.Errorf("%s: create container %s: %w", s, c.Name, err)
	}
	return nil
}

// start starts a container and returns its first process.
func (s *Server) start(ctx context.Context, name string) (Running, error) {
	where := path.Join(instances, name, "state")
	start := map[string]any{"action": "start", "timeout": int(patience.Seconds())}
	if _, err := s.call(ctx, request{method: http.MethodPut, path: where, body: start}, nil); err != nil {
		return Running{}, fmt.Errorf("%s: start container %s: %w", s, name, err)
	}
	var now struct {
		Status string `json:"status"`
		PID    int    `json:"pid"`
	}
	if err := s.get(ctx, where, nil, &now); err != nil {
		return Running{}, fmt.Errorf("%s: look at container %s: %w", s, name, err)
	}
	if now.PID <= 0 {
		return Running{}, fmt.Errorf("%s: container %s has ended as soon as it was started: it is %s", s, name, now.Status)
	}
	return Running{Name: name, PID: now.PID}, nil
}
