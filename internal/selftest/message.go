package selftest

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"strings"
	"unicode"

	"github.com/fanctl/fanctl/fan"
	"github.com/fanctl/fanctl/internal/probe"
)

const (
	// version is that of the messages; both hosts must have the same.
	version = 1
	// maxLine is how long a message may be, in bytes.
	maxLine = 32 << 10
	maxText = 1000 // of a text in a message, in bytes
)

// Hello is what a host says of itself before anything is tested.
type Hello struct {
	Program   string     `json:"program"` // its version
	Label     string     `json:"label"`   // "docker" or "lxd"
	Fan       About      `json:"fan"`
	Container netip.Addr `json:"container"`
	// Data is the port at which the container answers transfers, 0 if it will not.
	Data uint16 `json:"data,omitempty"`
	// Seen is the address that the one who answers has for the caller.
	Seen netip.Addr `json:"seen,omitzero"`
	// Ticket is what further connections of this session begin with.
	Ticket string `json:"ticket,omitempty"`
}

// peer returns what is worth to be kept of it.
func (h Hello) peer() *Peer {
	return &Peer{Program: h.Program, Label: h.Label, Fan: h.Fan, Container: h.Container}
}

// About is a fan as far as two hosts must agree.
type About struct {
	Host     netip.Addr   `json:"host"`
	Underlay netip.Prefix `json:"underlay"`
	Overlay  netip.Prefix `json:"overlay"`
	Type     string       `json:"type"`
	Port     uint16       `json:"port,omitempty"`
	MTU      int          `json:"mtu"`
	Slice    netip.Prefix `json:"slice"`
}

// message is a line of the control connection. Exactly one field beside Version is
// set.
type message struct {
	Version int     `json:"fanatic"`
	Hello   *Hello  `json:"hello,omitempty"`   // the first, of both sides
	Wait    string  `json:"wait,omitempty"`    // before the answerer's hello: it will come, but not yet
	Refused string  `json:"refused,omitempty"` // instead of the answerer's hello
	Ask     *ask    `json:"ask,omitempty"`     // what the caller wants done
	Answer  *answer `json:"answer,omitempty"`
	Start   *Result `json:"start,omitempty"` // of the caller, so that both sides report the same
	Done    *Result `json:"done,omitempty"`
	Bye     *Score  `json:"bye,omitempty"`    // the last one
	Ticket  string  `json:"ticket,omitempty"` // the first of a connection for data between the hosts
}

// ask is something that an end does. Its sizes count for no more than the limits,
// and what is tested is always the way between the two containers.
type ask struct {
	Do    string `json:"do"` // one of the do constants
	Count int    `json:"count,omitempty"`
	Bytes int    `json:"bytes,omitempty"`
	// Millis is how long a throughput test takes, or answers to pings are waited for,
	// in milliseconds.
	Millis int `json:"millis,omitempty"`
}

const (
	doPing       = "ping"
	doShort      = "short"
	doLong       = "long"
	doThroughput = "throughput"
	doSize       = "size" // look for the longest packet
	doMark       = "mark" // remember the counters
	doRead       = "read" // by how much have they risen since
)

// answer is what an ask has brought; Failure is a finding, Error is none.
type answer struct {
	Error   string         `json:"error,omitempty"`
	Failure *probe.Failure `json:"failure,omitempty"`
	Pings   *probe.Answers `json:"pings,omitempty"`
	Passed  *probe.Passed  `json:"passed,omitempty"`
	Rate    *probe.Rate    `json:"rate,omitempty"`
	Facts   *Facts         `json:"facts,omitempty"`
}

// errMessage says that a line is not what the two hosts say to each other.
var errMessage = errors.New("not a message of fanatic's")

// otherVersion is a peer whose messages are another version's.
type otherVersion int

func (v otherVersion) Error() string {
	return fmt.Sprintf("the peer's fanatic speaks version %d of the test's messages, this one %d: install the same version on both hosts", int(v), version)
}

// write sends a message.
func write(w io.Writer, m message) error {
	m.Version = version
	line, err := json.Marshal(m)
	if err != nil {
		return fmt.Errorf("write message: %w", err)
	}
	_, err = w.Write(append(line, '\n'))
	return err
}

// read gets the next message.
func read(r *bufio.Reader) (message, error) {
	line, err := r.ReadSlice('\n') // at most as long as the reader's buffer
	if errors.Is(err, bufio.ErrBufferFull) {
		return message{}, fmt.Errorf("%w: longer than %d bytes", errMessage, maxLine)
	}
	if err != nil {
		return message{}, err
	}
	return parse(line)
}

func newReader(r io.Reader) *bufio.Reader { return bufio.NewReaderSize(r, maxLine) }

// parse reads a message. Errors are errMessage or otherVersion.
func parse(line []byte) (message, error) {
	// First only the version: what a later one says need not be what this one knows.
	var head struct {
		Version int `json:"fanatic"`
	}
	if err := json.Unmarshal(line, &head); err != nil || head.Version == 0 {
		return message{}, errMessage
	}
	if head.Version != version {
		return message{}, otherVersion(head.Version)
	}
	var m message
	d := json.NewDecoder(bytes.NewReader(line))
	d.DisallowUnknownFields()
	if err := d.Decode(&m); err != nil {
		return message{}, fmt.Errorf("%w: %s", errMessage, clean(err.Error()))
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return message{}, fmt.Errorf("%w: something follows it", errMessage)
	}
	return m, m.check()
}

// check refuses messages that say nothing, or two things, or what can't be.
func (m *message) check() error {
	said := 0
	for _, is := range []bool{m.Hello != nil, m.Wait != "", m.Refused != "", m.Ask != nil, m.Answer != nil, m.Start != nil, m.Done != nil, m.Bye != nil, m.Ticket != ""} {
		if is {
			said++
		}
	}
	if said != 1 {
		return fmt.Errorf("%w: it says %d things, not one", errMessage, said)
	}
	for _, a := range m.addresses() {
		if a.IsValid() && !a.Is4() {
			// It is not told which: the zone of an IPv6 address can be any text.
			return fmt.Errorf("%w: an address is not IPv4", errMessage)
		}
	}
	m.Wait, m.Refused, m.Ticket = clean(m.Wait), clean(m.Refused), clean(m.Ticket)
	if m.Hello != nil {
		return m.Hello.check()
	}
	if a := m.Ask; a != nil {
		a.Do = clean(a.Do)
		if a.Count < 0 || a.Bytes < 0 || a.Millis < 0 {
			return fmt.Errorf("%w: a negative size", errMessage)
		}
	}
	m.Answer.clean()
	for _, r := range []*Result{m.Start, m.Done} {
		if err := r.check(); err != nil {
			return err
		}
	}
	return nil
}

// addresses returns all that a message says.
func (m *message) addresses() []netip.Addr {
	var all []netip.Addr
	if h := m.Hello; h != nil {
		all = append(all, h.Fan.Host, h.Container, h.Seen)
	}
	if a := m.Answer; a != nil {
		if a.Pings != nil {
			all = append(all, a.Pings.Unresolved)
		}
		for _, r := range a.refusals() {
			all = append(all, r.From)
		}
	}
	for _, r := range []*Result{m.Start, m.Done} {
		if r != nil {
			all = append(all, r.From, r.To)
		}
	}
	return all
}

// check refuses what no host can say of itself; whether it fits to this host is
// another question.
func (h *Hello) check() error {
	h.Program, h.Label, h.Ticket, h.Fan.Type = clean(h.Program), clean(h.Label), clean(h.Ticket), clean(h.Fan.Type)
	f := h.Fan
	m, err := fan.NewMapping(f.Underlay, f.Overlay)
	if err != nil {
		return fmt.Errorf("%w: %w", errMessage, err)
	}
	if slice, ok := m.Slice(f.Host); !ok || slice != f.Slice {
		return fmt.Errorf("%w: %s is not the slice of %s", errMessage, f.Slice, f.Host)
	}
	if _, err := fan.ParseType(f.Type); err != nil {
		return fmt.Errorf("%w: %w", errMessage, err)
	}
	if f.MTU < int(fan.MinMTU) || f.MTU > int(fan.MaxMTU) {
		return fmt.Errorf("%w: MTU %d", errMessage, f.MTU)
	}
	if !h.Container.IsValid() {
		return fmt.Errorf("%w: no container", errMessage)
	}
	return nil
}

func (a *answer) clean() {
	if a == nil {
		return
	}
	a.Error = clean(a.Error)
	if a.Failure != nil {
		a.Failure.Stage, a.Failure.Reason = clean(a.Failure.Stage), clean(a.Failure.Reason)
	}
	for _, r := range a.refusals() {
		r.What = clean(r.What)
	}
	if a.Facts != nil {
		a.Facts.Drops = a.Facts.Drops[:min(len(a.Facts.Drops), maxDrops)]
		for i := range a.Facts.Drops {
			d := &a.Facts.Drops[i]
			d.Table, d.Chain, d.Rule = clean(d.Table), clean(d.Chain), clean(d.Rule)
		}
	}
}

// refusals returns those of an answer, few enough to be told.
func (a *answer) refusals() []*probe.Refusal {
	var all []*probe.Refusal
	of := func(list *[]probe.Refusal) {
		*list = (*list)[:min(len(*list), maxDrops)]
		for i := range *list {
			all = append(all, &(*list)[i])
		}
	}
	if a.Pings != nil {
		of(&a.Pings.Refusals)
	}
	if a.Passed != nil {
		of(&a.Passed.Refusals)
	}
	return all
}

func (r *Result) check() error {
	if r == nil {
		return nil
	}
	r.Test = clean(r.Test)
	if r.Side != Master && r.Side != Slave {
		return fmt.Errorf("%w: no such side", errMessage)
	}
	if r.Cause != nil {
		r.Cause.Kind, r.Cause.Text = Kind(clean(string(r.Cause.Kind))), clean(r.Cause.Text)
	}
	return nil
}

// clean makes a text of another host fit for a terminal: one line, no control
// characters, not too long.
func clean(s string) string {
	if len(s) > maxText {
		s = s[:maxText]
	}
	return strings.Map(func(r rune) rune {
		if r == unicode.ReplacementChar || !unicode.IsPrint(r) {
			return -1
		}
		return r
	}, s)
}
