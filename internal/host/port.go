package host

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/fanctl/fanctl/fan"
	"github.com/fanctl/fanctl/internal/kernel"
)

// checkPort refuses (fan.ErrUsage) a vxlan port that something else has, and
// says what.
func checkPort(f fan.Fan, s kernel.State) error {
	if f.Type != fan.VXLAN {
		return nil
	}
	ours := map[string]bool{}
	for _, k := range fansOf(s) {
		ours[fan.TunnelName(k.Mapping.Overlay())] = true
	}
	own := fan.TunnelName(f.Mapping.Overlay())
	shared := false
	for _, l := range s.Links {
		switch {
		case l.Kind != "vxlan" || l.Port != f.Port || l.Name == own:
		case ours[l.Name] && l.External:
			shared = true
		default:
			return fan.Usagef("port %d is taken by vxlan device %s; choose another with --port, the same on all hosts", f.Port, l.Name)
		}
	}
	if l, there := s.Link(own); there && l.Port == f.Port || shared {
		return nil
	}
	if who, taken := udpUser(f.Port); taken {
		return fan.Usagef("port %d is taken by %s; choose another with --port, the same on all hosts", f.Port, who)
	}
	return nil
}

// udpUser says who has a UDP port open: the process, where it can be found. The tables
// are those of the calling thread, for the process's first thread stays where something
// was tried on it (features.HasIPIP).
func udpUser(port uint16) (who string, taken bool) {
	for _, file := range []string{"/proc/thread-self/net/udp", "/proc/thread-self/net/udp6"} {
		if inode, ok := socketOn(file, port); ok {
			return processWith(inode), true
		}
	}
	return "", false
}

// socketOn finds the inode of the socket with that local port in a table of
// proc(5).
func socketOn(file string, port uint16) (inode string, found bool) {
	f, err := os.Open(file)
	if err != nil {
		return "", false
	}
	defer f.Close()
	suffix := fmt.Sprintf(":%04X", port)
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		fields := strings.Fields(lines.Text())
		if len(fields) > 9 && strings.HasSuffix(fields[1], suffix) {
			return fields[9], true
		}
	}
	return "", false
}

// processWith names the process that holds a socket.
func processWith(inode string) string {
	links, _ := filepath.Glob("/proc/[0-9]*/fd/*")
	for _, link := range links {
		if target, err := os.Readlink(link); err == nil && target == "socket:["+inode+"]" {
			folder := filepath.Dir(filepath.Dir(link))
			name, _ := os.ReadFile(filepath.Join(folder, "comm"))
			return fmt.Sprintf("process %s (%s)", filepath.Base(folder), strings.TrimSpace(string(name)))
		}
	}
	return "a socket of the kernel or of another namespace's process"
}
