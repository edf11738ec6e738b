package main

import (
	"errors"
	"fmt"
	"net"
	"runtime"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

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

func takePackets(p path, from, to int, length time.Duration) (map[string]float64, error) {
	rate, cost, err := packets(p, from, to, length)
	return map[string]float64{udpPackets: rate, udpCost: cost}, err
}

// packets sends small packets as fast as they go and returns how many a second
// arrived, and what each of those that were sent has cost in ns of the sender's CPU
// time.
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
	before, count := used(unix.RUSAGE_THREAD), 0
	start, list := time.Now(), vectors()
	for time.Since(start) < length {
		n, err := many(unix.SYS_SENDMMSG, out, list, 0)
		count += n
		if err != nil && !errors.Is(err, unix.ENOBUFS) && !errors.Is(err, unix.EINTR) {
			return 0, 0, fmt.Errorf("send: %w", err)
		}
	}
	took := time.Since(start)
	cost = float64((used(unix.RUSAGE_THREAD) - before).Nanoseconds()) / float64(count)
	close(sent)
	return float64(<-received) / took.Seconds(), cost, nil
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
