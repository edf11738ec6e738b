package selftest

import (
	"context"
	"errors"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fanctl/fanctl/fan"
)

// aServer is a server that nobody has called; the tests run by a clock of their own.
func aServer(t *testing.T) *server {
	t.Helper()
	m, err := fan.NewMapping(ends[0].Underlay, ends[0].Overlay)
	if err != nil {
		t.Fatal(err)
	}
	x := Test{Fan: fan.Fan{Mapping: m, Host: ends[0].Host, Type: fan.IPIP, Bridge: "fan-250", MTU: 1480}, Addr: addr("250.0.8.130"), Label: "docker"}.ready()
	return &server{test: x, effort: x.Effort.filled(), turn: make(chan struct{}, 1), ended: make(chan served, 1)}
}

// calling are the two ends of a connection.
func calling(t *testing.T) (server, peer net.Conn) {
	t.Helper()
	server, peer = net.Pipe()
	t.Cleanup(func() {
		server.Close()
		peer.Close()
	})
	return server, peer
}

// obeyed runs the long part of a session, whose master does something meanwhile, and
// returns how long it was.
func obeyed(t *testing.T, master func(net.Conn)) (took time.Duration, err error) {
	t.Helper()
	s := aServer(t)
	c, peer := calling(t)
	n := newNear(s.test)
	n.peer = Hello{Fan: ends[1]}
	var other sync.WaitGroup
	other.Go(func() { master(peer) })
	l := newLine(context.Background(), c)
	begin := time.Now()
	err = s.obey(context.Background(), l, n, &Outcome{})
	took = time.Since(begin)
	l.close()
	other.Wait()
	return took, err
}

// A master that says nothing more does not keep the test container from others.
func TestSilentMaster(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		took, err := obeyed(t, func(net.Conn) {})
		var cause *Cause
		if !errors.As(err, &cause) || cause.Kind != Vanished || took > 2*time.Minute {
			t.Errorf("after %s: %v", took, err)
		}
	})
}

// Nor does one that always has something to say. A test can take that long from its
// beginning, however long its turn was waited for.
func TestEndlessMaster(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		took, err := obeyed(t, func(c net.Conn) {
			for write(c, message{Start: &Result{Test: TestPing, Side: Master, From: ends[1].Host, To: ends[0].Host}}) == nil {
				time.Sleep(time.Minute)
			}
		})
		if err == nil || !strings.Contains(err.Error(), "the test with 10.0.0.45 takes longer than") || took != maxSession {
			t.Errorf("after %s: %v", took, err)
		}
	})
}

// Who waits for the test container gets it when it is free, or is told that it is not.
func TestWaitingForTheTurn(t *testing.T) {
	for name, test := range map[string]struct {
		busy time.Duration
		want func(message) bool
	}{
		"it comes":       {maxSession - time.Second, func(m message) bool { return m.Hello != nil }},
		"it never comes": {2 * maxSession, func(m message) bool { return strings.Contains(m.Refused, "has been testing with others") }},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := aServer(t)
				s.turn <- struct{}{}
				free := time.AfterFunc(test.busy, func() { <-s.turn })
				defer free.Stop()
				c, peer := calling(t)
				go s.connection(context.Background(), c, ends[1].Host)
				// Another type: the test ends where it would begin.
				about := ends[1]
				about.Type = fan.VXLAN.String()
				if err := write(peer, message{Hello: &Hello{Program: "1.0", Label: "docker", Fan: about, Container: addr("250.0.45.130")}}); err != nil {
					t.Fatal(err)
				}
				r := newReader(peer)
				if m, err := read(r); err != nil || m.Wait == "" {
					t.Errorf("at first: %+v, %v", m, err)
				}
				if m, err := read(r); err != nil || !test.want(m) {
					t.Errorf("then: %+v, %v", m, err)
				}
			})
		})
	}
}

// A master that measures as long as it can is not silent for too long.
func TestIdleIsLongEnough(t *testing.T) {
	e := Effort{}.filled()
	for _, a := range []ask{{Do: doPing, Count: burst}, {Do: doShort}, {Do: doLong, Bytes: e.Long}, {Do: doSize}, {Do: doMark}, {Do: doRead}, {Do: doThroughput}} {
		if e.idle() < e.longest(a) {
			t.Errorf("%s takes up to %s, but a master may be silent for %s only", a.Do, e.longest(a), e.idle())
		}
	}
}
