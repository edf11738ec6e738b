package probe

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"time"
)

// Rate is what has arrived in a time.
type Rate struct {
	Bytes int64         `json:"bytes"`
	Time  time.Duration `json:"time"` // from the first to the last byte, in nanoseconds
}

// Gbit returns the rate in Gb/s, 0 if nothing has arrived.
func (r Rate) Gbit() float64 {
	if r.Time <= 0 {
		return 0
	}
	return float64(r.Bytes) * 8 / float64(r.Time)
}

const chunk = 256 << 10 // bytes of one read or write

// Throughput sends as much as it can for a time, and returns what the responder has
// received.
func (t Transfer) Throughput(ctx context.Context, d time.Duration) (Rate, error) {
	c, end, err := t.dial(ctx)
	if err != nil {
		return Rate{}, err
	}
	defer end()
	return push(c, d, t.Stall)
}

// Push is Throughput over a connection that is open, to a peer that serves it by
// Answer.
func Push(ctx context.Context, conn net.Conn, d, stall time.Duration) (Rate, error) {
	c, end := over(ctx, conn, stall)
	defer end()
	return push(c, d, stall)
}

// Pull is Push the other way round: the peer sends, and what arrives here counts.
func Pull(ctx context.Context, conn net.Conn, d, stall time.Duration) (Rate, error) {
	c, end := over(ctx, conn, stall)
	defer end()
	if _, err := fmt.Fprintf(c, "%s%s %d\n", greeting, wordPour, d.Milliseconds()); err != nil {
		return Rate{}, c.ended(err)
	}
	r, err := drain(c, d+2*stall)
	if err != nil {
		return Rate{}, c.ended(err)
	}
	return r, nil
}

func push(c dialed, d, stall time.Duration) (Rate, error) {
	if _, err := fmt.Fprintf(c, "%s%s %d\n", greeting, wordDrain, d.Milliseconds()); err != nil {
		return Rate{}, c.ended(err)
	}
	if err := pour(c, d); err != nil {
		return Rate{}, c.ended(err)
	}
	if err := closeWrite(c.Conn); err != nil {
		return Rate{}, c.ended(err)
	}
	// What is still on its way has the same time again.
	answer := steady{c.Conn, d + stall}
	line, err := bufio.NewReaderSize(answer, 128).ReadString('\n')
	if err != nil {
		return Rate{}, c.ended(err)
	}
	var r Rate
	if _, err := fmt.Sscanf(line, "%d %d", &r.Bytes, &r.Time); err != nil {
		return Rate{}, &Failure{StageCompare, "the receiver does not say what it has got"}
	}
	return r, nil
}

// pour sends for a time.
func pour(w io.Writer, d time.Duration) error {
	data := make([]byte, chunk)
	_, _ = noise(chunk).Read(data) // bytes that nothing on the way can compress
	for end := time.Now().Add(d); time.Now().Before(end); {
		if _, err := w.Write(data); err != nil {
			return err
		}
	}
	return nil
}

// drain counts what comes until the sender has ended, at most for a time.
func drain(r io.Reader, limit time.Duration) (Rate, error) {
	var got Rate
	var first time.Time
	buf := make([]byte, chunk)
	for {
		n, err := r.Read(buf)
		now := time.Now()
		switch {
		case first.IsZero() && n > 0:
			// What had come by the first read took no time that was measured.
			first = now
		case n > 0:
			got.Bytes += int64(n)
			got.Time = now.Sub(first)
		}
		if errors.Is(err, io.EOF) {
			return got, nil
		}
		if err != nil {
			return got, err
		}
		if !first.IsZero() && now.Sub(first) > limit {
			return got, os.ErrDeadlineExceeded
		}
	}
}

// closeWrite tells the other end that all was sent.
func closeWrite(c net.Conn) error {
	if s, ok := c.(steady); ok {
		c = s.Conn
	}
	if tcp, ok := c.(*net.TCPConn); ok {
		return tcp.CloseWrite()
	}
	return nil
}
