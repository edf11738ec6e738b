package main

import (
	"os"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/fanctl/fanctl/fan"
	"github.com/fanctl/fanctl/internal/host"
)

// hookWait is how long a command of ifupdown waits for an address: an interface
// whose address comes later is up only so much later.
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

// await waits for the address of an underlay for as long as --wait says, or
// otherwise, for byDefault.
func await(c *cli.Context, h *host.Host, underlay fan.UnderlaySpec, byDefault time.Duration) error {
	const most = 24 * 60 * 60
	wait := byDefault
	if c.IsSet("wait") {
		seconds := c.Int("wait")
		if seconds < 0 || seconds > most {
			return fan.Usagef("--wait %d is not a number of seconds from 0 to %d", seconds, most)
		}
		wait = time.Duration(seconds) * time.Second
	}
	if wait == 0 || c.Bool("dry-run") {
		return nil
	}
	return h.Await(underlay, wait)
}
