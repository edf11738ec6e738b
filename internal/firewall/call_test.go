package firewall

import (
	"strings"
	"testing"
)

// A terminal sends Ctrl-C to the whole group of processes: what we call has one of its
// own, and so is not ended half way.
func TestCallOutOfCtrlC(t *testing.T) {
	stat, err := call("", "cat", "/proc/self/stat") // PID (NAME) STATE PARENT GROUP
	if words := strings.Fields(stat); err != nil || len(words) < 5 || words[4] != words[0] {
		t.Errorf("the process is in a group of others: %q (%v)", stat, err)
	}
}
