package bed

import (
	"bufio"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"
)

// stuck is when a transfer that does not go on is given up.
const stuck = 2 * time.Minute

// Serve answers on TCP and UDP port 7777 of an address of the namespace until
// the test ends: with one line that has the address and port that it saw, and,
// over UDP, with the request after it.
func (n *NS) Serve(t testing.TB, a netip.Addr) netip.AddrPort {
	t.Helper()
	at := netip.AddrPortFrom(a, 7777)
	var listener net.Listener
	var socket *net.UDPConn
	err := n.Do(func() (err error) {
		listener, err = net.Listen("tcp4", at.String())
		return err
	})
	if err == nil {
		socket, err = n.listenUDP(at)
	}
	if err != nil {
		t.Fatalf("in %s: serve on %s: %v", n.Name, at, err)
	}
	t.Cleanup(func() {
		if err := errors.Join(listener.Close(), socket.Close()); err != nil {
			t.Errorf("close server: %v", err)
		}
	})
	go answerTCP(listener)
	go answerUDP(socket)
	return at
}

func (n *NS) listenUDP(at netip.AddrPort) (socket *net.UDPConn, err error) {
	err = n.Do(func() error {
		socket, err = net.ListenUDP("udp4", net.UDPAddrFromAddrPort(at))
		return err
	})
	return socket, err
}

func answerTCP(l net.Listener) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		// The client sees a broken answer, which is what the test looks at.
		_, _ = fmt.Fprintln(c, c.RemoteAddr())
		_ = c.Close()
	}
}

func answerUDP(c *net.UDPConn) {
	buf := make([]byte, 64<<10)
	for {
		n, from, err := c.ReadFromUDPAddrPort(buf)
		if err != nil {
			return
		}
		answer := append([]byte(from.String()+"\n"), buf[:n]...)
		_, _ = c.WriteToUDPAddrPort(answer, from)
	}
}

// dial opens a connection from inside the namespace.
func (n *NS) dial(network string, to netip.AddrPort) (c net.Conn, err error) {
	err = n.Do(func() error {
		c, err = net.DialTimeout(network, to.String(), patience)
		return err
	})
	if err != nil {
		return nil, err
	}
	return c, c.SetDeadline(time.Now().Add(patience))
}

// SeenBy connects to a server that Serve has started, over "tcp4" or "udp4",
// and returns the source address that the server saw.
func (n *NS) SeenBy(network string, server netip.AddrPort) (netip.Addr, error) {
	c, err := n.dial(network, server)
	if err != nil {
		return netip.Addr{}, err
	}
	defer c.Close()
	if network == "udp4" {
		if _, err := c.Write([]byte("\n")); err != nil {
			return netip.Addr{}, err
		}
	}
	seen, err := bufio.NewReader(c).ReadString('\n')
	if err != nil {
		return netip.Addr{}, fmt.Errorf("read answer of %s: %w", server, err)
	}
	from, err := netip.ParseAddrPort(strings.TrimSuffix(seen, "\n"))
	return from.Addr(), err
}

// EchoUDP sends count datagrams of size bytes to a server that Serve has started,
// each after the answer to the one before, and returns how many came back whole.
func (n *NS) EchoUDP(server netip.AddrPort, count, size int) (int, error) {
	c, err := n.dial("udp4", server)
	if err != nil {
		return 0, err
	}
	defer c.Close()
	request, buf := noise(uint64(size), size), make([]byte, 64<<10)
	whole := 0
	for range count {
		if err := c.SetDeadline(time.Now().Add(3 * time.Second)); err != nil {
			return whole, err
		}
		if _, err := c.Write(request); err != nil {
			return whole, err
		}
		got, err := c.Read(buf)
		if err == nil && got > size && string(buf[got-size:got]) == string(request) {
			whole++
		}
	}
	return whole, nil
}

// noise is size bytes that no compression or zeroed page would show.
func noise(seed uint64, size int) []byte {
	b := make([]byte, size)
	// Never fails, by its documentation.
	_, _ = rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8)}).Read(b)
	return b
}

// Transfer sends bytes over TCP from one namespace to an address of another and
// returns an error unless they arrive as they were sent.
func Transfer(from, to *NS, at netip.Addr, bytes int) error {
	var listener net.Listener
	err := to.Do(func() (err error) {
		listener, err = net.Listen("tcp4", netip.AddrPortFrom(at, 0).String())
		return err
	})
	if err != nil {
		return fmt.Errorf("listen on %s: %w", at, err)
	}
	defer listener.Close()
	type sum struct {
		hash [sha256.Size]byte
		err  error
	}
	received := make(chan sum, 1)
	go func() {
		hash, err := receive(listener)
		received <- sum{hash, err}
	}()
	address, ok := listener.Addr().(*net.TCPAddr)
	if !ok {
		return fmt.Errorf("listen on %s: no TCP address", at)
	}
	data := noise(uint64(bytes), bytes)
	if err := send(from, address.AddrPort(), data); err != nil {
		return err
	}
	got := <-received
	if got.err != nil {
		return fmt.Errorf("receive on %s: %w", at, got.err)
	}
	if got.hash != sha256.Sum256(data) {
		return fmt.Errorf("%d bytes to %s have arrived changed", bytes, at)
	}
	return nil
}

func send(from *NS, to netip.AddrPort, data []byte) error {
	c, err := from.dial("tcp4", netip.AddrPortFrom(to.Addr().Unmap(), to.Port()))
	if err != nil {
		return err
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(stuck)); err != nil {
		return err
	}
	if _, err := c.Write(data); err != nil {
		return fmt.Errorf("send to %s: %w", to, err)
	}
	return nil
}

func receive(l net.Listener) (sum [sha256.Size]byte, err error) {
	if tcp, ok := l.(*net.TCPListener); ok {
		if err := tcp.SetDeadline(time.Now().Add(stuck)); err != nil {
			return sum, err
		}
	}
	c, err := l.Accept()
	if err != nil {
		return sum, err
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(stuck)); err != nil {
		return sum, err
	}
	hash := sha256.New()
	if _, err := io.Copy(hash, c); err != nil {
		return sum, err
	}
	return [sha256.Size]byte(hash.Sum(nil)), nil
}
