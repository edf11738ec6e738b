package main

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"runtime"
	"time"

	"golang.org/x/sys/unix"
)

// takeTrips measures round trips as netperf's UDP_RR and TCP_RR do: one message is
// sent, its echo awaited, and so on.
func takeTrips(open opener, size int, rate, median, worst string) taker {
	return func(p path, from, to int, length time.Duration) (map[string]float64, error) {
		e, err := open(p, from, to)
		if err != nil {
			return nil, err
		}
		echoed := make(chan struct{})
		go func() {
			echo(e.server, size)
			close(echoed)
		}()
		took, err := roundTrips(e.client, size, length)
		_ = unix.Shutdown(e.server, unix.SHUT_RDWR)
		<-echoed
		e.close()
		if err != nil {
			return nil, err
		}
		sum := 0.0
		for _, us := range took {
			sum += us
		}
		return map[string]float64{rate: float64(len(took)) / sum * 1e6, median: quantile(took, 0.5), worst: quantile(took, 0.99)}, nil
	}
}

// echo sends back what it reads until there is no more.
func echo(fd, size int) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	buffer := make([]byte, size)
	for {
		n, err := unix.Read(fd, buffer)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil || n == 0 {
			return
		}
		if _, err := unix.Write(fd, buffer[:n]); err != nil {
			return
		}
	}
}

// roundTrips returns the time of each, in microseconds; the first few, which find out
// the way, aside.
func roundTrips(fd, size int, length time.Duration) (took []float64, err error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	const first = 20
	took = make([]float64, 0, 1<<16)
	message, answer := make([]byte, size), make([]byte, size)
	var start, sent time.Time
	for n := 0; n <= first || sent.Sub(start) < length; n++ {
		if size >= 8 {
			binary.NativeEndian.PutUint64(message, uint64(n))
		}
		if sent = time.Now(); n == first {
			start = sent
		}
		err := trip(fd, message, answer)
		if n < first && errors.Is(err, unix.EAGAIN) {
			continue // a packet may get lost before the way is known
		}
		if err != nil {
			return nil, fmt.Errorf("round trip %d: %w", n, err)
		}
		if n >= first {
			took = append(took, float64(time.Since(sent).Nanoseconds())/1000)
		}
	}
	return took, nil
}

// trip sends a message and awaits its echo. Those of messages before, which come late,
// are passed over.
func trip(fd int, message, answer []byte) error {
	if _, err := unix.Write(fd, message); err != nil {
		return fmt.Errorf("send: %w", err)
	}
	for {
		n, err := unix.Read(fd, answer)
		switch {
		case errors.Is(err, unix.EINTR):
		case err != nil:
			return fmt.Errorf("await the echo: %w", err)
		case n == 0:
			return errors.New("the other end has gone")
		case bytes.Equal(answer[:n], message):
			return nil
		}
	}
}
