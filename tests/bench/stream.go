package main

import (
	"errors"
	"fmt"
	"net"
	"time"

	"golang.org/x/sys/unix"
)

func takeStreams(flows int, rate, cost string) taker {
	return func(p path, from, to int, length time.Duration) (map[string]float64, error) {
		gigabits, took, spent, err := streams(p, from, to, length, flows)
		if err == nil && gigabits == 0 {
			err = errors.New("no byte of the stream arrives")
		}
		if err != nil {
			return nil, err
		}
		return map[string]float64{rate: gigabits / took.Seconds(), cost: float64(spent.Microseconds()) / 1000 / gigabits}, nil
	}
}

// flow is a TCP connection by its ends.
type flow struct{ source, sink net.Conn }

// streams sends by TCP, by some flows at once, and returns how many Gb arrived, how
// long that took, and the CPU time of both ends: their threads', where a veth pair has
// most of the kernel's work for packets done.
func streams(p path, from, to int, length time.Duration, count int) (gigabits float64, took, spent time.Duration, err error) {
	flows, err := openFlows(p, from, to, count)
	defer func() {
		for _, f := range flows {
			f.source.Close()
			f.sink.Close()
		}
	}()
	if err != nil {
		return 0, 0, 0, err
	}
	before, start := used(unix.RUSAGE_SELF), time.Now()
	received, sent := make(chan int64, count), make(chan error, count)
	for _, f := range flows {
		go func() { received <- swallow(f.sink) }()
		go func() { sent <- pour(f.source, start, length) }()
	}
	var total int64
	for range flows {
		err = errors.Join(err, <-sent)
		total += <-received
	}
	return float64(total) * 8 / 1e9, time.Since(start), used(unix.RUSAGE_SELF) - before, err
}

// openFlows returns those that it has opened, whatever the error.
func openFlows(p path, from, to, count int) (flows []flow, err error) {
	var listener net.Listener
	err = inside(p.ns[to], func() (err error) {
		listener, err = net.Listen("tcp4", p.addr[to]+":0")
		return err
	})
	if err != nil {
		return nil, err
	}
	defer listener.Close()
	for range count {
		var f flow
		if err := inside(p.ns[from], func() (err error) {
			f.source, err = net.DialTimeout("tcp4", listener.Addr().String(), patience)
			return err
		}); err != nil {
			return flows, err
		}
		if f.sink, err = listener.Accept(); err != nil {
			f.source.Close()
			return flows, err
		}
		flows = append(flows, f)
	}
	return flows, nil
}

// pour sends for a while, and then the end of the stream.
func pour(c net.Conn, start time.Time, length time.Duration) error {
	defer c.Close()
	buffer := make([]byte, 128<<10)
	_ = c.SetDeadline(start.Add(length + patience))
	for time.Since(start) < length {
		if _, err := c.Write(buffer); err != nil {
			return fmt.Errorf("send stream: %w", err)
		}
	}
	return nil
}

// swallow counts what arrives until the stream ends.
func swallow(c net.Conn) (total int64) {
	buffer := make([]byte, 256<<10)
	for {
		n, err := c.Read(buffer)
		total += int64(n)
		if err != nil {
			return total
		}
	}
}
