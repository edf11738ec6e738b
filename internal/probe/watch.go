package probe

import (
	"context"
	"net"
	"net/netip"
	"sync/atomic"

	"golang.org/x/net/icmp"
	"golang.org/x/net/ipv4"
)

// Watcher counts the echo requests that come to an address.
type Watcher struct {
	conn *net.IPConn
	seen atomic.Int64
	done chan struct{}
	stop func() bool
}

// Watch begins to count at p.From the echo requests that come from p.To. It ends
// with Close or the context.
func Watch(ctx context.Context, p Path) (*Watcher, error) {
	c, err := p.Namespace.ListenICMP(ctx, p.From, nil)
	if err != nil {
		return nil, err
	}
	w := &Watcher{conn: c, done: make(chan struct{})}
	w.stop = context.AfterFunc(ctx, func() { c.Close() })
	go w.count(p.To)
	return w, nil
}

func (w *Watcher) count(from netip.Addr) {
	defer close(w.done)
	buf := make([]byte, Biggest)
	for {
		n, source, err := w.conn.ReadFromIP(buf)
		if err != nil {
			return
		}
		m, err := icmp.ParseMessage(icmpProtocol, buf[:n])
		a, _ := netip.AddrFromSlice(source.IP.To4())
		if err == nil && m.Type == ipv4.ICMPTypeEcho && a == from {
			w.seen.Add(1)
		}
	}
}

// Seen returns how many requests have come.
func (w *Watcher) Seen() int { return int(w.seen.Load()) }

// Close ends the counting.
func (w *Watcher) Close() {
	w.stop()
	w.conn.Close()
	<-w.done
}
