package main

import (
	"os"
	"runtime"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Names of what is measured.
const (
	udpPackets  = "UDP 64 B, packets/s"
	tcpRate     = "TCP 1 flow, Gb/s"
	tcp8Rate    = "TCP 8 flows, Gb/s"
	udpTrips    = "UDP_RR, round trips/s"
	tcpTrips    = "TCP_RR, round trips/s"
	connections = "TCP connections/s"
	udpCost     = "UDP 64 B, ns of CPU a packet"
	tcpCost     = "TCP 1 flow, ms of CPU a Gb"
	tcp8Cost    = "TCP 8 flows, ms of CPU a Gb"
	udpMedian   = "UDP_RR p50, us"
	udpWorst    = "UDP_RR p99, us"
	tcpMedian   = "TCP_RR p50, us"
	tcpWorst    = "TCP_RR p99, us"
)

// rates are measures of which more is better, costs those of which less is.
func rates() []string {
	return []string{udpPackets, tcpRate, tcp8Rate, udpTrips, tcpTrips, connections}
}

func costs() []string {
	return []string{udpCost, tcpCost, tcp8Cost, udpMedian, udpWorst, tcpMedian, tcpWorst}
}

// payload is that of a packet.
const payload = 64

// taker measures a path once, one way, and returns values by their names.
type taker func(p path, from, to int, length time.Duration) (map[string]float64, error)

// takers are the kinds of measure by the names that -measure takes.
func takers() map[string]taker {
	return map[string]taker{
		"packets":     takePackets,
		"stream":      takeStreams(1, tcpRate, tcpCost),
		"stream8":     takeStreams(8, tcp8Rate, tcp8Cost),
		"pingpong":    takeTrips(udpSockets, payload, udpTrips, udpMedian, udpWorst),
		"tcprr":       takeTrips(tcpSockets, 1, tcpTrips, tcpMedian, tcpWorst),
		"connections": takeConnections,
	}
}

// allKinds names the kinds of measure, in their order.
func allKinds() string { return "packets,stream,stream8,pingpong,tcprr,connections" }

// words are what commas separate.
func words(list string) []string {
	return strings.FieldsFunc(list, func(r rune) bool { return r == ',' })
}

// results are what was measured.
type results struct {
	Paths []string // in the order of the tables
	// Values are those of each measure and path, a value a round.
	Values map[string]map[string][]float64

	rounds int // so far
}

func newResults() *results { return &results{Values: map[string]map[string][]float64{}} }

func (r *results) add(path string, values map[string]float64) {
	for measure, value := range values {
		if r.Values[measure] == nil {
			r.Values[measure] = map[string][]float64{}
		}
		r.Values[measure][path] = append(r.Values[measure][path], value)
	}
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

// used returns the CPU time of this thread (RUSAGE_THREAD) or process (RUSAGE_SELF),
// the kernel's work for it included. It does not depend on who else uses the processor.
func used(who int) time.Duration {
	var usage unix.Rusage
	if err := unix.Getrusage(who, &usage); err != nil {
		return 0
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}
