package selftest

import (
	"bufio"
	"context"
	"crypto/rand"
	"crypto/subtle"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/fanctl/fanctl/fan"
	"github.com/fanctl/fanctl/internal/probe"
)

const (
	maxConnections = 64  // at once, of all peers
	maxOfPeer      = 4   // at once, of one peer: one waits, one tests and has one for data
	maxMessages    = 500 // of one session
	// greetingTime is how long a peer may take for its first message.
	greetingTime = 10 * time.Second
)

// server answers the hosts that call.
type server struct {
	test     Test
	effort   Effort
	listener *net.TCPListener
	only     netip.Addr         // the one host that may call, or the zero value
	turn     chan struct{}      // who has put something in has the test container
	ended    chan served        // gets the outcome of each session
	cancel   context.CancelFunc // ends all that goes on
	all      sync.WaitGroup

	mu     sync.Mutex
	ticket string // of the session that goes on
	master netip.Addr
	open   map[netip.Addr]int // connections by peer
	sum    int                // of them
}

// served is a session that is over.
type served struct {
	outcome Outcome
	err     error
}

// Serve answers the hosts of the underlay that call to be tested, one after the
// other, until the context ends. They can have only these tests done, with this test
// container, and within limits.
func (t Test) Serve(ctx context.Context) error {
	t = t.ready()
	s, err := t.listen(ctx, netip.Addr{})
	if err != nil {
		return err
	}
	defer s.close()
	t.Report.Note(fmt.Sprintf("waiting for other hosts at %s port %d; run there \"fanatic test %s\"", t.Fan.Host, t.port(), t.Fan.Host))
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-s.ended: // it was reported as it went
		}
	}
}

// listen begins to answer.
func (t Test) listen(ctx context.Context, only netip.Addr) (*server, error) {
	at := netip.AddrPortFrom(t.Fan.Host, t.port())
	l, err := t.Host.Listen(ctx, at)
	if errors.Is(err, unix.EADDRINUSE) {
		return nil, fan.Usagef("port %d of %s is taken: another \"fanatic test\" may run; take another port, the same on both hosts", t.port(), t.Fan.Host)
	}
	if err != nil {
		return nil, fmt.Errorf("listen at %s: %w", at, err)
	}
	ctx, cancel := context.WithCancel(ctx)
	s := &server{test: t, effort: t.Effort.filled(), listener: l, only: only,
		turn: make(chan struct{}, 1), ended: make(chan served), cancel: cancel, open: map[netip.Addr]int{}}
	context.AfterFunc(ctx, func() { _ = l.Close() })
	s.all.Go(func() { s.accept(ctx) })
	return s, nil
}

func (s *server) close() {
	s.cancel()
	s.all.Wait()
}

func (s *server) accept(ctx context.Context) {
	for ctx.Err() == nil {
		c, err := s.listener.AcceptTCP()
		if err != nil {
			// Out of files, or the peer has gone again: not at once, lest it be a busy loop.
			select {
			case <-ctx.Done():
			case <-time.After(50 * time.Millisecond):
			}
			continue
		}
		from, ok := c.RemoteAddr().(*net.TCPAddr)
		if !ok {
			c.Close()
			continue
		}
		peer := from.AddrPort().Addr().Unmap()
		if !s.enter(peer) {
			c.Close() // whoever calls so often can call again
			continue
		}
		s.all.Go(func() {
			defer s.leave(peer)
			s.connection(ctx, c, peer)
		})
	}
}

// enter takes a place for a peer's connection, if there is one.
func (s *server) enter(peer netip.Addr) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.sum == maxConnections || s.open[peer] == maxOfPeer {
		return false
	}
	s.sum++
	s.open[peer]++
	return true
}

func (s *server) leave(peer netip.Addr) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sum--
	if s.open[peer]--; s.open[peer] == 0 {
		delete(s.open, peer)
	}
}

// connection serves one connection, to its end.
func (s *server) connection(ctx context.Context, c net.Conn, peer netip.Addr) {
	l := newLine(ctx, c)
	defer l.close()
	if why := s.unwelcome(peer); why != "" {
		_ = l.send(message{Refused: why}, s.effort.Stall) // it need not listen
		return
	}
	m, err := l.next(greetingTime)
	switch {
	case err != nil:
		_ = l.send(message{Refused: err.Error()}, s.effort.Stall)
	case m.Ticket != "":
		s.data(ctx, l, peer, m.Ticket)
	case m.Hello != nil:
		s.queue(ctx, l, peer, *m.Hello)
	default:
		_ = l.send(message{Refused: "a hello was expected"}, s.effort.Stall)
	}
}

// unwelcome says why a host may not test; "" if it may.
func (s *server) unwelcome(peer netip.Addr) string {
	u := s.test.Fan.Mapping.Underlay()
	switch {
	case !u.Contains(peer):
		return fmt.Sprintf("%s is not in the underlay %s of the fan of %s", peer, u, s.test.Fan.Host)
	case s.only.IsValid() && peer != s.only:
		return fmt.Sprintf("%s waits for %s only", s.test.Fan.Host, s.only)
	}
	return ""
}

// data serves a connection that measures the way between the hosts.
func (s *server) data(ctx context.Context, l *line, peer netip.Addr, ticket string) {
	s.mu.Lock()
	valid := s.ticket != "" && peer == s.master && subtle.ConstantTimeCompare([]byte(ticket), []byte(s.ticket)) == 1
	s.mu.Unlock()
	if valid {
		ctx, cancel := context.WithTimeout(ctx, maxSession)
		defer cancel()
		_ = probe.Answer(ctx, buffered{l.conn, l.reader}, s.effort.limits()) // who asked sees what went wrong
	}
}

// buffered is a connection of which something was read already.
type buffered struct {
	net.Conn
	reader *bufio.Reader
}

func (b buffered) Read(p []byte) (int, error) { return b.reader.Read(p) }

// queue runs a session when it is its turn.
func (s *server) queue(ctx context.Context, l *line, peer netip.Addr, master Hello) {
	select {
	case s.turn <- struct{}{}:
	default:
		if err := l.send(message{Wait: fmt.Sprintf("%s is testing with another host", s.test.Fan.Host)}, s.effort.Stall); err != nil {
			return
		}
		select {
		case s.turn <- struct{}{}:
		case <-ctx.Done():
			return
		case <-time.After(maxSession):
			_ = l.send(message{Refused: fmt.Sprintf("%s has been testing with others for %s", s.test.Fan.Host, maxSession)}, s.effort.Stall)
			return
		}
	}
	outcome, err := s.session(ctx, l, peer, master)
	<-s.turn
	var cause *Cause
	switch {
	case errors.As(err, &cause):
		s.test.endEarly(&outcome, peer, s.test.Fan.Host, cause)
		err = nil
	case err != nil && ctx.Err() == nil:
		s.test.Report.Note(fmt.Sprintf("test with %s ended early: %v", peer, err))
	}
	select {
	case s.ended <- served{outcome, err}:
	case <-ctx.Done():
	}
}

// session is one host that tests.
func (s *server) session(ctx context.Context, l *line, peer netip.Addr, master Hello) (Outcome, error) {
	outcome := Outcome{Name: nameOf(master, s.test.hello()), Peer: master.peer()}
	n := newNear(s.test)
	defer n.close()
	n.peer = master
	n.hello.Seen, n.hello.Ticket = peer, rand.Text()
	cause := differences(master, n.hello, peer)
	if cause == nil {
		if err := n.answerTo(ctx, master.Fan.Slice); err != nil {
			_ = l.send(message{Refused: err.Error()}, s.effort.Stall)
			return outcome, err
		}
	}
	if err := l.send(message{Hello: &n.hello}, s.effort.Stall); err != nil {
		return outcome, vanished(ctx, master, err)
	}
	r := Result{Test: TestControl, Side: Master, From: master.Fan.Host, To: n.hello.Fan.Host, Pass: cause == nil, Cause: cause}
	s.test.Report.Done(r)
	outcome.add(r)
	if cause != nil {
		s.test.Report.Note(Complete(outcome.Name, outcome.Score))
		return outcome, nil
	}
	s.admit(n.hello.Ticket, peer)
	defer s.admit("", netip.Addr{})
	return outcome, s.obey(ctx, l, n, &outcome)
}

// admit says who may measure the way between the hosts.
func (s *server) admit(ticket string, master netip.Addr) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ticket, s.master = ticket, master
}

// obey does what the master asks until it says goodbye. Others may wait for the test
// container, so neither may it take long, nor keep silent.
func (s *server) obey(ctx context.Context, l *line, n *near, outcome *Outcome) error {
	ctx, cancel := context.WithTimeoutCause(ctx, maxSession, tooLong(n.peer.Fan.Host))
	defer cancel()
	l.until(ctx)
	for range maxMessages {
		m, err := l.next(s.effort.idle())
		if err != nil {
			return vanished(ctx, n.peer, err)
		}
		switch {
		case m.Ask != nil:
			a, err := n.do(ctx, *m.Ask)
			if err != nil {
				a = answer{Error: err.Error()}
			}
			if err := l.send(message{Answer: &a}, s.effort.Stall); err != nil {
				return vanished(ctx, n.peer, err)
			}
		case m.Start != nil:
			s.test.Report.Start(*m.Start)
		case m.Done != nil:
			s.test.Report.Done(*m.Done)
			outcome.add(*m.Done)
		case m.Bye != nil:
			s.test.Report.Note(Complete(outcome.Name, outcome.Score))
			return nil
		default:
			return fmt.Errorf("%w: not what a master says", errMessage)
		}
	}
	return fmt.Errorf("more than %d messages", maxMessages)
}

// endEarly reports a test that came to an end in the middle.
func (t Test) endEarly(o *Outcome, master, slave netip.Addr, cause *Cause) {
	r := Result{Test: TestControl, Side: Master, From: master, To: slave, Cause: cause}
	t.Report.Done(r)
	o.add(r)
	t.Report.Note(Complete(o.Name, o.Score))
}

// nameOf is the name of a test of two hosts.
func nameOf(master, slave Hello) string {
	if master.Label == slave.Label {
		return "host " + master.Label
	}
	return "host " + master.Label + "-" + slave.Label
}
