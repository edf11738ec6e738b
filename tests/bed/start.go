package bed

import (
	"context"
	"sync"
	"testing"
)

// Start starts a command inside the namespace. It runs until it ends by itself,
// the returned function is called, or the test ends.
func (n *NS) Start(t testing.TB, args ...string) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	cmd := n.Command(ctx, args...)
	if err := cmd.Start(); err != nil {
		cancel()
		t.Fatalf("in %s: start %v: %v", n.Name, args, err)
	}
	stop = sync.OnceFunc(func() {
		cancel()
		_ = cmd.Wait() // it was told to end, or its client has reported why not
	})
	t.Cleanup(stop)
	return stop
}
