package bed

import (
	"encoding/binary"
	"errors"
	"os"
	"sync"
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

// Capture records the frames of a device until the test ends.
type Capture struct {
	file  *os.File
	ended chan struct{}

	mu     sync.Mutex
	frames []Frame
	grown  chan struct{} // closed and made anew with every frame
}

// Capture begins to record a device of the namespace, both directions.
func (n *NS) Capture(t testing.TB, device string) *Capture {
	t.Helper()
	c := &Capture{ended: make(chan struct{}), grown: make(chan struct{})}
	index := n.Device(t, device).Index
	err := n.Do(func() error {
		fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return err
		}
		c.file = os.NewFile(uintptr(fd), "capture")
		const room = 64 << 20 // so that no frame is lost while the reader does not run
		if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, room); err != nil {
			return err
		}
		return unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: networkOrder(unix.ETH_P_ALL), Ifindex: index})
	})
	if err != nil {
		t.Fatalf("in %s: capture on %s: %v", n.Name, device, err)
	}
	go c.read()
	t.Cleanup(func() { c.close(t) })
	return c
}

// networkOrder turns a number of the host's byte order into one of the network's.
func networkOrder(v uint16) uint16 {
	var b [2]byte
	binary.BigEndian.PutUint16(b[:], v)
	return binary.NativeEndian.Uint16(b[:])
}

func (c *Capture) close(t testing.TB) {
	t.Helper()
	if raw, err := c.file.SyscallConn(); err == nil {
		err = raw.Control(func(fd uintptr) {
			stats, err := unix.GetsockoptTpacketStats(int(fd), unix.SOL_PACKET, unix.PACKET_STATISTICS)
			if err == nil && stats.Drops > 0 {
				t.Errorf("capture has lost %d frames", stats.Drops)
			}
		})
		if err != nil {
			t.Errorf("read statistics of capture: %v", err)
		}
	}
	if err := c.file.Close(); err != nil {
		t.Errorf("close capture: %v", err)
	}
	<-c.ended
}

func (c *Capture) read() {
	defer close(c.ended)
	raw, err := c.file.SyscallConn()
	if err != nil {
		return
	}
	buf := make([]byte, 256<<10)
	for {
		var n int
		var from unix.Sockaddr
		var failed error
		err := raw.Read(func(fd uintptr) bool {
			n, from, failed = unix.Recvfrom(int(fd), buf, 0)
			return !errors.Is(failed, unix.EAGAIN)
		})
		if err != nil {
			return // closed
		}
		if failed != nil {
			continue // such as ENETDOWN: the device went down, it may come up again
		}
		link, _ := from.(*unix.SockaddrLinklayer)
		f := Frame{Packet: wire.Decode(append([]byte{}, buf[:n]...)),
			Outgoing: link != nil && link.Pkttype == unix.PACKET_OUTGOING}
		c.mu.Lock()
		c.frames = append(c.frames, f)
		close(c.grown)
		c.grown = make(chan struct{})
		c.mu.Unlock()
	}
}

// Frames returns the frames so far that match.
func (c *Capture) Frames(match func(Frame) bool) []Frame {
	frames, _ := c.look()
	var found []Frame
	for _, f := range frames {
		if match(f) {
			found = append(found, f)
		}
	}
	return found
}

func (c *Capture) look() ([]Frame, <-chan struct{}) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.frames, c.grown
}

// Wait returns the first frame that matches, past or to come.
func (c *Capture) Wait(match func(Frame) bool) (Frame, bool) {
	return c.WaitFor(patience, match)
}

// WaitFor is Wait with another patience.
func (c *Capture) WaitFor(patience time.Duration, match func(Frame) bool) (Frame, bool) {
	deadline := time.After(patience)
	for seen := 0; ; {
		frames, grown := c.look()
		for ; seen < len(frames); seen++ {
			if match(frames[seen]) {
				return frames[seen], true
			}
		}
		select {
		case <-grown:
		case <-deadline:
			return Frame{}, false
		}
	}
}
