package program

import (
	"os"
	"path/filepath"
	"testing"
)

func TestInstalled(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("PATH", dir)
	elsewhere := Installed()
	if err := os.WriteFile(filepath.Join(dir, "dockerd"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if got := Installed(); got != elsewhere {
		t.Errorf("a file that can't be run: %v", got)
	}
	if err := os.Chmod(filepath.Join(dir, "dockerd"), 0o755); err != nil {
		t.Fatal(err)
	}
	if !Installed() {
		t.Error("not found in the search path")
	}
}
