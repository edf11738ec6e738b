//go:build containers

package containers

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/fanctl/fanctl/internal/image"
	"github.com/fanctl/fanctl/internal/lxd"
	"github.com/fanctl/fanctl/tests/bed"
	"github.com/fanctl/fanctl/tests/bed/engine"
)

func launch(t *testing.T, l *lxdHost, name string) (running lxd.Running, err error) {
	t.Helper()
	return launchUntil(t, l, name, context.Background())
}

func launchUntil(t *testing.T, l *lxdHost, name string, ctx context.Context) (running lxd.Running, err error) { //nolint:revive // t comes first
	t.Helper()
	content, err := image.LXD(runtime.GOARCH)
	if err != nil {
		t.Fatal(err)
	}
	l.with(t, func(s *lxd.Server) error {
		running, err = s.Launch(ctx, lxd.Container{Name: name, Profile: l.fan.Bridge, Image: bytes.NewReader(content), Size: int64(len(content))})
		return nil
	})
	return running, err
}

func tryLaunch(t *testing.T, l *lxdHost) {
	before := l.dump(t)
	l.on(t, false)
	wired := l.dump(t)
	for _, root := range []string{"of the default profile", "of a pool"} {
		if root == "of a pool" {
			l.MustCLI(t, "profile", "device", "remove", "default", "root")
		}
		running, err := launch(t, l, "fanatic-test")
		if root == "of a pool" {
			l.MustCLI(t, "profile", "device", "add", "default", "root", "disk", "path=/", "pool=p")
		}
		if err != nil {
			t.Fatal(err)
		}
		checkCard(t, l, bed.OfProcess(t, running.PID))
		if s := l.status(t); len(s.Users) != 0 {
			t.Errorf("a test's container is a user: %v", s.Users)
		}
		l.with(t, func(s *lxd.Server) error { return s.Remove(context.Background(), "fanatic-test") })
		l.with(t, func(s *lxd.Server) error { return s.Remove(context.Background(), "fanatic-test") })
		l.check(t, "after launch and remove", wired)
	}
	// One that a killed test has left is replaced, and goes with the fan.
	for range 2 {
		if _, err := launch(t, l, "fanatic-test"); err != nil {
			t.Fatal(err)
		}
	}
	l.off(t, false)
	l.check(t, "after a killed test", before)
}

// Ctrl-C at any time leaves nothing; with FANCTL_EVERY_STEP more of the times are tried.
func tryLaunchCancelled(t *testing.T, l *lxdHost) {
	l.on(t, false)
	wired := l.dump(t)
	factor, end := time.Duration(8), time.Second
	if os.Getenv(everyStep) != "" {
		factor, end = 2, time.Hour // until it is done before
	}
	for after := 8 * time.Millisecond; after < end; after *= factor {
		ctx, cancel := context.WithTimeout(context.Background(), after)
		_, err := launchUntil(t, l, "fanatic-test", ctx)
		cancel()
		if err == nil {
			break
		}
		t.Logf("cancelled after %v: %v", after, err)
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Error("it has failed of something else")
		}
		l.check(t, fmt.Sprintf("cancelled after %v", after), wired)
	}
	l.off(t, false)
}

// A test that was killed while it made its container leaves an image, or a container that
// the daemon is still making.
func tryLaunchKilled(t *testing.T, l *lxdHost) {
	content, err := image.LXD(runtime.GOARCH)
	if err != nil {
		t.Fatal(err)
	}
	l.on(t, false)
	wired := l.dump(t)
	file := filepath.Join(l.Dir, "test.tar.gz")
	for _, made := range []bool{false, true} {
		if err := os.WriteFile(file, content, 0o644); err != nil {
			t.Fatal(err)
		}
		l.MustCLI(t, "image", "import", file, "fanatic=test")
		if err := os.Remove(file); err != nil {
			t.Fatal(err)
		}
		if made {
			l.MustCLI(t, "query", "-X", "POST", "/1.0/instances", "-d", fmt.Sprintf(`{"name":"fanatic-test","source":{"type":"image","fingerprint":"%x"},
				"profiles":["fan-250"],"devices":{"root":{"type":"disk","path":"/","pool":"p"}},"config":{"user.fanatic":"test"}}`, sha256.Sum256(content)))
		}
		p := l.away(t, false)
		if len(p) < 2 {
			t.Errorf("made %t: %v", made, p)
		}
		apply(t, p[:len(p)-1]) // the last is the profile
		l.check(t, fmt.Sprintf("killed, made %t", made), wired)
	}
	l.off(t, false)
}

func tryLaunchFails(t *testing.T, l *lxdHost) {
	before := l.dump(t)
	if _, err := launch(t, l, "fanatic-test"); err == nil || !strings.Contains(err.Error(), "fan-250") {
		t.Errorf("launched without a profile: %v", err)
	}
	l.check(t, "after a launch without a profile", before)
	l.on(t, false)
	wired := l.dump(t)
	l.host.MustFanctl(t, "down", "-u", "10.0.0.0/16", "-o", "250")
	if _, err := launch(t, l, "fanatic-test"); err == nil || !strings.Contains(err.Error(), "start container fanatic-test") {
		t.Errorf("started without a bridge: %v", err)
	} else {
		t.Log(err)
	}
	l.check(t, "after a launch without a bridge", wired)
	l.host.MustFanctl(t, "up", "-u", "10.0.0.0/16", "-o", "250", "--type", "ipip")

	l.MustCLI(t, "profile", "device", "remove", "default", "root")
	l.MustCLI(t, "storage", "delete", "p")
	if _, err := launch(t, l, "fanatic-test"); err == nil || !strings.Contains(err.Error(), "has no storage for containers; give it some: ") {
		t.Errorf("launched without storage: %v", err)
	}
	l.MustCLI(t, "storage", "create", "p", "dir")
	l.MustCLI(t, "profile", "device", "add", "default", "root", "disk", "path=/", "pool=p")
	l.off(t, false)
}

func tryForeignInstance(t *testing.T, l *lxdHost) {
	l.on(t, false)
	l.MustCLI(t, "init", engine.LXDImage, "fanatic-test")
	before := l.dump(t)
	if _, err := launch(t, l, "fanatic-test"); err == nil || !strings.Contains(err.Error(), "none of fanatic's tests") {
		t.Errorf("launched as somebody else's: %v", err)
	}
	l.check(t, "somebody else's instance is", before)
	l.MustCLI(t, "delete", "fanatic-test")
	// The image of somebody else's that happens to be the test's stays.
	content, err := image.LXD(runtime.GOARCH)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(l.Dir, "theirs.tar.gz")
	if err := os.WriteFile(file, content, 0o644); err != nil {
		t.Fatal(err)
	}
	l.MustCLI(t, "image", "import", file, "--alias", "theirs")
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	if _, err := launch(t, l, "fanatic-test"); err != nil {
		t.Fatal(err)
	}
	l.off(t, false)
	l.MustCLI(t, "image", "delete", "theirs")
}
