package tests

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/fanctl/fanctl/tests/bed"
)

// load is traffic between two containers that has to go on: a stream of TCP, datagrams of
// which each waits for its answer, and pings.
type load struct {
	received        atomic.Int64 // bytes of the stream
	pause           atomic.Int64 // the longest of the stream, in ns
	asked, answered atomic.Int64 // datagrams
	pings, pongs    atomic.Int64

	stop    context.CancelFunc
	workers sync.WaitGroup
	failed  chan error
}

// newLoad begins, and returns when all of it has begun to flow.
func newLoad(t *testing.T, from, to *bed.Container) *load {
	t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	l := &load{stop: stop, failed: make(chan error, 4)}
	t.Cleanup(func() {
		stop()
		l.workers.Wait()
	})
	l.work(func() error { return l.ping(ctx, from, to) })
	if err := l.stream(ctx, from, to); err != nil {
		t.Fatalf("begin a stream: %v", err)
	}
	server := to.Serve(t, to.Addr)
	l.work(func() error {
		for ctx.Err() == nil {
			const some = 20
			got, err := from.EchoUDP(server, some, 300)
			l.asked.Add(some)
			l.answered.Add(int64(got))
			if err != nil {
				return fmt.Errorf("datagrams: %w", err)
			}
		}
		return nil
	})
	l.goesOn(t, "at first")
	return l
}

func (l *load) work(fn func() error) {
	l.workers.Add(1)
	go func() {
		defer l.workers.Done()
		if err := fn(); err != nil {
			l.failed <- err
		}
	}()
}

// ping sends pings by the hundred, until it is told to stop.
func (l *load) ping(ctx context.Context, from, to *bed.Container) error {
	for ctx.Err() == nil {
		r := from.Exec("ping", "-n", "-q", "-c", "100", "-i", "0.002", "-W", "5", to.Addr.String())
		if bed.Sent(r.Stdout) < 0 {
			return fmt.Errorf("ping %s: %s", to.Addr, r)
		}
		l.pings.Add(int64(bed.Sent(r.Stdout)))
		l.pongs.Add(int64(bed.Answered(r.Stdout)))
	}
	return nil
}

// stream connects, and sends until it is told to stop.
func (l *load) stream(ctx context.Context, from, to *bed.Container) error {
	var listener net.Listener
	err := to.Do(func() (err error) {
		listener, err = net.Listen("tcp4", netip.AddrPortFrom(to.Addr, 0).String())
		return err
	})
	if err != nil {
		return err
	}
	defer listener.Close()
	var out net.Conn
	err = from.Do(func() (err error) {
		out, err = net.DialTimeout("tcp4", listener.Addr().String(), bed.Patience())
		return err
	})
	if err != nil {
		return err
	}
	in, err := listener.Accept()
	if err != nil {
		return err
	}
	l.work(func() error {
		defer in.Close()
		buf := make([]byte, 64<<10)
		for last := time.Now(); ; last = time.Now() {
			n, err := in.Read(buf)
			l.received.Add(int64(n))
			l.pause.Store(max(l.pause.Load(), int64(time.Since(last))))
			if errors.Is(err, io.EOF) {
				return nil
			}
			if err != nil {
				return fmt.Errorf("receive a stream: %w", err)
			}
		}
	})
	l.work(func() error {
		defer out.Close()
		piece := make([]byte, 32<<10)
		for ctx.Err() == nil {
			if _, err := out.Write(piece); err != nil {
				return fmt.Errorf("send a stream: %w", err)
			}
			time.Sleep(time.Millisecond) // leaves the processor to the others
		}
		return nil
	})
	return nil
}

// goesOn waits until the stream and the datagrams have got further.
func (l *load) goesOn(t *testing.T, when string) {
	t.Helper()
	const further = 1 << 20
	bytes, answers, pongs := l.received.Load(), l.answered.Load(), l.pongs.Load()
	if !eventually(func() bool {
		return l.received.Load() > bytes+further && l.answered.Load() > answers+20 && l.pongs.Load() > pongs || len(l.failed) > 0
	}) {
		t.Fatalf("%s: the stream got on by %d bytes, the datagrams by %d, the pings by %d", when,
			l.received.Load()-bytes, l.answered.Load()-answers, l.pongs.Load()-pongs)
	}
	select {
	case err := <-l.failed:
		t.Fatalf("%s: %v", when, err)
	default:
	}
}

// end stops, and fails the test if more was lost than one packet in so many; 0: any.
func (l *load) end(t *testing.T, oneIn int64) {
	t.Helper()
	l.stop()
	l.workers.Wait()
	for what, count := range map[string][2]*atomic.Int64{"pings": {&l.pings, &l.pongs}, "datagrams": {&l.asked, &l.answered}} {
		sent, got := count[0].Load(), count[1].Load()
		if lost := sent - got; lost*oneIn > sent || oneIn == 0 && lost != 0 {
			t.Errorf("%d of %d %s answered", got, sent, what)
		}
		t.Logf("%d of %d %s answered", got, sent, what)
	}
	t.Logf("%d MB in a stream, of which the longest pause was %v", l.received.Load()>>20, time.Duration(l.pause.Load()))
	select {
	case err := <-l.failed:
		t.Error(err)
	default:
	}
}
