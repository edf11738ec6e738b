//go:build containers

package containers

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fanctl/fanctl/fan"
	"github.com/fanctl/fanctl/internal/docker"
	"github.com/fanctl/fanctl/tests/bed/engine"
)

// Where systemd listens for Docker and starts it when somebody asks, it is waited for;
// one that does not start then is down.
func TestDockerStartsOnDemand(t *testing.T) {
	t.Parallel()
	h := newDockerHost(t, engine.Docker20, fan.IPIP, "")
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", h.engine.PID()))
	if err != nil {
		t.Fatal(err)
	}
	words := strings.Split(strings.TrimSuffix(string(text), "\x00"), "\x00")
	i := slices.Index(words, "--host")
	if i < 0 {
		t.Fatalf("the daemon's words are %q", words)
	}
	words[i+1] = "fd://"
	h.engine.Stop(t)
	for _, test := range []struct {
		name, script string
		down         bool
	}{
		{"it does not start", "exec 3<&-; sleep 1000000 & wait", true},
		{"it starts", "export PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root\nsh -c 'export LISTEN_PID=$$; exec " + strings.Join(words, " ") + "' & wait", false},
	} {
		t.Run(test.name, func(t *testing.T) {
			h.listen(t, test.script)
			err := h.with(func(ctx context.Context, d *docker.Daemon) error {
				_, err := d.Status(ctx, bridge)
				return err
			})
			if errors.Is(err, docker.ErrDown) != test.down || !test.down && err != nil {
				t.Errorf("asked while nothing but systemd listens: %v", err)
			}
		})
	}
}

// listen has a program of systemd's own, under systemd's name, listen at the engine's
// socket. When somebody connects it becomes a shell with the name of init, whose file 3
// the socket is.
func (h *dockerHost) listen(t *testing.T, script string) {
	t.Helper()
	dir := t.TempDir()
	systemd, init, log := filepath.Join(dir, "systemd"), filepath.Join(dir, "init"), filepath.Join(dir, "log")
	for path, from := range map[string]string{systemd: "/usr/bin/systemd-socket-activate", init: "/bin/sh"} {
		program, err := os.ReadFile(from)
		if err == nil {
			err = os.WriteFile(path, program, 0o755)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	out, err := os.Create(log)
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	cmd := exec.Command(systemd, "-l", h.engine.Socket, init, "-c", script)
	cmd.Stdout, cmd.Stderr = out, out
	// What it starts is in the engine's groups, and ends with the test there.
	if err := h.engine.Do(cmd.Start); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		_ = cmd.Wait()
		close(ended)
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		<-ended
		if text, err := os.ReadFile(log); t.Failed() {
			t.Logf("what listens said: %s, %v", text, err)
		}
	})
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
		text, err := os.ReadFile(log)
		if err == nil && bytes.Contains(text, []byte("Listening on")) {
			return
		}
		if err != nil || time.Now().After(deadline) {
			t.Fatalf("nothing listens: %v: %s", err, text)
		}
	}
}
