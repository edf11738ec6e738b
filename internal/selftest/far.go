package selftest

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"time"
)

// line is a control connection. One side speaks at a time.
type line struct {
	conn   net.Conn
	reader *bufio.Reader
	end    func() bool
}

// newLine makes a control connection that ends with the context.
func newLine(ctx context.Context, c net.Conn) *line {
	return &line{c, newReader(c), context.AfterFunc(ctx, func() { c.Close() })}
}

// until makes it end with this context, and no longer with the one it was made with.
func (l *line) until(ctx context.Context) {
	l.end()
	l.end = context.AfterFunc(ctx, func() { l.conn.Close() })
}

func (l *line) close() {
	l.end()
	l.conn.Close()
}

// send sends a message within a time.
func (l *line) send(m message, within time.Duration) error {
	if err := l.conn.SetWriteDeadline(time.Now().Add(within)); err != nil {
		return err
	}
	return write(l.conn, m)
}

// next gets the peer's next message within a time.
func (l *line) next(within time.Duration) (message, error) {
	if err := l.conn.SetReadDeadline(time.Now().Add(within)); err != nil {
		return message{}, err
	}
	return read(l.reader)
}

// far is the peer's end, behind the control connection.
type far struct {
	line   *line
	hello  Hello
	effort Effort
}

func (f *far) about() Hello { return f.hello }

// do has the peer do it.
func (f *far) do(ctx context.Context, a ask) (answer, error) {
	if err := f.line.send(message{Ask: &a}, f.effort.Stall); err != nil {
		return answer{}, vanished(ctx, f.hello, err)
	}
	m, err := f.line.next(f.effort.longest(a))
	switch {
	case err != nil:
		return answer{}, vanished(ctx, f.hello, err)
	case m.Answer == nil:
		return answer{}, fmt.Errorf("%s: %w: an answer was expected", f.hello.Fan.Host, errMessage)
	case m.Answer.Error != "":
		return answer{}, fmt.Errorf("%s: %s", f.hello.Fan.Host, m.Answer.Error)
	}
	return *m.Answer, m.Answer.check(a)
}

// check refuses an answer to another question.
func (a answer) check(to ask) error {
	is := true
	switch to.Do {
	case doPing:
		is = a.Pings != nil && a.Pings.Sent > 0 && a.Pings.Answered >= 0 && a.Pings.Answered <= a.Pings.Sent
	case doSize:
		is = a.Passed != nil
	case doThroughput:
		is = a.Rate != nil
	case doRead:
		is = a.Facts != nil
	}
	if !is {
		return fmt.Errorf("%w: no answer to %q", errMessage, to.Do)
	}
	return nil
}

// longest is how long an ask can take where nothing is as it should be, and some
// more, for the peer to say so.
func (e Effort) longest(a ask) time.Duration {
	slack := 4 * e.Stall
	switch a.Do {
	case doPing:
		return e.Wait + slack
	case doSize:
		return 8*e.Wait + slack
	case doThroughput:
		return 2*e.Throughput + 4*e.Stall + slack
	case doLong:
		const slow = 125_000 // bytes a second, 1 Mb/s
		return 3*e.Stall + slack + time.Duration(a.Bytes)*time.Second/slow
	}
	return 3*e.Stall + slack
}

// idle is how long a master may say nothing in the middle of a test: it measures
// meanwhile, between the containers and after that between the hosts.
func (e Effort) idle() time.Duration {
	hosts := 2*e.Throughput + 3*e.Stall
	return max(e.longest(ask{Do: doLong, Bytes: e.Long}), e.longest(ask{Do: doThroughput})+hosts, e.longest(ask{Do: doSize}))
}

// tooLong is why a test with a peer ends that takes more than maxSession.
func tooLong(peer netip.Addr) error {
	return fmt.Errorf("the test with %s takes longer than %s", peer, maxSession)
}

// vanished is what a broken control connection means.
func vanished(ctx context.Context, peer Hello, err error) error {
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case errors.Is(err, os.ErrDeadlineExceeded):
		return &Cause{Vanished, fmt.Sprintf("%s does not answer any more; look there for what fanatic says", peer.Fan.Host)}
	case errors.Is(err, errMessage):
		return fmt.Errorf("%s: %w", peer.Fan.Host, err)
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return &Cause{Vanished, fmt.Sprintf("%s has ended the test; look there for what fanatic says", peer.Fan.Host)}
	}
	return &Cause{Vanished, fmt.Sprintf("the control connection to %s broke (%v); look there for what fanatic says", peer.Fan.Host, err)}
}
