// Package terminal runs a program on a host of a bed as a person does: on a
// terminal, reading what is there and typing answers.
package terminal

import (
	"bytes"
	"context"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/creack/pty"

	"github.com/fanctl/fanctl/tests/bed"
)

// patience is when text that does not come, or a program that does not end, is
// given up. It is no measure of speed.
const patience = 2 * time.Minute

// Terminal is a program on a terminal of 80 columns and 24 lines.
type Terminal struct {
	words []string
	pty   *os.File
	ended chan struct{}
	code  int

	mu    sync.Mutex
	came  chan struct{} // closed when there is more to see
	seen  bytes.Buffer
	taken int // of seen, by Expect
}

// Start starts a program inside a namespace, with more environment variables, each
// NAME=value. It is killed with the test, should it still run then.
func Start(t testing.TB, n *bed.NS, env []string, words ...string) *Terminal {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	cmd := n.Command(ctx, words...)
	cmd.Env = append(append(os.Environ(), "TERM=xterm"), env...)
	c := &Terminal{words: words, ended: make(chan struct{}), came: make(chan struct{})}
	started := make(chan error)
	go c.run(cmd, started)
	if err := <-started; err != nil {
		cancel()
		t.Fatalf("in %s: start %v on a terminal: %v", n.Name, words, err)
	}
	t.Cleanup(func() {
		cancel()
		<-c.ended
		c.pty.Close()
	})
	return c
}

// run starts the program and waits for its end on one thread: the kernel kills the
// program when that ends.
func (c *Terminal) run(cmd *exec.Cmd, started chan<- error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var err error
	c.pty, err = pty.StartWithSize(cmd, &pty.Winsize{Rows: 24, Cols: 80})
	started <- err
	if err != nil {
		return
	}
	read := make(chan struct{})
	go func() {
		defer close(read)
		// A terminal that nobody has open any more is an error of its other end.
		_, _ = io.Copy(c, c.pty)
	}()
	_ = cmd.Wait() // the code tells
	<-read
	c.code = cmd.ProcessState.ExitCode()
	close(c.ended)
}

// Write takes what the program has written. Tests don't call it.
func (c *Terminal) Write(b []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.seen.Write(bytes.ReplaceAll(b, []byte("\r"), nil))
	close(c.came)
	c.came = make(chan struct{})
	return len(b), nil
}

// find looks for a text in what Expect has not taken yet. more is closed when there
// is more to see.
func (c *Terminal) find(text string) (before string, found bool, more <-chan struct{}) {
	c.mu.Lock()
	defer c.mu.Unlock()
	before, _, found = strings.Cut(c.seen.String()[c.taken:], text)
	if found {
		c.taken += len(before) + len(text)
	}
	return before, found, c.came
}

// Expect waits until a text is there, after the one that was expected last, and
// returns what is between the two. The test fails if the program ends or waits for
// something else.
func (c *Terminal) Expect(t testing.TB, text string) string {
	t.Helper()
	deadline := time.After(patience)
	for ended := false; ; {
		before, found, more := c.find(text)
		if found {
			return before
		}
		if ended {
			t.Fatalf("%q has ended with code %d and did not say %q:\n%s", c.words, c.code, text, c.Transcript())
		}
		select {
		case <-more:
		case <-c.ended:
			ended = true
		case <-deadline:
			t.Fatalf("%q does not say %q:\n%s", c.words, text, c.Transcript())
		}
	}
}

// Send types a text; the return key is "\n".
func (c *Terminal) Send(t testing.TB, text string) {
	t.Helper()
	if _, err := c.pty.WriteString(text); err != nil {
		t.Fatalf("type %q for %q: %v\n%s", text, c.words, err, c.Transcript())
	}
}

// Answer waits for a question and answers it; the return key need not be given.
func (c *Terminal) Answer(t testing.TB, question, answer string) (before string) {
	t.Helper()
	before = c.Expect(t, question)
	c.Send(t, answer+"\n")
	return before
}

// Interrupt presses Ctrl-C.
func (c *Terminal) Interrupt(t testing.TB) {
	t.Helper()
	c.Send(t, "\x03")
}

// Wait waits for the program's end and returns its exit code; -1 if a signal has
// ended it.
func (c *Terminal) Wait(t testing.TB) int {
	t.Helper()
	select {
	case <-c.ended:
	case <-time.After(patience):
		t.Fatalf("%q does not end:\n%s", c.words, c.Transcript())
	}
	return c.code
}

// MustEnd waits for the program's end and fails the test unless that is a good one.
func (c *Terminal) MustEnd(t testing.TB) {
	t.Helper()
	if code := c.Wait(t); code != 0 {
		t.Fatalf("%q has ended with code %d:\n%s", c.words, code, c.Transcript())
	}
}

// Transcript is all that was on the terminal so far: what the program has said and
// what was typed.
func (c *Terminal) Transcript() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.seen.String()
}
