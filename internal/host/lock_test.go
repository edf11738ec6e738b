package host

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestLock(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	first, err := lock(path, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := lock(path, time.Millisecond); err == nil || !strings.Contains(err.Error(), "another fanctl") {
		t.Errorf("the lock of another: %v", err)
	}
	time.AfterFunc(10*time.Millisecond, func() { first.Close() })
	second, err := lock(path, patience)
	if err != nil {
		t.Fatalf("the lock of another who ended: %v", err)
	}
	second.Close()
}
