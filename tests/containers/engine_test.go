//go:build containers

package containers

import (
	"testing"

	"github.com/fanctl/fanctl/tests/bed"
	"github.com/fanctl/fanctl/tests/bed/engine"
)

// oneHost is a bed of a single host.
func oneHost(t *testing.T) *bed.Host {
	t.Helper()
	return bed.New(t, bed.Options{Hosts: []string{"10.0.0.11"}}).Hosts[0]
}

// restarts tries that the restart program of a Docker daemon does what it says.
func restarts(t *testing.T, h *bed.Host, d *engine.Dockerd) {
	t.Helper()
	before := d.PID()
	accept := d.Refuse(t)
	if r := h.Exec(d.RestartProgram); r.Code == 0 {
		t.Error("the restart program says that the daemon has started, which was to refuse")
	}
	accept()
	if r := h.Exec(d.RestartProgram); r.Code != 0 {
		t.Errorf("the restart program: %s", r)
	}
	if d.PID() == before {
		t.Error("the restart program has not started the daemon anew")
	}
}
