//go:build containers

package containers

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"

	"github.com/fanctl/fanctl/fan"
	"github.com/fanctl/fanctl/internal/lxd"
)

func tryDefault(t *testing.T, l *lxdHost) {
	for name, prepare := range map[string][]string{
		"no eth0": nil,
		"an eth0": {"profile", "device", "add", "default", "eth0", "nic", "nictype=bridged", "parent=elsewhere", "name=eth0", "mtu=1400"},
	} {
		t.Run(name, func(t *testing.T) {
			if prepare != nil {
				l.MustCLI(t, prepare...)
				defer l.MustCLI(t, "profile", "device", "remove", "default", "eth0")
			}
			before := l.dump(t)
			undone(t, l.plan(t, true))
			l.check(t, "after undo", before)
			l.on(t, true)
			if got := l.MustCLI(t, "profile", "device", "get", "default", "eth0", "parent"); got != "fan-250" {
				t.Errorf("the default profile's eth0 is on %q", got)
			}
			if s := l.status(t); !s.Enabled || !s.InDefault {
				t.Errorf("status %+v", s)
			}
			wired := l.dump(t)
			undone(t, l.away(t, false))
			l.check(t, "after undo of away", wired)
			l.on(t, false)
			if s := l.status(t); !s.Enabled || s.InDefault {
				t.Errorf("status %+v", s)
			}
			l.on(t, true)
			l.off(t, false)
			l.check(t, "after on and off", before)
		})
	}
}

// What somebody has made of the default profile's network card since stays.
func tryDefaultChanged(t *testing.T, l *lxdHost) {
	l.MustCLI(t, "profile", "device", "add", "default", "eth0", "nic", "nictype=bridged", "parent=elsewhere", "name=eth0")
	defer l.MustCLI(t, "profile", "device", "remove", "default", "eth0")
	l.on(t, true)
	l.MustCLI(t, "profile", "device", "set", "default", "eth0", "parent=third")
	l.MustCLI(t, "profile", "set", "default", "limits.processes", "100")
	defer l.MustCLI(t, "profile", "unset", "default", "limits.processes")
	p := l.away(t, false)
	if text := fmt.Sprint(p); !strings.Contains(text, "somebody has changed eth0 of the profile default since") || !strings.Contains(text, "elsewhere") {
		t.Errorf("no word of it: %s", text)
	}
	apply(t, p)
	if got := l.MustCLI(t, "profile", "device", "get", "default", "eth0", "parent"); got != "third" {
		t.Errorf("the default profile's eth0 is on %q", got)
	}
}

func tryDefaultTaken(t *testing.T, l *lxdHost) {
	l.MustCLI(t, "profile", "device", "add", "default", "lan", "nic", "nictype=bridged", "parent=elsewhere", "name=eth0")
	defer l.MustCLI(t, "profile", "device", "remove", "default", "lan")
	l.with(t, func(s *lxd.Server) error {
		_, err := s.Plan(context.Background(), l.fan, true)
		if !errors.Is(err, fan.ErrUsage) || !strings.Contains(err.Error(), "device lan") {
			t.Errorf("another device is eth0: %v", err)
		}
		return nil
	})
}

// The default profile is not taken from another fan of ours, which keeps what it was.
func tryDefaultElsewhere(t *testing.T, l *lxdHost) {
	l.MustCLI(t, "profile", "device", "add", "default", "eth0", "nic", "nictype=bridged", "parent=elsewhere", "name=eth0")
	defer l.MustCLI(t, "profile", "device", "remove", "default", "eth0")
	l.on(t, true)
	second := *l
	second.fan.Bridge = "fan-251"
	l.with(t, func(s *lxd.Server) error {
		_, err := s.Plan(context.Background(), second.fan, true)
		if !errors.Is(err, fan.ErrUsage) || !strings.Contains(err.Error(), "on another fan already, fan-250") {
			t.Errorf("the default profile of another fan: %v", err)
		}
		return nil
	})
	second.on(t, false)
	l.on(t, false)
	second.on(t, true)
	l.off(t, false)
	second.off(t, false)
	if got := l.MustCLI(t, "profile", "device", "get", "default", "eth0", "parent"); got != "elsewhere" {
		t.Errorf("the default profile's eth0 is on %q", got)
	}
}

// A running container's card changes with the default profile, and the plan says so.
func tryDefaultRunning(t *testing.T, l *lxdHost) {
	c := l.Launch(t, "plain")
	defer l.MustCLI(t, "delete", "--force", "plain")
	p := l.plan(t, true)
	if text := fmt.Sprint(p); !strings.Contains(text, "# at once in plain") {
		t.Errorf("the running container is not named: %s", text)
	}
	apply(t, p)
	c.Device(t, "eth0")
	l.off(t, false)
	err := c.Do(func() error {
		if _, err := net.InterfaceByName("eth0"); err == nil {
			return errors.New("the container still has eth0")
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}
