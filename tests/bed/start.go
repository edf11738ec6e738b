package bed

import (
	"context"
	"runtime"
	"sync"
	"testing"
)

// Start starts a command inside the namespace. It runs until it ends by itself,
// the returned function is called, or the test ends.
func (n *NS) Start(t testing.TB, args ...string) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	cmd := n.Command(ctx, args...)
	started, ended := make(chan error), make(chan struct{})
	go func() {
		defer close(ended)
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			_ = cmd.Wait() // it was told to end, or its client reports why not
		}
	}()
	if err := <-started; err != nil {
		cancel()
		t.Fatalf("in %s: start %v: %v", n.Name, args, err)
	}
	stop = sync.OnceFunc(func() {
		cancel()
		<-ended
	})
	t.Cleanup(stop)
	return stop
}
