package probe

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/fanctl/fanctl/internal/namespace"
)

// A connection begins with one line: the greeting, what is wanted, and how much:
// "fan-probe take 4194304".
const (
	greeting  = "fan-probe "
	wordEcho  = "echo"  // N bytes come and are sent back
	wordTake  = "take"  // N bytes come; their SHA-256 is the answer, a line of hex
	wordGive  = "give"  // N bytes are sent, and their SHA-256
	wordDrain = "drain" // for N milliseconds bytes come; how many, in how many ns, is the answer
	wordPour  = "pour"  // bytes are sent for N milliseconds
)

// Limits are the most that a responder does for anybody.
type Limits struct {
	Bytes int           // of one transfer, and a tenth of it for an echo
	Time  time.Duration // of throughput
	Stall time.Duration // how long nothing may move
}

// ErrRefused says that a peer has asked for something that it can't have.
var ErrRefused = errors.New("refused")

// wanted reads the first line of a connection.
func (l Limits) wanted(line string) (word string, n int, err error) {
	rest, ok := strings.CutPrefix(line, greeting)
	word, number, two := strings.Cut(rest, " ")
	n, bad := strconv.Atoi(number)
	if !ok || !two || bad != nil || n < 1 || strconv.Itoa(n) != number {
		return "", 0, fmt.Errorf("%w: %q is no request", ErrRefused, line)
	}
	most := 0
	switch word {
	case wordEcho:
		most = max(l.Bytes/10, 1)
	case wordTake, wordGive:
		most = l.Bytes
	case wordDrain, wordPour:
		most = int(l.Time.Milliseconds())
	default:
		return "", 0, fmt.Errorf("%w: %q is no request", ErrRefused, line)
	}
	if n > most {
		return "", 0, fmt.Errorf("%w: %s of %d, at most %d", ErrRefused, word, n, most)
	}
	return word, n, nil
}

// Answer serves one connection, whatever it asks for within the limits, and closes
// it.
func Answer(ctx context.Context, conn net.Conn, l Limits) error {
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	defer conn.Close()
	c := steady{conn, l.Stall}
	line, err := firstLine(c)
	if err != nil {
		return err
	}
	word, n, err := l.wanted(line)
	if err != nil {
		return err
	}
	switch word {
	case wordEcho:
		data := make([]byte, n)
		if _, err := io.ReadFull(c, data); err != nil {
			return err
		}
		_, err = c.Write(data)
	case wordTake:
		sum := sha256.New()
		if _, err := io.CopyN(sum, c, int64(n)); err != nil {
			return err
		}
		_, err = fmt.Fprintln(c, hex.EncodeToString(sum.Sum(nil)))
	case wordGive:
		sum := sha256.New()
		if _, err := io.Copy(io.MultiWriter(c, sum), noise(n)); err != nil {
			return err
		}
		_, err = c.Write(sum.Sum(nil))
	case wordDrain:
		d := time.Duration(n) * time.Millisecond
		r, bad := drain(c, 2*d+l.Stall)
		if bad != nil {
			return bad
		}
		_, err = fmt.Fprintf(c, "%d %d\n", r.Bytes, r.Time)
	case wordPour:
		err = pour(c, time.Duration(n)*time.Millisecond)
	}
	return err
}

// firstLine reads a line and nothing that is behind it.
func firstLine(r io.Reader) (string, error) {
	var line []byte
	for one := make([]byte, 1); len(line) < 64; line = append(line, one[0]) {
		if _, err := io.ReadFull(r, one); err != nil {
			return "", err
		}
		if one[0] == '\n' {
			return string(line), nil
		}
	}
	return "", fmt.Errorf("%w: %q is no request", ErrRefused, line)
}

// Responder answers transfers at an address.
type Responder struct {
	listener *net.TCPListener
	cancel   context.CancelFunc
	all      sync.WaitGroup
}

// connections is how many transfers a responder serves at once.
const connections = 4

// Respond begins to answer, at a free port of an address of a namespace, the
// transfers that peers of a network ask for. It ends with Close or the context.
func Respond(ctx context.Context, n *namespace.Namespace, at netip.Addr, peers netip.Prefix, l Limits) (*Responder, error) {
	listener, err := n.Listen(ctx, netip.AddrPortFrom(at, 0))
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	r := &Responder{listener: listener, cancel: cancel}
	context.AfterFunc(ctx, func() { _ = listener.Close() })
	r.all.Go(func() { r.accept(ctx, peers, l) })
	return r, nil
}

func (r *Responder) accept(ctx context.Context, peers netip.Prefix, l Limits) {
	places := make(chan struct{}, connections)
	for {
		c, err := r.listener.AcceptTCP()
		if ctx.Err() != nil {
			if err == nil {
				c.Close()
			}
			return
		}
		if err != nil {
			// Out of files, or the peer has gone again: not at once, lest it be a busy loop.
			select {
			case <-ctx.Done():
			case <-time.After(50 * time.Millisecond):
			}
			continue
		}
		if from, ok := c.RemoteAddr().(*net.TCPAddr); !ok || !peers.Contains(from.AddrPort().Addr().Unmap()) {
			c.Close()
			continue
		}
		select {
		case places <- struct{}{}:
		default:
			c.Close()
			continue
		}
		r.all.Go(func() {
			defer func() { <-places }()
			_ = Answer(ctx, c, l) // who asked sees by itself that something went wrong
		})
	}
}

// Port is where transfers go.
func (r *Responder) Port() uint16 {
	if a, ok := r.listener.Addr().(*net.TCPAddr); ok {
		return a.AddrPort().Port()
	}
	return 0
}

// Close ends the responder and its transfers.
func (r *Responder) Close() {
	r.cancel()
	r.all.Wait()
}
