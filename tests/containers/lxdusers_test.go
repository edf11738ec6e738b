//go:build containers

package containers

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/fanctl/fanctl/fan"
	"github.com/fanctl/fanctl/internal/lxd"
	"github.com/fanctl/fanctl/tests/bed/engine"
)

func tryForeignProfile(t *testing.T, l *lxdHost) {
	l.MustCLI(t, "profile", "create", "fan-250")
	defer l.MustCLI(t, "profile", "delete", "fan-250")
	before := l.dump(t)
	for _, byDefault := range []bool{false, true} {
		l.with(t, func(s *lxd.Server) error {
			_, err := s.Plan(context.Background(), l.fan, byDefault)
			if !errors.Is(err, fan.ErrUsage) || !strings.Contains(err.Error(), "profile fan-250 that is not fanatic's") {
				t.Errorf("somebody else's profile: %v", err)
			}
			return nil
		})
	}
	if p := l.away(t, true); len(p) != 0 {
		t.Errorf("somebody else's profile is to go: %v", p)
	}
	if s := l.status(t); s.Enabled {
		t.Errorf("status %+v", s)
	}
	l.check(t, "somebody else's profile is", before)
}

func tryInUse(t *testing.T, l *lxdHost) {
	l.on(t, false)
	c := l.Launch(t, "busy", "--profile", "default", "--profile", "fan-250")
	l.MustCLI(t, "init", engine.LXDImage, "idle", "--profile", "fan-250", "--profile", "default")
	defer l.MustCLI(t, "delete", "--force", "busy", "idle")
	l.MustCLI(t, "query", "-X", "POST", "-d", `{"name":"web","config":{"features.profiles":"false","features.images":"false"}}`, "/1.0/projects")
	defer l.MustCLI(t, "query", "-X", "DELETE", "/1.0/projects/web")
	l.MustCLI(t, "init", engine.LXDImage, "site", "--project", "web", "--profile", "default", "--profile", "fan-250")
	defer l.MustCLI(t, "delete", "site", "--project", "web")
	checkCard(t, l, c.NS)
	want := "[busy (running) idle site of project web]"
	if s := l.status(t); fmt.Sprint(s.Users) != want {
		t.Errorf("users %v, want %s", s.Users, want)
	}
	before := l.dump(t)
	l.with(t, func(s *lxd.Server) error {
		_, err := s.PlanAway(context.Background(), l.fan.Bridge, false)
		var used *lxd.InUseError
		if !errors.As(err, &used) || fmt.Sprint(used.Users) != want {
			t.Errorf("in use: %v", err)
		}
		return nil
	})
	l.check(t, "in use, it is", before)
	undone(t, l.away(t, true))
	if got := l.MustCLI(t, "list", "-f", "csv", "-c", "nP"); got != "busy,\"default\nfan-250\"\nidle,\"fan-250\ndefault\"" {
		t.Errorf("after undo the instances have the profiles\n%s", got)
	}
	l.off(t, true)
	if got := l.MustCLI(t, "list", "-f", "csv", "-c", "nP"); got != "busy,default\nidle,default" {
		t.Errorf("the instances have the profiles\n%s", got)
	}
}
