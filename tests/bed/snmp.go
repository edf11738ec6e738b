package bed

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// Counter returns one of the namespace's counters of /proc/net/snmp (RFC 2011 and
// 2013), such as "Ip", "FragFails".
func (n *NS) Counter(t testing.TB, protocol, name string) int {
	t.Helper()
	var text []byte
	err := n.Do(func() (err error) {
		text, err = os.ReadFile("/proc/thread-self/net/snmp")
		return err
	})
	if err != nil {
		t.Fatalf("in %s: read counters: %v", n.Name, err)
	}
	count, err := counter(string(text), protocol, name)
	if err != nil {
		t.Fatalf("in %s: counter %s of %s: %v", n.Name, name, protocol, err)
	}
	return count
}

// counter finds a number in text where each protocol has a line of names and then
// one of numbers.
func counter(text, protocol, name string) (int, error) {
	var names []string
	for line := range strings.Lines(text) {
		fields := strings.Fields(line)
		switch i := slices.Index(names, name); {
		case len(fields) == 0 || fields[0] != protocol+":":
		case names == nil:
			names = fields
		case i < 0 || i >= len(fields):
			return 0, fmt.Errorf("not among %v", names)
		default:
			return strconv.Atoi(fields[i])
		}
	}
	return 0, fmt.Errorf("no two lines of %s", protocol)
}
