package main

import (
	"net"
	"os"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/fanctl/fanctl/fan"
)

// hookWait is how long a command of ifupdown waits for addresses, and for other runs
// of fanctl: an interface whose address comes later is up only so much later.
const hookWait = 5 * time.Second

// hookDevice returns the interface for which ifupdown runs this command, by the
// environment that interfaces(5) promises, or "" if it is not ifupdown. There a
// command must not fail, or the interface counts as down and the machine may be
// offline (Launchpad bugs 1551747 and 1729608 of the original).
func hookDevice() string {
	if mode := os.Getenv("MODE"); mode != "start" && mode != "stop" || os.Getenv("PHASE") == "" {
		return ""
	}
	return os.Getenv("IFACE")
}

func waitFlag() cli.Flag {
	return &cli.IntFlag{Name: "wait", Usage: "wait up to `SECONDS` for the underlay's address", DefaultText: "0, or 5 where ifupdown calls"}
}

// deadline is when a command waits no longer.
type deadline struct {
	wait time.Time // for addresses
	lock time.Time // for other runs of fanctl, in a hook
}

// deadlineOf returns the deadline that --wait sets, counted from now. In a hook there
// is one without it, too.
func deadlineOf(c *cli.Context) (deadline, error) {
	const most = 24 * 60 * 60
	var wait time.Duration
	if hookDevice() != "" {
		wait = hookWait
	}
	if c.IsSet("wait") {
		seconds := c.Int("wait")
		if seconds < 0 || seconds > most {
			return deadline{}, fan.Usagef("--wait %d is not a number of seconds from 0 to %d", seconds, most)
		}
		wait = time.Duration(seconds) * time.Second
	}
	if c.Bool("dry-run") {
		wait = 0
	}
	now := time.Now()
	return deadline{now.Add(wait), now.Add(max(wait, hookWait))}, nil
}

func (d deadline) over() bool { return !time.Now().Before(d.wait) }

// patience is how long a change may wait for another run of fanctl; 0 for as long as
// is usual.
func (d deadline) patience() time.Duration {
	if hookDevice() == "" {
		return 0
	}
	return max(time.Until(d.lock), time.Millisecond)
}

// ofAnother says whether an underlay is named by a device other than that of the hook.
// What it lacks is the affair of that device's hook. A loopback device lacks only routes,
// which no hook of its own brings: it is up before all others.
func ofAnother(underlay fan.UnderlaySpec) bool {
	device := hookDevice()
	return device != "" && underlay.Device != "" && underlay.Device != device && !isLoopback(underlay.Device)
}

func isLoopback(device string) bool {
	i, err := net.InterfaceByName(device)
	return err == nil && i.Flags&net.FlagLoopback != 0
}
