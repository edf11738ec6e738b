package selftest

import (
	"fmt"
	"io"
)

// Text reports as lines of text, in the original's words.
type Text struct{ Writer io.Writer }

// Start writes "test master: ping test (250.0.8.130) ...".
func (t Text) Start(r Result) { _, _ = fmt.Fprintln(t.Writer, r.begin()) }

// Done writes the same with what has become of it.
func (t Text) Done(r Result) { _, _ = fmt.Fprintln(t.Writer, r) }

// Note writes the line.
func (t Text) Note(line string) { _, _ = fmt.Fprintln(t.Writer, line) }

func (r Result) begin() string {
	way := fmt.Sprintf("%s -> %s", r.From, r.To)
	if r.Test == TestPing {
		way = r.To.String()
	}
	return fmt.Sprintf("test %s: %s test (%s) ...", r.Side, r.Test, way)
}

// String returns the line of a test that is done.
func (r Result) String() string {
	line := r.begin()
	if !r.Pass {
		why := "unknown cause"
		if r.Cause != nil {
			why = r.Cause.Text
		}
		return line + " FAIL: " + why
	}
	line += " PASS"
	switch {
	case r.Test == TestMTU:
		return fmt.Sprintf("%s: %d bytes", line, r.Largest)
	case r.Test == TestThroughput && r.HostGbit > 0:
		return fmt.Sprintf("%s: throughput %s Gb/s, host to host %s Gb/s: the fan carries %.0f %%",
			line, figures(r.Gbit), figures(r.HostGbit), 100*r.Gbit/r.HostGbit)
	case r.Test == TestThroughput:
		return fmt.Sprintf("%s: throughput %s Gb/s", line, figures(r.Gbit))
	}
	return line
}

// figures returns a number with about three figures, and none that mean nothing.
func figures(x float64) string {
	switch {
	case x >= 100:
		return fmt.Sprintf("%.0f", x)
	case x >= 10:
		return fmt.Sprintf("%.1f", x)
	case x >= 0.1:
		return fmt.Sprintf("%.2f", x)
	}
	return fmt.Sprintf("%.2g", x)
}

// Complete returns the last line of a test, such as "local docker test: test
// complete PASS (master=0 slave=0)".
func Complete(name string, s Score) string {
	verdict := "PASS"
	if !s.Pass() {
		verdict = "FAIL"
	}
	return fmt.Sprintf("%s test: test complete %s (master=%d slave=%d)", name, verdict, s.Master, s.Slave)
}
