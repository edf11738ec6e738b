package bed

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// Watchers returns the processes in the namespace that follow the ports of fast fans.
func (n *NS) Watchers() []int {
	pids, _ := inhabitants(n.path) // none in a namespace that is gone
	return slices.DeleteFunc(pids, func(pid int) bool {
		text, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "cmdline"))
		words := bytes.Split(text, []byte{0})
		return err != nil || len(words) < 2 || string(words[1]) != "watch"
	})
}

// endWatchers ends them before the namespace goes. They would keep it, and killed they
// leave the files of their locks.
func (n *NS) endWatchers() {
	for end := time.Now().Add(patience); ; time.Sleep(5 * time.Millisecond) {
		pids := n.Watchers()
		if len(pids) == 0 || time.Now().After(end) {
			return
		}
		for _, pid := range pids {
			_ = unix.Kill(pid, unix.SIGTERM) // gone is fine
		}
	}
}
