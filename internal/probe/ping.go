// Package probe has the single measurements of a network between two addresses:
// echo requests, the longest packet that passes, data over TCP, throughput. Each
// ends by a deadline or with its context. They open sockets in network namespaces
// and start nothing there.
package probe

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"time"

	"golang.org/x/net/icmp"
	"golang.org/x/net/ipv4"
	"golang.org/x/sys/unix"

	"github.com/fanctl/fanctl/internal/namespace"
)

const (
	icmpProtocol = 1
	headers      = 28 // of an IPv4 packet with an echo request: 20 and 8 bytes
	nonceBytes   = 8
	// Smallest is the length of the shortest packet that is sent.
	Smallest = headers + nonceBytes
	// Biggest is the length of the longest packet that IPv4 has.
	Biggest = 65535
)

// Path is from where to where something is measured.
type Path struct {
	Namespace *namespace.Namespace // in which From is
	From, To  netip.Addr
}

// Ping is a burst of echo requests.
type Ping struct {
	Path
	Count    int
	Size     int           // bytes of each packet, its IPv4 header included; at least Smallest
	Interval time.Duration // between two packets
	Wait     time.Duration // for answers, from the last packet on
}

// Answers is what came back.
type Answers struct {
	Sent     int       `json:"sent"`
	Answered int       `json:"answered"`
	Refusals []Refusal `json:"refusals,omitempty"` // each kind once
	// Unresolved is the next hop that does not answer ARP, or the zero value.
	Unresolved netip.Addr `json:"unresolved,omitzero"`
}

// Refusal is an ICMP error, or the sender's own kernel that did not send at all.
type Refusal struct {
	From netip.Addr `json:"from"`
	What string     `json:"what"`          // "host unreachable"
	MTU  int        `json:"mtu,omitempty"` // of "too big", if it says so
}

// What refusals say that others must know.
const (
	TooBig          = "packet too big" // for the way
	HostUnreachable = "host unreachable"
)

// String returns the refusal as part of a sentence.
func (r Refusal) String() string {
	if r.MTU > 0 {
		return fmt.Sprintf("%s says %q, at most %d bytes", r.From, r.What, r.MTU)
	}
	return fmt.Sprintf("%s says %q", r.From, r.What)
}

// Run sends the requests, and returns when all are answered or the time is up. An
// error says that nothing could be measured.
func (p Ping) Run(ctx context.Context) (Answers, error) {
	sizes := make([]int, p.Count)
	for i := range sizes {
		sizes[i] = max(p.Size, Smallest)
	}
	e := exchange{Path: p.Path, sizes: sizes, interval: p.Interval, wait: p.Wait}
	if err := e.run(ctx); err != nil {
		return Answers{}, err
	}
	a := Answers{Sent: len(sizes), Answered: len(e.answered), Refusals: e.refusals}
	if a.Answered == 0 {
		a.Unresolved = unresolved(p.Path)
	}
	return a, nil
}

// exchange is echo requests of some sizes, and who answered. Its packets may not be
// fragmented, and the kernel is not to know better which are too long: what it has
// learned of the way is what is to be tested.
type exchange struct {
	Path
	sizes    []int
	interval time.Duration
	wait     time.Duration

	id       uint16
	nonce    [nonceBytes]byte
	answered map[int]bool // by the index of the size
	refusals []Refusal
}

func (e *exchange) run(ctx context.Context) error {
	e.answered = map[int]bool{}
	if len(e.sizes) > 1<<16 {
		return fmt.Errorf("ping %s: %d packets are more than have numbers", e.To, len(e.sizes))
	}
	if _, err := rand.Read(e.nonce[:]); err != nil {
		return fmt.Errorf("ping %s: %w", e.To, err)
	}
	e.id = binary.BigEndian.Uint16(e.nonce[:])
	c, err := e.Namespace.ListenICMP(ctx, e.From, func(fd int) error {
		return unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_MTU_DISCOVER, unix.IP_PMTUDISC_PROBE)
	})
	if err != nil {
		return fmt.Errorf("ping %s: %w", e.To, err)
	}
	defer c.Close()
	defer context.AfterFunc(ctx, func() { c.Close() })()
	err = e.converse(ctx, c)
	if ctx.Err() != nil { // whatever the closed socket said
		err = context.Cause(ctx)
	}
	if err != nil {
		return fmt.Errorf("ping %s: %w", e.To, err)
	}
	return nil
}

// converse sends all requests and takes answers until the time is up.
func (e *exchange) converse(ctx context.Context, c *net.IPConn) error {
	refused, err := e.send(ctx, c)
	if err != nil {
		return err
	}
	if err := c.SetReadDeadline(time.Now().Add(e.wait)); err != nil {
		return err
	}
	if err := e.receive(c, len(e.sizes)-refused); !errors.Is(err, os.ErrDeadlineExceeded) {
		return err
	}
	return nil
}

// send sends a packet of each size, and returns how many of them the kernel has
// refused.
func (e *exchange) send(ctx context.Context, c *net.IPConn) (refused int, err error) {
	for i, size := range e.sizes {
		if i > 0 {
			select {
			case <-ctx.Done():
				return refused, context.Cause(ctx)
			case <-time.After(e.interval):
			}
		}
		data := make([]byte, size-headers)
		copy(data, e.nonce[:])
		m := icmp.Message{Type: ipv4.ICMPTypeEcho, Body: &icmp.Echo{ID: int(e.id), Seq: i, Data: data}}
		packet, err := m.Marshal(nil)
		if err != nil {
			return refused, err
		}
		if _, err = c.WriteToIP(packet, &net.IPAddr{IP: e.To.AsSlice()}); err == nil {
			continue
		}
		what, known := refusalOf(err)
		if !known {
			return refused, err
		}
		refused++
		e.refuse(Refusal{From: e.From, What: what})
	}
	return refused, nil
}

// refusalOf names an error of the kernel's that is a finding: it would not send.
func refusalOf(err error) (what string, ok bool) {
	var errno unix.Errno
	if !errors.As(err, &errno) {
		return "", false
	}
	switch errno {
	case unix.EMSGSIZE:
		return TooBig, true
	case unix.EHOSTUNREACH:
		return HostUnreachable, true
	case unix.ENETUNREACH:
		return "network unreachable", true
	case unix.EPERM, unix.EACCES:
		return "sending not permitted", true
	}
	return "", false
}

// receive reads until so many packets are answered or the deadline comes.
func (e *exchange) receive(c *net.IPConn, want int) error {
	buf := make([]byte, Biggest)
	tooBig := 0
	for len(e.answered)+tooBig < want {
		n, from, err := c.ReadFromIP(buf)
		if err != nil {
			return err
		}
		source, _ := netip.AddrFromSlice(from.IP.To4())
		m, err := icmp.ParseMessage(icmpProtocol, buf[:n])
		if err != nil {
			continue // somebody else's, cut short
		}
		if echo, ok := m.Body.(*icmp.Echo); ok && m.Type == ipv4.ICMPTypeEchoReply && source == e.To && e.ours(echo) {
			e.answered[echo.Seq] = true
			continue
		}
		r, ours := e.refusal(source, m, buf[:n])
		if ours && r.What == TooBig {
			tooBig++ // nothing else comes for that one
		}
		if ours {
			e.refuse(r)
		}
	}
	return nil
}

// ours says whether an answer is to one of our packets, and whole.
func (e *exchange) ours(echo *icmp.Echo) bool {
	return echo.ID == int(e.id) && echo.Seq < len(e.sizes) && len(echo.Data) == e.sizes[echo.Seq]-headers &&
		[nonceBytes]byte(echo.Data) == e.nonce
}

// refusal reads an ICMP error; ours says that it is about one of our packets.
func (e *exchange) refusal(from netip.Addr, m *icmp.Message, raw []byte) (r Refusal, ours bool) {
	var original []byte
	switch body := m.Body.(type) {
	case *icmp.DstUnreach:
		original = body.Data
	case *icmp.TimeExceeded:
		original = body.Data
	default:
		return Refusal{}, false
	}
	if !about(original, e.To, e.id) {
		return Refusal{}, false
	}
	r = Refusal{From: from, What: meaning(m)}
	if r.What == TooBig && len(raw) >= 8 {
		r.MTU = int(binary.BigEndian.Uint16(raw[6:])) // RFC 1191: after two bytes that are unused
	}
	return r, true
}

// about says whether what an ICMP error quotes is our echo request to an address.
func about(original []byte, to netip.Addr, id uint16) bool {
	h, err := icmp.ParseIPv4Header(original)
	if err != nil || h.Protocol != icmpProtocol || len(original) < h.Len+8 {
		return false
	}
	dst, _ := netip.AddrFromSlice(h.Dst.To4())
	return dst == to && binary.BigEndian.Uint16(original[h.Len+4:]) == id
}

// meaning is what an ICMP error says (RFC 792, RFC 1812).
func meaning(m *icmp.Message) string {
	if m.Type == ipv4.ICMPTypeTimeExceeded {
		return "time to live exceeded"
	}
	switch m.Code {
	case 0:
		return "network unreachable"
	case 1:
		return HostUnreachable
	case 2:
		return "protocol unreachable"
	case 3:
		return "port unreachable"
	case 4:
		return TooBig
	case 9, 10, 13:
		return "administratively prohibited"
	}
	return fmt.Sprintf("unreachable, code %d", m.Code)
}

func (e *exchange) refuse(r Refusal) {
	for _, known := range e.refusals {
		if known == r {
			return
		}
	}
	e.refusals = append(e.refusals, r)
}
