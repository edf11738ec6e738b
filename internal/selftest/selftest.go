// Package selftest tests what a fan carries: a container against its host, and
// containers of two hosts against each other. What fails gets a cause, with its
// evidence: the counters of the fan on both hosts, what the peer says of itself,
// ICMP errors, firewall rules that have counted. Everything runs in this process,
// which opens sockets in the container's network namespace.
//
//	selftest.go   what a test needs, and how much of it
//	result.go     results, and who is told of them; text.go, how they read
//	local.go      a container against its host
//	sequence.go   two containers against each other, in both directions
//	near.go       the end of this process: it measures; far.go, the other host's
//	message.go    what the two hosts say to each other; serve.go and against.go, who says it
//	verdict.go    evidence to cause (pure); drops.go, firewall rules as evidence
package selftest

import (
	"net/netip"
	"time"

	"github.com/fanctl/fanctl/fan"
	"github.com/fanctl/fanctl/internal/namespace"
	"github.com/fanctl/fanctl/internal/probe"
	"github.com/fanctl/fanctl/tunnel"
)

// DefaultPort is the TCP port of the control connection between two hosts that test.
const DefaultPort = 7250

// Test is a test container on a fan of this host.
type Test struct {
	Fan fan.Fan
	// Host is the network namespace of the host; nil for that of the process.
	Host *namespace.Namespace
	// Container is the test container's network namespace, and Addr its address.
	Container *namespace.Namespace
	Addr      netip.Addr
	Label     string // "docker" or "lxd"
	// Version is the program's, which the peer is told.
	Version string
	// Port is that of the control connection; DefaultPort if 0.
	Port uint16
	// Counters returns what the fan has counted; nil, or an error, makes causes less
	// certain.
	Counters func() (tunnel.Counters, error)
	// Report is told what happens; nil for nobody.
	Report Reporter
	Effort Effort
}

// Effort is how much a test does and how long it waits. Zero values mean the
// defaults.
type Effort struct {
	Pings      int           // echo requests of a ping test; 5
	Short      int           // bytes of a short data test; 64
	Long       int           // bytes of a long data test; 4 MiB
	Throughput time.Duration // 2 seconds
	Wait       time.Duration // for answers to pings; 2 seconds
	Stall      time.Duration // how long no byte may move; 5 seconds
	// Meeting is how long one of two hosts waits for the other; 2 minutes.
	Meeting time.Duration
	// Again is how long it waits before it calls again; 1 second.
	Again time.Duration
}

// What a peer can make this host do, whatever it asks for.
const (
	maxBytes      = 64 << 20
	maxThroughput = 10 * time.Second
	maxPings      = 50
	maxSession    = 10 * time.Minute
)

// burst is how many echo requests look for a cause: more than what other containers
// are likely to send in the same moment, because the fan's counters are everybody's.
const burst = 20

func (e Effort) filled() Effort {
	fill := func(d *time.Duration, otherwise time.Duration) {
		if *d <= 0 {
			*d = otherwise
		}
	}
	count := func(n *int, otherwise, most int) {
		if *n <= 0 {
			*n = otherwise
		}
		*n = min(*n, most)
	}
	count(&e.Pings, 5, maxPings)
	count(&e.Short, 64, maxBytes/10)
	count(&e.Long, 4<<20, maxBytes)
	fill(&e.Throughput, 2*time.Second)
	e.Throughput = min(e.Throughput, maxThroughput)
	fill(&e.Wait, 2*time.Second)
	fill(&e.Stall, 5*time.Second)
	fill(&e.Meeting, 2*time.Minute)
	fill(&e.Again, time.Second)
	return e
}

func (e Effort) limits() probe.Limits {
	return probe.Limits{Bytes: maxBytes, Time: maxThroughput, Stall: e.Stall}
}

// ready is the test with a reporter that can be told things from everywhere.
func (t Test) ready() Test {
	t.Report = &serial{to: t.Report}
	return t
}

func (t Test) port() uint16 {
	if t.Port == 0 {
		return DefaultPort
	}
	return t.Port
}

// hello is what this host says of itself.
func (t Test) hello() Hello {
	f := t.Fan
	return Hello{Program: t.Version, Label: t.Label, Container: t.Addr, Fan: About{
		Host: f.Host, Underlay: f.Mapping.Underlay(), Overlay: f.Mapping.Overlay(),
		Type: f.Type.String(), Port: f.Port, MTU: int(f.MTU), Slice: f.Slice(),
	}}
}
