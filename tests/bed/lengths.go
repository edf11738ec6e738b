package bed

import (
	"encoding/binary"
	"errors"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/fanctl/fanctl/tests/bed/wire"
)

const ethernetHeader = 14

// Lengths counts what comes in at a device by the length of the IP packets, until the
// returned function is called. Of a stream too fast to count all, it is a sample.
func (n *NS) Lengths(t testing.TB, device string) func() map[int]int {
	t.Helper()
	index := n.Device(t, device).Index
	fd := -1
	err := n.Do(func() (err error) {
		if fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0); err != nil {
			return err
		}
		const room = 32 << 20
		return errors.Join(unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, room),
			unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Usec: 100_000}),
			unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: networkOrder(unix.ETH_P_IP), Ifindex: index}))
	})
	if err != nil {
		t.Fatalf("in %s: count what comes in at %s: %v", n.Name, device, err)
	}
	stop, counted := make(chan struct{}), make(chan map[int]int, 1)
	go func() {
		defer unix.Close(fd)
		counted <- countLengths(fd, stop)
	}()
	return func() map[int]int {
		close(stop)
		return <-counted
	}
}

func countLengths(fd int, stop <-chan struct{}) map[int]int {
	lengths, header := map[int]int{}, make([]byte, ethernetHeader)
	for {
		n, from, err := unix.Recvfrom(fd, header, unix.MSG_TRUNC)
		if link, isLink := from.(*unix.SockaddrLinklayer); err == nil && isLink && link.Pkttype != unix.PACKET_OUTGOING &&
			binary.BigEndian.Uint16(header[12:]) == wire.TypeIPv4 {
			lengths[n-ethernetHeader]++
		}
		if err == nil {
			continue
		}
		select { // nothing more waits
		case <-stop:
			return lengths
		default:
		}
	}
}
