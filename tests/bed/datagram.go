package bed

import (
	"encoding/binary"
	"net/netip"
	"testing"

	"golang.org/x/sys/unix"
)

// Datagram is a UDP datagram that a socket of a namespace sends.
type Datagram struct {
	To      netip.AddrPort
	Payload []byte
	// DF has the stack set "don't fragment" whatever it knows of the way's MTU;
	// without it the stack leaves the bit away and may fragment.
	DF  bool
	TTL int // 0: the system's
	TOS int
	// Segment, if not 0, has the kernel cut the payload into datagrams of that
	// many bytes as late as it can (UDP_SEGMENT, udp(7)).
	Segment int
}

// Datagram sends one datagram and returns the port it came from. An error is
// what the stack has told the sender, such as EMSGSIZE.
func (n *NS) Datagram(t testing.TB, d Datagram) (from uint16, err error) {
	t.Helper()
	err = n.Do(func() error {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return err
		}
		// Kept open until the test ends, so that the port is not given to another.
		t.Cleanup(func() { _ = unix.Close(fd) })
		if err := d.set(fd); err != nil {
			return err
		}
		to := &unix.SockaddrInet4{Port: int(d.To.Port()), Addr: d.To.Addr().As4()}
		if err := unix.Connect(fd, to); err != nil {
			return err
		}
		name, err := unix.Getsockname(fd)
		if err != nil {
			return err
		}
		if inet, ok := name.(*unix.SockaddrInet4); ok {
			from = uint16(inet.Port)
		}
		_, err = unix.Write(fd, d.Payload)
		return err
	})
	return from, err
}

func (d Datagram) set(fd int) error {
	discover := unix.IP_PMTUDISC_DONT
	if d.DF {
		discover = unix.IP_PMTUDISC_PROBE
	}
	options := []struct{ level, name, value int }{
		{unix.SOL_IP, unix.IP_MTU_DISCOVER, discover},
		{unix.SOL_IP, unix.IP_TOS, d.TOS},
	}
	if d.TTL != 0 {
		options = append(options, struct{ level, name, value int }{unix.SOL_IP, unix.IP_TTL, d.TTL})
	}
	if d.Segment != 0 {
		options = append(options, struct{ level, name, value int }{unix.SOL_UDP, unix.UDP_SEGMENT, d.Segment})
	}
	for _, o := range options {
		if err := unix.SetsockoptInt(fd, o.level, o.name, o.value); err != nil {
			return err
		}
	}
	return nil
}

// Mailbox gets the datagrams that reach a UDP port, after reassembly.
type Mailbox struct {
	// At is its address and port.
	At netip.AddrPort
	// letters has every payload that came in, in order.
	letters chan []byte
}

// Mailbox opens a UDP port at an address of the namespace until the test ends.
func (n *NS) Mailbox(t testing.TB, at netip.AddrPort) *Mailbox {
	t.Helper()
	// More than any test sends, so that the reader never waits.
	m := &Mailbox{At: at, letters: make(chan []byte, 1<<14)}
	socket, err := n.listenUDP(at)
	if err != nil {
		t.Fatalf("in %s: open UDP port %s: %v", n.Name, at, err)
	}
	t.Cleanup(func() { _ = socket.Close() })
	go func() {
		buf := make([]byte, 64<<10)
		for {
			size, err := socket.Read(buf)
			if err != nil {
				return
			}
			m.letters <- append([]byte{}, buf[:size]...)
		}
	}()
	return m
}

// Take returns the payloads that have come in since the last time.
func (m *Mailbox) Take() [][]byte {
	var all [][]byte
	for {
		select {
		case letter := <-m.letters:
			all = append(all, letter)
		default:
			return all
		}
	}
}

// Marked returns a payload of size bytes that begins with a number, so that
// datagrams can be told apart; size is at least 4.
func Marked(number uint32, size int) []byte {
	b := noise(uint64(number), size)
	binary.BigEndian.PutUint32(b, number)
	return b
}
