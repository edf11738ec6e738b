// Command fanatic sets up fan networking on a host with its container engines, tests
// it, and takes it all away again.
package main

import (
	"context"
	"errors"
	"os"
	"os/signal"
	"syscall"
)

// errInterrupted is why a run ended that somebody has ended.
var errInterrupted = errors.New("interrupted; what was being changed is as it was before")

func main() {
	ctx, cancel := context.WithCancelCause(context.Background())
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	signal.Ignore(syscall.SIGPIPE) // a reader that has gone must not end a change half way
	go func() {
		<-signals
		cancel(errInterrupted)
	}()
	os.Exit(run(ctx, os.Args, terminal{os.Stdin, os.Stdout, os.Stderr}))
}
