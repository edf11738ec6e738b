package selftest

import (
	"net/netip"
	"sync"
)

// The sides of a test. In a test of two hosts the master is the one that called.
const (
	Master = "master"
	Slave  = "slave"
)

// The tests.
const (
	TestControl    = "control" // do the hosts reach each other, and do their fans belong together?
	TestPing       = "ping"
	TestShort      = "short data"
	TestLong       = "long data"
	TestMTU        = "mtu"
	TestThroughput = "throughput"
)

// Result is one test in one direction, or, before it is done, that it begins.
type Result struct {
	Test string `json:"test"` // one of the Test constants
	Side string `json:"side"` // who sends: Master or Slave
	// From and To are the addresses that the data goes from and to.
	From netip.Addr `json:"from"`
	To   netip.Addr `json:"to"`

	Sent     int     `json:"sent,omitempty"`      // echo requests
	Answered int     `json:"answered,omitempty"`  // of them
	Bytes    int     `json:"bytes,omitempty"`     // of data, or of the packet of an MTU test
	Largest  int     `json:"largest,omitempty"`   // packet that passes, in bytes
	Gbit     float64 `json:"gbit,omitempty"`      // Gb/s between the containers
	HostGbit float64 `json:"host_gbit,omitempty"` // Gb/s between the hosts, without the fan

	Pass  bool   `json:"pass"`
	Cause *Cause `json:"cause,omitempty"` // of what failed
}

// Kind is what is wrong.
type Kind string

// What can be wrong. The first five are those of the fan, the next four those of the
// control connection between the two hosts.
const (
	Forward   Kind = "forward"   // a host's firewall drops what the host forwards
	Blocked   Kind = "blocked"   // the tunnel's packets don't pass between the hosts
	Differs   Kind = "differs"   // the two hosts' fans can't belong together
	TooBig    Kind = "mtu"       // packets of the fan's MTU don't pass
	Source    Kind = "source"    // the inner source is not of the host that sends
	Refused   Kind = "refused"   // nobody listens at the peer, or it does not want us
	Filtered  Kind = "filtered"  // the peer is there, and the control port does not answer
	Absent    Kind = "absent"    // there is no way to the peer, or no peer
	Vanished  Kind = "vanished"  // the connection to the peer ended in the middle
	Container Kind = "container" // the test container does not answer or has no way out
	Firewall  Kind = "firewall"  // a firewall drops some of what passes, but not all
	Loss      Kind = "loss"      // some packets are lost
	Unknown   Kind = "unknown"
)

// Cause is why a test failed.
type Cause struct {
	Kind Kind   `json:"kind"`
	Text string `json:"text"` // what is wrong and what would be right, one line
}

// Error returns the text.
func (c *Cause) Error() string { return c.Text }

// Score counts the tests that failed, by who sent.
type Score struct {
	Master int `json:"master"`
	Slave  int `json:"slave"`
}

// Pass says whether nothing has failed.
func (s Score) Pass() bool { return s.Master == 0 && s.Slave == 0 }

func (s *Score) count(r Result) {
	switch {
	case r.Pass:
	case r.Side == Slave:
		s.Slave++
	default:
		s.Master++
	}
}

// Outcome is a whole test.
type Outcome struct {
	Name    string   `json:"name"`           // "local docker", "host docker"
	Peer    *Peer    `json:"peer,omitempty"` // of a test of two hosts
	Results []Result `json:"results"`
	Score   Score    `json:"score"`
}

// Peer is the other host of a test of two.
type Peer struct {
	Program   string     `json:"program"` // the version of its fanatic
	Label     string     `json:"label"`   // "docker" or "lxd"
	Fan       About      `json:"fan"`
	Container netip.Addr `json:"container"`
}

func (o *Outcome) add(r Result) {
	o.Results = append(o.Results, r)
	o.Score.count(r)
}

// Reporter is told what happens while a test runs, one thing at a time.
type Reporter interface {
	// Start is told that a test begins, Done how it ended.
	Start(Result)
	Done(Result)
	// Note is told what else somebody who waits should know.
	Note(line string)
}

// serial tells a reporter one thing at a time, whoever has something to tell.
type serial struct {
	mu sync.Mutex
	to Reporter
}

func (s *serial) tell(do func(Reporter)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.to != nil {
		do(s.to)
	}
}

func (s *serial) Start(r Result)   { s.tell(func(to Reporter) { to.Start(r) }) }
func (s *serial) Done(r Result)    { s.tell(func(to Reporter) { to.Done(r) }) }
func (s *serial) Note(line string) { s.tell(func(to Reporter) { to.Note(line) }) }
