package kernel

import (
	"os"
	"path/filepath"
	"strings"
)

// ReceiveQueues returns how many receive queues a device has, and whether the kernel
// spreads what comes by one of them over several processors (RPS; networking/scaling.rst in
// the kernel's documentation). It is 0 and false if that can't be known here.
func ReceiveQueues(device string) (n int, spread bool) { return receiveQueues("/sys/class/net", device) }

func receiveQueues(devices, device string) (n int, spread bool) {
	queues, err := filepath.Glob(filepath.Join(devices, device, "queues", "rx-*"))
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
