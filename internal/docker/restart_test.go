package docker

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// What a terminal sends to our group on Ctrl-C does not get to a program that restarts
// Docker.
func TestRunInGroupOfItsOwn(t *testing.T) {
	path := filepath.Join(t.TempDir(), "stat")
	if err := run([]string{"cp", "/proc/self/stat", path}); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	// PID, name, state, parent, group: proc(5).
	fields := strings.Fields(string(text))
	if len(fields) < 5 || fields[4] != fields[0] {
		t.Errorf("the program's group is not its own: %s", text)
	}
}

func TestRunSaysWhatWasSaid(t *testing.T) {
	path := filepath.Join(t.TempDir(), "nothing")
	if err := run([]string{"cat", path}); err == nil || !strings.Contains(err.Error(), path) {
		t.Errorf("cat of a file that is not there: %v", err)
	}
}
