package probe

import (
	"bufio"
	"bytes"
	"context"
	crand "crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Failure is a transfer that went wrong, which is a finding and no fault of the
// measurement.
type Failure struct {
	Stage  string `json:"stage"`  // one of the Stage constants
	Reason string `json:"reason"` // "no answer"
}

// How far a transfer came.
const (
	StageConnect = "connect" // no connection
	StageData    = "data"    // a connection, but the data stopped
	StageCompare = "compare" // the data came, but not as it was sent
)

// Error returns the failure as a sentence.
func (f *Failure) Error() string {
	if f.Stage == StageConnect {
		return "no connection: " + f.Reason
	}
	return f.Reason
}

// Transfer is one connection to a responder.
type Transfer struct {
	Path
	Port uint16
	// Stall is how long nothing may move.
	Stall time.Duration
}

// dialed is a Transfer's connection; ended says why it ended, rather than how.
type dialed struct {
	net.Conn
	ended func(error) error
}

func (t Transfer) dial(ctx context.Context) (dialed, func(), error) {
	short, cancel := context.WithTimeout(ctx, t.Stall)
	defer cancel()
	c, err := t.Namespace.Dial(short, t.From, netip.AddrPortFrom(t.To, t.Port))
	switch {
	case ctx.Err() != nil:
		return dialed{}, nil, context.Cause(ctx)
	case err != nil:
		return dialed{}, nil, &Failure{StageConnect, Reason(err)}
	}
	d, end := over(ctx, c, t.Stall)
	return d, end, nil
}

// over makes a connection end with its context, and fail when nothing moves.
func over(ctx context.Context, c net.Conn, stall time.Duration) (dialed, func()) {
	stop := context.AfterFunc(ctx, func() { c.Close() })
	d := dialed{steady{c, stall}, func(err error) error {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		return &Failure{StageData, Reason(err)}
	}}
	return d, func() {
		stop()
		c.Close()
	}
}

// Reason names the common errors of connections as a person would.
func Reason(err error) string {
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, context.DeadlineExceeded), errors.Is(err, unix.ETIMEDOUT):
		return "no answer"
	case errors.Is(err, unix.ECONNREFUSED):
		return "refused"
	case errors.Is(err, unix.EHOSTUNREACH):
		return "host unreachable"
	case errors.Is(err, unix.ENETUNREACH):
		return "network unreachable"
	case errors.Is(err, unix.EPERM), errors.Is(err, unix.EACCES):
		return "sending not permitted"
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, unix.ECONNRESET), errors.Is(err, unix.EPIPE):
		return "the connection was cut"
	}
	return err.Error()
}

// steady is a connection on which each read and write must move something before
// its time is up.
type steady struct {
	net.Conn
	stall time.Duration
}

func (s steady) Read(b []byte) (int, error) {
	if err := s.SetReadDeadline(time.Now().Add(s.stall)); err != nil {
		return 0, err
	}
	return s.Conn.Read(b)
}

func (s steady) Write(b []byte) (int, error) {
	if err := s.SetWriteDeadline(time.Now().Add(s.stall)); err != nil {
		return 0, err
	}
	return s.Conn.Write(b)
}

// Echo sends some bytes, has them sent back and compares.
func (t Transfer) Echo(ctx context.Context, size int) error {
	c, end, err := t.dial(ctx)
	if err != nil {
		return err
	}
	defer end()
	sent, back := make([]byte, size), make([]byte, size)
	if _, err := crand.Read(sent); err != nil {
		return err
	}
	if _, err := fmt.Fprintf(c, "%s%s %d\n", greeting, wordEcho, size); err != nil {
		return c.ended(err)
	}
	if _, err := c.Write(sent); err != nil {
		return c.ended(err)
	}
	if _, err := io.ReadFull(c, back); err != nil {
		return c.ended(err)
	}
	if !bytes.Equal(sent, back) {
		return &Failure{StageCompare, fmt.Sprintf("%d bytes came back changed", size)}
	}
	return nil
}

// Send sends so many bytes and has the checksum told of what arrives.
func (t Transfer) Send(ctx context.Context, size int) error {
	c, end, err := t.dial(ctx)
	if err != nil {
		return err
	}
	defer end()
	if _, err := fmt.Fprintf(c, "%s%s %d\n", greeting, wordTake, size); err != nil {
		return c.ended(err)
	}
	want := sha256.New()
	if n, err := io.Copy(io.MultiWriter(c, want), noise(size)); err != nil {
		return stopped(c.ended(err), n, size)
	}
	got, err := bufio.NewReaderSize(c, 128).ReadString('\n')
	if err != nil {
		return stopped(c.ended(err), 0, size)
	}
	if strings.TrimSuffix(got, "\n") != hex.EncodeToString(want.Sum(nil)) {
		return &Failure{StageCompare, fmt.Sprintf("%d bytes have arrived changed", size)}
	}
	return nil
}

// Fetch has so many bytes sent to it, and compares their checksum.
func (t Transfer) Fetch(ctx context.Context, size int) error {
	c, end, err := t.dial(ctx)
	if err != nil {
		return err
	}
	defer end()
	if _, err := fmt.Fprintf(c, "%s%s %d\n", greeting, wordGive, size); err != nil {
		return c.ended(err)
	}
	sum, told := sha256.New(), make([]byte, sha256.Size)
	if n, err := io.CopyN(sum, c, int64(size)); err != nil {
		return stopped(c.ended(err), n, size)
	}
	if _, err := io.ReadFull(c, told); err != nil {
		return c.ended(err)
	}
	if !bytes.Equal(sum.Sum(nil), told) {
		return &Failure{StageCompare, fmt.Sprintf("%d bytes have arrived changed", size)}
	}
	return nil
}

// stopped adds to a failure how far the data came, as far as the kernel has told.
func stopped(err error, done int64, size int) error {
	var f *Failure
	if errors.As(err, &f) && f.Stage == StageData {
		f.Reason = fmt.Sprintf("%s after about %d of %d bytes", f.Reason, done, size)
		if done == 0 {
			f.Reason = fmt.Sprintf("%d bytes were sent and not received", size)
		}
	}
	return err
}

// noise is so many bytes that no compression or zeroed page would show.
func noise(size int) io.Reader {
	var seed [32]byte
	_, _ = crand.Read(seed[:]) // never fails, by its documentation
	return io.LimitReader(rand.NewChaCha8(seed), int64(size))
}
