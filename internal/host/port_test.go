package host

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/fanctl/fanctl/internal/kernel"
)

// udpTable is /proc/net/udp of a host with a resolver on port 53 of 127.0.0.53
// and something on port 8472 of all addresses.
const udpTable = `   sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops
 1170: 3500007F:0035 00000000:0000 07 00000000:00000000 00:00000000 00000000   101        0 15563 2 0000000000000000 0
 9589: 00000000:2118 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 42042 2 0000000000000000 0
 9590: 0100007F:1F90 0A000001:0050 07 00000000:00000000 00:00000000 00000000 0 0
 9591: 0100007F:1F91 00000000:0000 07 00000000:00000000 00:00000000 00000000 0 0 99
`

func TestSocketOn(t *testing.T) {
	file := filepath.Join(t.TempDir(), "udp")
	if err := os.WriteFile(file, []byte(udpTable), 0o600); err != nil {
		t.Fatal(err)
	}
	for port, want := range map[uint16]string{53: "15563", 8472: "42042", 8080: "" /* cut off */, 8081: "99", 80: "" /* the other end's */, 5353: ""} {
		if inode, found := socketOn(file, port); inode != want || found != (want != "") {
			t.Errorf("port %d has socket %q, %t; want %q", port, inode, found, want)
		}
	}
	if _, found := socketOn(filepath.Join(t.TempDir(), "none"), 53); found {
		t.Error("a socket was found in no file")
	}
}

// openPort returns a UDP port that this process has open.
func openPort(t *testing.T) uint16 {
	t.Helper()
	c, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return uint16(c.LocalAddr().(*net.UDPAddr).Port)
}

func TestUDPUserIsNamed(t *testing.T) {
	who, taken := udpUser(openPort(t))
	if want := fmt.Sprintf("process %d (", os.Getpid()); !taken || !strings.HasPrefix(who, want) {
		t.Errorf("the port is taken by %q, %t; want %s", who, taken, want)
	}
	if who := processWith("0"); strings.Contains(who, "process ") && !strings.Contains(who, "kernel") {
		t.Errorf("a socket that nobody has is %q's", who)
	}
}

// Sockets are looked for where the caller is, wherever the process's first thread is:
// the runtime never ends that one, so it stays in a namespace in which something was
// tried (features.HasIPIP).
func TestUDPUserIsOfTheCaller(t *testing.T) {
	port := openPort(t)
	if os.Geteuid() != 0 { // and so can bring no thread into another namespace
		if who, taken := udpUser(port); !taken {
			t.Errorf("port %d is open, and taken by %q", port, who)
		}
		return
	}
	whileFirstThreadIsAway(t, func() {
		if process, own := linkOf(t, "/proc/self/ns/net"), linkOf(t, namespace); process == own {
			t.Fatalf("the first thread is in %s, as this one is", own)
		}
		if who, taken := udpUser(port); !taken {
			t.Errorf("port %d is open, and taken by %q", port, who)
		}
	})
}

func linkOf(t *testing.T, path string) string {
	t.Helper()
	name, err := os.Readlink(path)
	if err != nil {
		t.Fatal(err)
	}
	return name
}

// whileFirstThreadIsAway runs do while the process's first thread is in a network
// namespace of its own. Goroutines take a thread each until one gets that one; if none
// does, it is away for good already.
func whileFirstThreadIsAway(t *testing.T, do func()) {
	t.Helper()
	back, err := os.Open(namespace)
	if err != nil {
		t.Fatal(err)
	}
	defer back.Close()
	const most = 200
	took, stop := make(chan bool), make(chan struct{})
	var all sync.WaitGroup
	defer all.Wait()
	defer close(stop)
	take := func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		first := unix.Gettid() == os.Getpid()
		if first {
			if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
				t.Error(err)
			}
		}
		took <- first
		<-stop
		if !first {
			return
		}
		if err := unix.Setns(int(back.Fd()), unix.CLONE_NEWNET); err != nil {
			t.Error(err)
		}
	}
	for range most {
		all.Go(take)
		if <-took {
			break
		}
		time.Sleep(100 * time.Microsecond) // wakes the thread that waits for the network, should that be it
	}
	do()
}

func TestCheckPort(t *testing.T) {
	port := openPort(t)
	vxlan := func(name string, external bool, port uint16) func(*kernel.State) {
		return func(s *kernel.State) {
			s.Links = append(s.Links, kernel.Link{Name: name, Kind: "vxlan", Index: 60, External: external, Port: port})
		}
	}
	alias := fmt.Sprintf("fan1 underlay=10.0.0.45/16 overlay=250.0.0.0/8 dev=eth0 type=vxlan mtu=1450 port=%d", port)
	otherAlias := strings.NewReplacer("8472", fmt.Sprint(port)).Replace(vxlanAlias)
	for name, test := range map[string]struct {
		alias  string
		change func(*kernel.State)
		words  string
	}{
		"ipip needs none":                {ipipAlias, vxlan("flannel.1", false, 0), ""},
		"a process":                      {alias, nil, fmt.Sprintf("%d process %d --port", port, os.Getpid())},
		"the tunnel itself":              {alias, vxlan("ftun-250", true, port), ""},
		"the tunnel has another":         {alias, vxlan("ftun-250", true, port+1), "process"},
		"another fan":                    {alias, func(s *kernel.State) { *s = withFan(t, *s, "mine", otherAlias) }, ""},
		"somebody's device":              {alias, vxlan("flannel.1", false, port), fmt.Sprintf("%d flannel.1 --port", port)},
		"somebody's external one":        {alias, vxlan("cilium_vxlan", true, port), "cilium_vxlan"},
		"a tunnel of a fan that is gone": {alias, vxlan("ftun-240-9", true, port), "ftun-240-9"},
		"a device on another port":       {alias, vxlan("flannel.1", false, port+1), "process"},
	} {
		s := plain()
		if test.change != nil {
			test.change(&s)
		}
		checkRefused(t, name, checkPort(fanOf(t, "fan-250", test.alias), s), test.words)
	}
}
