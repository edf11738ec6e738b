package main

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"runtime"
	"slices"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// results are what was measured.
type results struct {
	Paths []string // in the order of measurement
	// Values are those of each measure and path, a value a round.
	Values map[string]map[string][]float64
}

func newResults() *results { return &results{Values: map[string]map[string][]float64{}} }

func (r *results) add(measure, path string, value float64) {
	if !slices.Contains(r.Paths, path) {
		r.Paths = append(r.Paths, path)
	}
	if r.Values[measure] == nil {
		r.Values[measure] = map[string][]float64{}
	}
	r.Values[measure][path] = append(r.Values[measure][path], value)
}

// Names of the measures.
const (
	udpPackets = "UDP 64 B, packets/s"
	udpCost    = "UDP 64 B, ns of CPU a packet"
	tcpRate    = "TCP, Gb/s"
	roundTrips = "UDP ping-pong, round trips/s"
	median     = "ping-pong p50, us"
	worst      = "ping-pong p99, us"
)

const payload = 64

// taker takes one kind of measure of a path once.
type taker func(p path, from, to int, length time.Duration, data *results) error

// takers are the kinds of measure by the names that -measure takes.
func takers() map[string]taker {
	return map[string]taker{"packets": takePackets, "stream": takeStream, "pingpong": takePingPong}
}

// measure takes the named kinds of measure of a path once. Odd rounds go the other
// way.
func measure(p path, kinds []string, round int, length time.Duration, data *results) error {
	for _, kind := range kinds {
		if err := takers()[kind](p, round%2, 1-round%2, length, data); err != nil {
			return err
		}
	}
	return nil
}

func takePackets(p path, from, to int, length time.Duration, data *results) error {
	rate, cost, err := packets(p, from, to, length)
	data.add(udpPackets, p.name, rate)
	data.add(udpCost, p.name, cost)
	return err
}

func takeStream(p path, from, to int, length time.Duration, data *results) error {
	rate, err := stream(p, from, to, length)
	data.add(tcpRate, p.name, rate)
	return err
}

func takePingPong(p path, from, to int, length time.Duration, data *results) error {
	trips, err := pingPong(p, from, to, length)
	if err != nil || len(trips) == 0 {
		return err
	}
	slices.Sort(trips)
	data.add(roundTrips, p.name, float64(len(trips))/length.Seconds())
	data.add(median, p.name, float64(trips[len(trips)/2].Nanoseconds())/1000)
	data.add(worst, p.name, float64(trips[len(trips)*99/100].Nanoseconds())/1000)
	return nil
}

// inside runs a function on a thread in a network namespace; the thread ends
// with it. A socket that it makes stays in that namespace.
func inside(ns string, do func() error) error {
	done := make(chan error)
	go func() {
		runtime.LockOSThread()
		f, err := os.Open("/run/netns/" + ns)
		if err == nil {
			defer f.Close()
			err = unix.Setns(int(f.Fd()), unix.CLONE_NEWNET)
		}
		if err == nil {
			err = do()
		}
		done <- err
	}()
	return <-done
}

// udpPair returns a socket that receives on one end and one that sends to it.
func udpPair(p path, from, to int) (sink, source *net.UDPConn, err error) {
	err = inside(p.ns[to], func() (err error) {
		sink, err = net.ListenUDP("udp4", &net.UDPAddr{IP: net.ParseIP(p.addr[to])})
		return err
	})
	if err != nil {
		return nil, nil, err
	}
	_ = sink.SetReadBuffer(4 << 20)
	err = inside(p.ns[from], func() (err error) {
		source, err = net.DialUDP("udp4", nil, sink.LocalAddr().(*net.UDPAddr))
		return err
	})
	if err != nil {
		sink.Close()
	}
	return sink, source, err
}

const batch = 32

// vector is struct mmsghdr of linux/socket.h, on 64-bit machines.
type vector struct {
	header unix.Msghdr
	length uint32
	_      uint32
}

func vectors() []vector {
	list := make([]vector, batch)
	for i := range list {
		buffer := make([]byte, payload)
		part := &unix.Iovec{Base: &buffer[0]}
		part.SetLen(payload)
		list[i].header.Iov = part
		list[i].header.SetIovlen(1)
	}
	return list
}

// many sends or receives a batch with one call.
func many(call uintptr, fd int, list []vector, flags uintptr) (int, error) {
	n, _, errno := unix.Syscall6(call, uintptr(fd), uintptr(unsafe.Pointer(&list[0])), uintptr(len(list)), flags, 0, 0)
	if errno != 0 {
		return 0, errno
	}
	return int(n), nil
}

// packets sends small packets as fast as they go and returns how many a second
// arrived, and what each of those that were sent has cost in ns of the sender's CPU
// time: that does not depend on who else uses the processor.
func packets(p path, from, to int, length time.Duration) (rate, cost float64, err error) {
	sink, source, err := udpPair(p, from, to)
	if err != nil {
		return 0, 0, err
	}
	defer sink.Close()
	defer source.Close()
	if err := warmUp(sink, source); err != nil {
		return 0, 0, err
	}
	sinkFile, err := sink.File()
	if err != nil {
		return 0, 0, err
	}
	defer sinkFile.Close()
	sourceFile, err := source.File()
	if err != nil {
		return 0, 0, err
	}
	defer sourceFile.Close()
	in, out := int(sinkFile.Fd()), int(sourceFile.Fd())

	received, sent := make(chan int), make(chan struct{})
	go func() { received <- drain(in, sent) }()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	used, count := threadTime(), 0
	start, list := time.Now(), vectors()
	for time.Since(start) < length {
		n, err := many(unix.SYS_SENDMMSG, out, list, 0)
		count += n
		if err != nil && !errors.Is(err, unix.ENOBUFS) && !errors.Is(err, unix.EINTR) {
			return 0, 0, fmt.Errorf("send: %w", err)
		}
	}
	took := time.Since(start)
	cost = float64((threadTime() - used).Nanoseconds()) / float64(count)
	close(sent)
	return float64(<-received) / took.Seconds(), cost, nil
}

// threadTime returns the CPU time of the thread, the kernel's work for it included.
func threadTime() time.Duration {
	var usage unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_THREAD, &usage); err != nil {
		return 0
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

// drain counts packets until none has come for a while after all were sent. It
// never sleeps: waking it up would cost the sender's processor more than some of
// the ways that are measured.
func drain(socket int, sent <-chan struct{}) int {
	runtime.LockOSThread()
	const patience = 50 * time.Millisecond
	total, list := 0, vectors()
	var last time.Time
	for {
		n, err := many(unix.SYS_RECVMMSG, socket, list, unix.MSG_DONTWAIT)
		if err == nil {
			total, last = total+n, time.Now()
			continue
		}
		select {
		case <-sent:
			if time.Since(last) > patience {
				return total
			}
		default:
		}
	}
}

// warmUp sends single packets until one arrives, so that neighbours are known.
func warmUp(sink, source *net.UDPConn) error {
	buffer := make([]byte, payload)
	for range 20 {
		if _, err := source.Write(buffer); err != nil {
			return err
		}
		_ = sink.SetReadDeadline(time.Now().Add(200 * time.Millisecond))
		if _, _, err := sink.ReadFrom(buffer); err == nil {
			return sink.SetReadDeadline(time.Time{})
		}
	}
	return errors.New("nothing arrives")
}

// stream sends a TCP stream and returns how many Gb/s arrived.
func stream(p path, from, to int, length time.Duration) (float64, error) {
	var listener net.Listener
	err := inside(p.ns[to], func() (err error) {
		listener, err = net.Listen("tcp4", p.addr[to]+":0")
		return err
	})
	if err != nil {
		return 0, err
	}
	defer listener.Close()
	received := make(chan int64)
	go func() {
		var total int64
		if c, err := listener.Accept(); err == nil {
			buffer := make([]byte, 256<<10)
			for {
				n, err := c.Read(buffer)
				total += int64(n)
				if err != nil {
					break
				}
			}
			c.Close()
		}
		received <- total
	}()
	var c net.Conn
	if err := inside(p.ns[from], func() (err error) {
		c, err = net.DialTimeout("tcp4", listener.Addr().String(), 5*time.Second)
		return err
	}); err != nil {
		return 0, err
	}
	start, buffer := time.Now(), make([]byte, 128<<10)
	_ = c.SetDeadline(start.Add(length + 5*time.Second))
	for time.Since(start) < length {
		if _, err := c.Write(buffer); err != nil {
			return 0, err
		}
	}
	c.Close()
	total := <-received
	return float64(total) * 8 / time.Since(start).Seconds() / 1e9, nil
}

// pingPong sends a packet, waits for its echo, and so on; it returns the times.
func pingPong(p path, from, to int, length time.Duration) ([]time.Duration, error) {
	sink, source, err := udpPair(p, from, to)
	if err != nil {
		return nil, err
	}
	defer source.Close()
	if err := warmUp(sink, source); err != nil {
		sink.Close()
		return nil, err
	}
	go func() {
		buffer := make([]byte, payload)
		for {
			n, back, err := sink.ReadFrom(buffer)
			if err != nil {
				return
			}
			if _, err := sink.WriteTo(buffer[:n], back); err != nil {
				return
			}
		}
	}()
	defer sink.Close()
	var trips []time.Duration
	buffer := make([]byte, payload)
	for start := time.Now(); time.Since(start) < length; {
		sent := time.Now()
		if _, err := source.Write(buffer); err != nil {
			return nil, err
		}
		_ = source.SetReadDeadline(sent.Add(time.Second))
		if _, err := source.Read(buffer); err != nil && !errors.Is(err, io.EOF) {
			return nil, fmt.Errorf("no echo: %w", err)
		}
		trips = append(trips, time.Since(sent))
	}
	return trips, nil
}
