package kernel

import (
	"os"
	"path/filepath"
	"strconv"
	"testing"
)

func TestReceiveQueues(t *testing.T) {
	for name, c := range map[string]struct {
		masks  []string
		queues int
		spread bool
	}{
		"one":           {[]string{"0\n"}, 1, false},
		"none":          {nil, 0, false},
		"off":           {[]string{"00000000,00000000\n", "00000000,00000000\n"}, 2, false},
		"one is spread": {[]string{"0\n", "f\n"}, 2, true},
	} {
		t.Run(name, func(t *testing.T) {
			devices := t.TempDir()
			dir := filepath.Join(devices, "eth0")
			if err := os.MkdirAll(filepath.Join(dir, "device"), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(dir, "ifindex"), []byte("7\n"), 0o644); err != nil {
				t.Fatal(err)
			}
			for i, mask := range c.masks {
				queue := filepath.Join(dir, "queues", "rx-"+strconv.Itoa(i))
				if err := os.MkdirAll(queue, 0o755); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(filepath.Join(queue, "rps_cpus"), []byte(mask), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			if queues, spread := receiveQueues(devices, Link{Name: "eth0", Index: 7}); queues != c.queues || spread != c.spread {
				t.Errorf("%d queues, spread: %t; want %d, %t", queues, spread, c.queues, c.spread)
			}
			for _, other := range []Link{{Name: "eth1", Index: 7}, {Name: "eth0", Index: 8}} {
				if queues, _ := receiveQueues(devices, other); queues != 0 {
					t.Errorf("%s with number %d, which is not there, has %d queues", other.Name, other.Index, queues)
				}
			}
		})
	}
}
