package main

import (
	"errors"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// workers is how many open connections at once.
const workers = 4

// takeConnections counts connections: a worker opens one, the other end takes and
// closes it, the worker sees that and closes it, too. So the other end has closed first,
// and no port of the worker's stays taken.
func takeConnections(p path, from, to int, length time.Duration) (map[string]float64, error) {
	listener, at, err := listening(p, to)
	if err != nil {
		return nil, err
	}
	taken := make(chan struct{})
	go func() {
		takeAndClose(listener)
		close(taken)
	}()
	counts, failed := make(chan int, workers), make(chan error, workers)
	start := time.Now()
	for range workers {
		go func() {
			count := 0
			failed <- inside(p.ns[from], func() (err error) {
				for err == nil && time.Since(start) < length {
					err = connectOnce(at)
					count++
				}
				return err
			})
			counts <- count
		}()
	}
	total := 0
	for range workers {
		err = errors.Join(err, <-failed)
		total += <-counts
	}
	took := time.Since(start)
	_ = unix.Shutdown(listener, unix.SHUT_RDWR)
	<-taken
	unix.Close(listener)
	return map[string]float64{connections: float64(total) / took.Seconds()}, err
}

// takeAndClose does so with connections until the socket is shut down.
func takeAndClose(listener int) {
	for {
		fd, _, err := unix.Accept4(listener, unix.SOCK_CLOEXEC)
		switch {
		case err == nil:
			unix.Close(fd)
		case errors.Is(err, unix.EINVAL) || errors.Is(err, unix.EBADF):
			return
		}
	}
}

// connectOnce opens a connection from the thread's namespace and awaits its end.
func connectOnce(at unix.Sockaddr) error {
	fd, err := socket(unix.SOCK_STREAM)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if err := connect(fd, at); err != nil {
		return err
	}
	for {
		_, err := unix.Read(fd, make([]byte, 1))
		if !errors.Is(err, unix.EINTR) {
			return os.NewSyscallError("await the end of a connection", err)
		}
	}
}
