package main

import (
	"errors"
	"fmt"
	"os"
	"os/signal"
	"runtime/debug"
	"strings"

	"github.com/urfave/cli/v2"
	"golang.org/x/sys/unix"

	"github.com/fanctl/fanctl/internal/command"
	"github.com/fanctl/fanctl/internal/host"
)

func watchCommand(usage cli.OnUsageErrorFunc) *cli.Command {
	return &cli.Command{
		Name:      "watch",
		Usage:     "give ports of fast fans their programs as containers come and go",
		UsageText: "fanctl watch [--verbose]",
		Description: "up starts it for the first fan with --fast, and it ends with the last. While it does not run, new containers' packets\n" +
			"go the normal way until fanctl up -e, which starts it again.",
		Flags:        []cli.Flag{&cli.BoolFlag{Name: "verbose", Aliases: []string{"v"}, Usage: "say each change"}},
		OnUsageError: usage,
		Action: func(c *cli.Context) error {
			if err := command.NoWords(c); err != nil {
				return err
			}
			return withHost(func(h *host.Host) error { return watch(c, h) })
		},
	}
}

// watch goes on until it is ended, or in another version of the program.
func watch(c *cli.Context, h *host.Host) error {
	ctx, stop := signal.NotifyContext(c.Context, unix.SIGINT, unix.SIGTERM)
	defer stop()
	debug.SetGCPercent(25) // it lives long and does little: memory counts for more than time
	slow := map[string]string{}
	err := h.Watch(ctx, func(r host.Result, err error) {
		if err != nil {
			command.PrintError(c.App, err)
			return
		}
		tellWatched(c, r, slow)
	})
	if !errors.Is(err, host.ErrReplaced) {
		return err
	}
	path, err := os.Executable()
	if err == nil {
		err = unix.Exec(strings.TrimSuffix(path, " (deleted)"), os.Args, os.Environ())
	}
	return fmt.Errorf("start the fanctl that has taken this one's place: %w", err)
}

// tellWatched says what has become of a fan. slow has what was said of each last.
func tellWatched(c *cli.Context, r host.Result, slow map[string]string) {
	if len(r.Plan) > 0 && c.Bool("verbose") {
		fmt.Fprintln(c.App.Writer, mended(r))
	}
	is := strings.Join(r.SlowBecause, ", ")
	switch is {
	case slow[r.Fan.Bridge]:
		return
	case "":
		fmt.Fprintf(c.App.Writer, "%s is fast again\n", r.Fan.Bridge)
	default:
		fmt.Fprintln(c.App.Writer, r.Fan.Bridge+" "+host.NotFast(r.SlowBecause))
	}
	slow[r.Fan.Bridge] = is
}
