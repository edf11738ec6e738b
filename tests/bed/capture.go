package bed

import (
	"encoding/binary"
	"errors"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/fanctl/fanctl/tests/bed/wire"
)

// patience is how long a test waits for what ought to come at once.
const patience = 10 * time.Second

// Frame is one captured frame.
type Frame struct {
	wire.Packet
	// Outgoing says that the device sent the frame; otherwise it came in there.
	Outgoing bool
}

// Capture has the frames of a device, from when it was made until the test ends.
// They wait in the kernel until somebody asks: what has passed the device before
// the question is in the answer.
type Capture struct {
	fd     int
	buf    []byte
	frames []Frame
}

// Capture begins to record a device of the namespace, both directions.
func (n *NS) Capture(t testing.TB, device string) *Capture {
	t.Helper()
	c := &Capture{buf: make([]byte, 256<<10)}
	index := n.Device(t, device).Index
	err := n.Do(func() (err error) {
		c.fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return err
		}
		const room = 64 << 20 // so that no frame is lost before it is asked for
		if err := unix.SetsockoptInt(c.fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, room); err != nil {
			return err
		}
		return unix.Bind(c.fd, &unix.SockaddrLinklayer{Protocol: networkOrder(unix.ETH_P_ALL), Ifindex: index})
	})
	if err != nil {
		t.Fatalf("in %s: capture on %s: %v", n.Name, device, err)
	}
	t.Cleanup(func() {
		stats, err := unix.GetsockoptTpacketStats(c.fd, unix.SOL_PACKET, unix.PACKET_STATISTICS)
		if err != nil || stats.Drops > 0 {
			t.Errorf("capture on %s has lost frames: %+v, %v", device, stats, err)
		}
		if err := unix.Close(c.fd); err != nil {
			t.Errorf("close capture: %v", err)
		}
	})
	return c
}

// networkOrder turns a number of the host's byte order into one of the network's.
func networkOrder(v uint16) uint16 {
	var b [2]byte
	binary.BigEndian.PutUint16(b[:], v)
	return binary.NativeEndian.Uint16(b[:])
}

// drain takes what the kernel has recorded.
func (c *Capture) drain() {
	for {
		n, from, err := unix.Recvfrom(c.fd, c.buf, 0)
		if errors.Is(err, unix.EAGAIN) {
			return
		}
		if err != nil {
			continue // once, such as ENETDOWN: the device went down
		}
		link, _ := from.(*unix.SockaddrLinklayer)
		c.frames = append(c.frames, Frame{
			Packet:   wire.Decode(append([]byte{}, c.buf[:n]...)),
			Outgoing: link != nil && link.Pkttype == unix.PACKET_OUTGOING,
		})
	}
}

// Frames returns the frames so far that match.
func (c *Capture) Frames(match func(Frame) bool) []Frame {
	c.drain()
	var found []Frame
	for _, f := range c.frames {
		if match(f) {
			found = append(found, f)
		}
	}
	return found
}

// Wait returns the first frame that matches, past or to come.
func (c *Capture) Wait(match func(Frame) bool) (Frame, bool) {
	for deadline := time.Now().Add(patience); ; {
		if found := c.Frames(match); len(found) > 0 {
			return found[0], true
		}
		if time.Now().After(deadline) {
			return Frame{}, false
		}
		// An error is a signal, or a closed socket: the loop ends by the deadline.
		_, _ = unix.Poll([]unix.PollFd{{Fd: int32(c.fd), Events: unix.POLLIN}}, 100)
	}
}
