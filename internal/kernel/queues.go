package kernel

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// ReceiveQueues returns how many receive queues a card has, and whether the kernel
// spreads what comes by one of them over several processors (RPS; networking/scaling.rst in
// the kernel's documentation). It is 0 and false if the device is no card, or if that can't
// be known here: /sys may be of another network namespace.
func ReceiveQueues(l Link) (n int, spread bool) { return receiveQueues("/sys/class/net", l) }

func receiveQueues(devices string, l Link) (n int, spread bool) {
	dir := filepath.Join(devices, l.Name)
	if _, err := os.Stat(filepath.Join(dir, "device")); err != nil {
		return 0, false
	}
	if index, err := os.ReadFile(filepath.Join(dir, "ifindex")); err != nil || strings.TrimSpace(string(index)) != strconv.Itoa(l.Index) {
		return 0, false
	}
	queues, err := filepath.Glob(filepath.Join(dir, "queues", "rx-*"))
	if err != nil {
		return 0, false // the pattern is wrong: no device has such a name
	}
	for _, queue := range queues {
		// A mask of processors in hexadecimal digits and commas.
		mask, err := os.ReadFile(filepath.Join(queue, "rps_cpus"))
		if err == nil && strings.Trim(string(mask), "0,\n") != "" {
			spread = true
		}
	}
	return len(queues), spread
}
