//go:build vm

package vm

import (
	"regexp"
	"strings"
)

// verdict is what "go test -v" has said about one test.
type verdict struct {
	name   string // with those of the tests around it: TestReach/vxlan
	result string // PASS, FAIL or SKIP
	took   string
	log    []string
}

// transcript takes the output of "go test -v" apart, line by line. The verdicts
// of a test and of those inside it come in one group when the outermost has ended.
type transcript struct {
	// ended gets each group, the outermost test first.
	ended func([]verdict)

	current string              // the test whose lines come now
	logs    map[string][]string // what tests have logged so far
	group   []verdict
	running map[string]bool // outermost tests without a verdict
}

func newTranscript(ended func([]verdict)) *transcript {
	return &transcript{ended: ended, logs: map[string][]string{}, running: map[string]bool{}}
}

func startLine() *regexp.Regexp {
	return regexp.MustCompile(`^=== (RUN|CONT|NAME|PAUSE) +(\S+)`)
}

func verdictLine() *regexp.Regexp {
	return regexp.MustCompile(`^( *)--- (PASS|FAIL|SKIP): (\S+) \((\S+)\)`)
}

// line takes one line.
func (s *transcript) line(text string) {
	if found := verdictLine().FindStringSubmatch(text); found != nil {
		if found[1] == "" {
			s.flush()
			delete(s.running, found[3])
		}
		s.group = append(s.group, verdict{name: found[3], result: found[2], took: found[4], log: s.logs[found[3]]})
		delete(s.logs, found[3])
		return
	}
	s.flush()
	if found := startLine().FindStringSubmatch(text); found != nil {
		s.current = found[2]
		if !strings.Contains(s.current, "/") {
			s.running[s.current] = true
		}
		return
	}
	s.logs[s.current] = append(s.logs[s.current], text)
}

// flush ends a group.
func (s *transcript) flush() {
	if len(s.group) > 0 {
		s.ended(s.group)
	}
	s.group = nil
}

// unfinished returns the outermost tests that have begun and not ended, and what
// was said last: it is why, if the program has panicked.
func (s *transcript) unfinished() (tests, last []string) {
	s.flush()
	for name := range s.running {
		tests = append(tests, name)
	}
	return tests, s.logs[s.current]
}
