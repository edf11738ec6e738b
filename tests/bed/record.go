package bed

import (
	"encoding/binary"
	"errors"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Raw is one recorded frame, as it was on the wire.
type Raw struct {
	Bytes []byte
	// Outgoing says that the device sent the frame; otherwise it came in there.
	Outgoing bool
}

// Tap records a device like a Capture, for tests that look at each frame once and at
// many: it keeps nothing that was taken, and it decodes nothing.
type Tap struct {
	fd       int
	buf, oob []byte
}

// Tap begins to record a device of the namespace. both says that what the device sends is
// wanted, too.
func (n *NS) Tap(t testing.TB, device string, both bool) *Tap {
	t.Helper()
	tap := &Tap{buf: make([]byte, 64<<10), oob: make([]byte, 256)}
	index := n.Device(t, device).Index
	err := n.Do(func() (err error) {
		tap.fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return err
		}
		const room = 64 << 20 // so that no frame is lost before it is asked for
		options := []struct{ level, name, value int }{
			{unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, room},
			{unix.SOL_PACKET, unix.PACKET_AUXDATA, 1},
		}
		if !both {
			options = append(options, struct{ level, name, value int }{unix.SOL_PACKET, unix.PACKET_IGNORE_OUTGOING, 1})
		}
		for _, o := range options {
			if err := unix.SetsockoptInt(tap.fd, o.level, o.name, o.value); err != nil {
				return err
			}
		}
		return unix.Bind(tap.fd, &unix.SockaddrLinklayer{Protocol: networkOrder(unix.ETH_P_ALL), Ifindex: index})
	})
	if err != nil {
		t.Fatalf("in %s: tap %s: %v", n.Name, device, err)
	}
	t.Cleanup(func() {
		stats, err := unix.GetsockoptTpacketStats(tap.fd, unix.SOL_PACKET, unix.PACKET_STATISTICS)
		if err != nil || stats.Drops > 0 {
			t.Errorf("tap on %s has lost frames: %+v, %v", device, stats, err)
		}
		if err := unix.Close(tap.fd); err != nil {
			t.Errorf("close tap: %v", err)
		}
	})
	return tap
}

// SwitchTap records what passes the switch's port of a host, in both directions. What the
// host sends is not Outgoing there.
func (b *Bed) SwitchTap(h *Host) *Tap {
	b.t.Helper()
	return b.switches.Tap(b.t, h.Port, true)
}

// Take returns the frames that have passed since the last time.
func (p *Tap) Take() []Raw {
	var all []Raw
	for {
		n, oobn, _, from, err := unix.Recvmsg(p.fd, p.buf, p.oob, 0)
		if errors.Is(err, unix.EAGAIN) {
			return all
		}
		if err != nil {
			continue // once, such as ENETDOWN: the device went down
		}
		link, _ := from.(*unix.SockaddrLinklayer)
		all = append(all, Raw{
			Bytes:    withTag(p.buf[:n], p.oob[:oobn]),
			Outgoing: link != nil && link.Pkttype == unix.PACKET_OUTGOING,
		})
	}
}

// Await sleeps until there is something to take, or for a moment.
func (p *Tap) Await() {
	// An error is a signal, or a closed socket: whoever waits does so with a deadline.
	_, _ = unix.Poll([]unix.PollFd{{Fd: int32(p.fd), Events: unix.POLLIN}}, 100)
}

// withTag copies a frame and puts the VLAN tag back, which the kernel hands over beside
// it (struct tpacket_auxdata, packet(7)).
func withTag(frame, oob []byte) []byte {
	const statusValid, statusAt, tagAt, protocolAt, size = 1 << 4, 0, 16, 18, 20
	whole := append([]byte{}, frame...)
	messages, err := unix.ParseSocketControlMessage(oob)
	if err != nil || len(frame) < 12 {
		return whole
	}
	for _, m := range messages {
		if m.Header.Level != unix.SOL_PACKET || m.Header.Type != unix.PACKET_AUXDATA || len(m.Data) < size ||
			binary.NativeEndian.Uint32(m.Data[statusAt:])&statusValid == 0 {
			continue
		}
		tag := binary.BigEndian.AppendUint16(nil, binary.NativeEndian.Uint16(m.Data[protocolAt:]))
		tag = binary.BigEndian.AppendUint16(tag, binary.NativeEndian.Uint16(m.Data[tagAt:]))
		return append(append(whole[:12:12], tag...), frame[12:]...)
	}
	return whole
}

// OnOneCPU runs fn on a thread of its own that stays on one processor. What frames that
// it sends set off happens there, too, and in order: the queues between the two ends of
// a veth pair are each of one processor.
func OnOneCPU(fn func() error) error {
	return onOwnThread(func() error {
		var may, one unix.CPUSet
		if err := unix.SchedGetaffinity(0, &may); err != nil {
			return err
		}
		for cpu := 0; one.Count() == 0; cpu++ {
			if may.IsSet(cpu) {
				one.Set(cpu)
			}
		}
		if err := unix.SchedSetaffinity(0, &one); err != nil {
			return err
		}
		return fn()
	})
}

// Patience is how long a test waits for what ought to come at once.
func Patience() time.Duration { return patience }
