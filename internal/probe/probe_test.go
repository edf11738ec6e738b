package probe

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/fanctl/fanctl/internal/namespace"
)

// alone is a path from lo to lo, with an MTU, in a network namespace that nobody else
// is in.
func alone(t *testing.T, mtu int) Path {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root for network namespaces")
	}
	var n *namespace.Namespace
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread goes
		done <- func() (err error) {
			if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
				return err
			}
			lo, err := netlink.LinkByName("lo")
			if err != nil {
				return err
			}
			if err := errors.Join(netlink.LinkSetMTU(lo, mtu), netlink.LinkSetUp(lo)); err != nil {
				return err
			}
			n, err = namespace.Open("/proc/thread-self/ns/net")
			return err
		}()
	}()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	t.Cleanup(n.Close)
	here := netip.MustParseAddr("127.0.0.1")
	return Path{n, here, here}
}

var limits = Limits{Bytes: 8 << 20, Time: time.Second, Stall: 2 * time.Second}

func responder(t *testing.T, p Path) Transfer {
	t.Helper()
	r, err := Respond(context.Background(), p.Namespace, p.To, netip.PrefixFrom(p.From, 32), limits)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Close)
	return Transfer{Path: p, Port: r.Port(), Stall: limits.Stall}
}

func TestPing(t *testing.T) {
	p := alone(t, 1500)
	ctx := context.Background()
	w, err := Watch(ctx, p)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	a, err := Ping{Path: p, Count: 5, Size: 1500, Interval: time.Millisecond, Wait: 2 * time.Second}.Run(ctx)
	if err != nil || a.Sent != 5 || a.Answered != 5 || len(a.Refusals) > 0 {
		t.Errorf("%+v, %v", a, err)
	}
	for end := time.Now().Add(5 * time.Second); w.Seen() < 5 && time.Now().Before(end); {
		time.Sleep(time.Millisecond)
	}
	if w.Seen() != 5 {
		t.Errorf("the watcher has seen %d", w.Seen())
	}
	a, err = Ping{Path: p, Count: 2, Size: 1501, Wait: time.Second}.Run(ctx)
	if err != nil || a.Answered != 0 || len(a.Refusals) != 1 || a.Refusals[0].What != TooBig {
		t.Errorf("longer than the MTU: %+v, %v", a, err)
	}
	nowhere := p
	nowhere.To = netip.MustParseAddr("192.0.2.1")
	a, err = Ping{Path: nowhere, Count: 2, Wait: time.Second}.Run(ctx)
	if err != nil || a.Answered != 0 || len(a.Refusals) == 0 || a.Refusals[0].What != "network unreachable" {
		t.Errorf("no route: %+v, %v", a, err)
	}
	ended, cancel := context.WithCancel(ctx)
	cancel()
	if _, err := (Ping{Path: nowhere, Count: 2, Wait: time.Hour}).Run(ended); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

func TestSize(t *testing.T) {
	for _, mtu := range []int{1500, 1380, 577, 9000, 65535} {
		for _, want := range []int{1500, 1480, mtu} {
			p, err := Size{Path: alone(t, mtu), Want: want, Wait: 200 * time.Millisecond}.Run(context.Background())
			if err != nil || p.Largest != min(want, mtu) {
				t.Errorf("MTU %d, want %d: %+v, %v", mtu, want, p, err)
			}
		}
	}
}

// The sizes part every range so that the search ends with the largest.
func TestBetween(t *testing.T) {
	for high := Smallest + 1; high < 3000; high += 7 {
		for _, truth := range []int{0, Smallest, Smallest + 1, high - 1, (high + Smallest) / 2} {
			truth = min(truth, high-1)
			low, up, rounds := 0, high, 0
			for up-low > 1 && rounds < 10 {
				sizes := between(low, up)
				if len(sizes) == 0 || !slices.IsSorted(sizes) || sizes[0] < Smallest || sizes[len(sizes)-1] >= up {
					t.Fatalf("between %d and %d: %v", low, up, sizes)
				}
				passed := low
				for _, s := range sizes {
					if s <= truth {
						passed = max(passed, s)
					}
				}
				up = slices.Min(append(above(sizes, passed), up))
				if passed == low && up <= max(low, Smallest)+1 {
					break
				}
				low = passed
				rounds++
			}
			if want := truth; low != want && (want >= Smallest || low != 0) {
				t.Errorf("below %d: %d was found, the largest is %d", high, low, want)
			}
		}
	}
}

func TestTransfers(t *testing.T) {
	p := alone(t, 1500)
	ctx, x := context.Background(), responder(t, p)
	for name, try := range map[string]func() error{
		"echo": func() error { return x.Echo(ctx, 64) },
		"send": func() error { return x.Send(ctx, limits.Bytes) },
		"get":  func() error { return x.Fetch(ctx, limits.Bytes) },
		"throughput": func() error {
			r, err := x.Throughput(ctx, 50*time.Millisecond)
			if err == nil && r.Gbit() <= 0 {
				err = fmt.Errorf("rate %+v", r)
			}
			return err
		},
	} {
		if err := try(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	var f *Failure
	if err := x.Send(ctx, limits.Bytes+1); !errors.As(err, &f) || f.Stage != StageData {
		t.Errorf("more than the limit: %v", err)
	}
	x.Port = 1
	if err := x.Echo(ctx, 64); !errors.As(err, &f) || f.Stage != StageConnect || f.Reason != "refused" {
		t.Errorf("nobody there: %v", err)
	}
	ended, cancel := context.WithCancel(ctx)
	cancel()
	if err := x.Echo(ended, 64); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

// A responder has nothing for strangers.
func TestRespondStrangers(t *testing.T) {
	p := alone(t, 1500)
	r, err := Respond(context.Background(), p.Namespace, p.To, netip.MustParsePrefix("127.0.0.2/32"), limits)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	var f *Failure
	if err := (Transfer{Path: p, Port: r.Port(), Stall: time.Second}).Echo(context.Background(), 64); !errors.As(err, &f) {
		t.Errorf("a stranger's echo: %v", err)
	}
	p.From = netip.MustParseAddr("127.0.0.2")
	if err := (Transfer{Path: p, Port: r.Port(), Stall: time.Second}).Echo(context.Background(), 64); err != nil {
		t.Errorf("the peer's echo: %v", err)
	}
}

// What arrives changed, or stops, is a finding.
func TestFindings(t *testing.T) {
	for name, test := range map[string]struct {
		answer string
		stage  string
	}{
		"another checksum": {strings.Repeat("0", 64) + "\n", StageCompare},
		"cut":              {"", StageData},
	} {
		t.Run(name, func(t *testing.T) {
			p := alone(t, 1500)
			l, err := p.Namespace.Listen(context.Background(), netip.AddrPortFrom(p.To, 0))
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			go func() {
				c, err := l.AcceptTCP()
				if err != nil {
					return
				}
				defer c.Close()
				line, _ := firstLine(c)
				_, _ = fmt.Sscanf(line, "fan-probe take %d", new(int))
				buf := make([]byte, 1000)
				for got := 0; got < 1000; {
					n, err := c.Read(buf)
					if err != nil {
						return
					}
					got += n
				}
				_, _ = c.Write([]byte(test.answer))
			}()
			address, ok := l.Addr().(*net.TCPAddr)
			if !ok {
				t.Fatal("no TCP address")
			}
			err = Transfer{Path: p, Port: address.AddrPort().Port(), Stall: 2 * time.Second}.Send(context.Background(), 1000)
			var f *Failure
			if !errors.As(err, &f) || f.Stage != test.stage {
				t.Errorf("finding %v, want %s", err, test.stage)
			}
		})
	}
}

func TestWanted(t *testing.T) {
	for line, ok := range map[string]bool{
		"fan-probe echo 64": true, "fan-probe take 8388608": true, "fan-probe drain 1000": true, "fan-probe pour 1": true,
		"fan-probe take 8388609": false, "fan-probe echo 8388608": false, "fan-probe drain 1001": false, "fan-probe give 0": false,
		"fan-probe give -1": false, "fan-probe give +1": false, "fan-probe run 1": false, "fan-probe give": false, "": false, "give 1": false,
		"fan-probe give 99999999999999999999": false, "fan-probe give 1 2": false,
	} {
		if _, _, err := limits.wanted(line); (err == nil) != ok || err != nil && !errors.Is(err, ErrRefused) {
			t.Errorf("%q: %v", line, err)
		}
	}
}

func FuzzWanted(f *testing.F) {
	for _, s := range []string{"fan-probe echo 64", "fan-probe pour 1000", "fan-probe  1"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, line string) {
		word, n, err := limits.wanted(line)
		if err == nil && (n < 1 || n > limits.Bytes || line != greeting+word+fmt.Sprintf(" %d", n)) {
			t.Errorf("%q was read as %s %d", line, word, n)
		}
	})
}

// Who quotes what, in an ICMP error.
func FuzzAbout(f *testing.F) {
	to := netip.MustParseAddr("250.0.45.2")
	whole := []byte{0x45, 0, 0, 84, 0, 0, 0x40, 0, 64, 1, 0, 0, 250, 0, 8, 2, 250, 0, 45, 2, 8, 0, 0, 0, 0x12, 0x34, 0, 1}
	if !about(whole, to, 0x1234) || about(whole, to, 0x1235) || about(whole, netip.MustParseAddr("250.0.45.3"), 0x1234) || about(whole[:27], to, 0x1234) {
		f.Error("a request of ours is not told from others")
	}
	f.Add(whole)
	f.Add([]byte{0x4f, 0})
	f.Fuzz(func(_ *testing.T, original []byte) { about(original, to, 1) })
}
