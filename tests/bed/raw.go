package bed

import (
	"net/netip"
	"testing"

	"golang.org/x/sys/unix"
)

// Sender sends packets that are built by hand.
type Sender struct {
	fd int
	to unix.Sockaddr
}

// FrameSender returns a sender of whole Ethernet frames out of a device.
func (n *NS) FrameSender(t testing.TB, device string) *Sender {
	t.Helper()
	index := n.Device(t, device).Index
	return n.sender(t, unix.AF_PACKET, 0, &unix.SockaddrLinklayer{Ifindex: index, Halen: 6})
}

// IPSender returns a sender of whole IPv4 packets to an address: the kernel finds
// route and neighbour, and fills in total length and header checksum (raw(7)).
func (n *NS) IPSender(t testing.TB, to netip.Addr) *Sender {
	t.Helper()
	return n.sender(t, unix.AF_INET, unix.IPPROTO_RAW, &unix.SockaddrInet4{Addr: to.As4()})
}

func (n *NS) sender(t testing.TB, family, protocol int, to unix.Sockaddr) *Sender {
	t.Helper()
	s := &Sender{to: to}
	err := n.Do(func() (err error) {
		s.fd, err = unix.Socket(family, unix.SOCK_RAW|unix.SOCK_CLOEXEC, protocol)
		return err
	})
	if err != nil {
		t.Fatalf("in %s: open raw socket: %v", n.Name, err)
	}
	t.Cleanup(func() {
		if err := unix.Close(s.fd); err != nil {
			t.Errorf("close raw socket: %v", err)
		}
	})
	return s
}

// Send sends one packet; it may be refused, such as with EMSGSIZE.
func (s *Sender) Send(packet []byte) error {
	return unix.Sendto(s.fd, packet, 0, s.to)
}

// Must is Send for packets that no device may refuse.
func (s *Sender) Must(t testing.TB, packets ...[]byte) {
	t.Helper()
	for _, p := range packets {
		if err := s.Send(p); err != nil {
			t.Fatalf("send packet of %d bytes: %v", len(p), err)
		}
	}
}
