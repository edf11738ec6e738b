package bed

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/fanctl/fanctl/tests/bed/wire"
)

// Host is a machine on the underlay. Its device there is eth0.
type Host struct {
	*NS
	// Addr is its underlay address.
	Addr netip.Addr
	// Port is the name of its port of the switch.
	Port string

	name  string
	bed   *Bed
	ports int
}

// String names the host in messages.
func (h *Host) String() string { return h.name }

// The environment variables that hold the paths of the programs under test.
const (
	BinaryVariable  = "FANCTL"
	FanaticVariable = "FANATIC"
)

// Build builds fanctl into a folder.
func Build(dir string) (string, error) { return BuildProgram(dir, "fanctl") }

// BuildProgram builds a program under test into a folder, as it is released:
// static.
func BuildProgram(dir, name string) (string, error) {
	path := filepath.Join(dir, name)
	cmd := exec.Command("go", "build", "-o", path, "github.com/fanctl/fanctl/cmd/"+name)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build %s: %w\n%s", name, err, out)
	}
	return path, nil
}

// Fanatic runs the other program under test on the host, with more environment
// variables, each NAME=value.
func (h *Host) Fanatic(env []string, args ...string) Result {
	return h.exec("", env, append([]string{os.Getenv(FanaticVariable)}, args...)...)
}

// MustFanatic is Fanatic; it fails the test unless the program ends well, and
// returns its standard output.
func (h *Host) MustFanatic(t testing.TB, env []string, args ...string) string {
	t.Helper()
	r := h.Fanatic(env, args...)
	if r.Code != 0 {
		t.Fatalf("%s: fanatic %q: %s", h, args, r)
	}
	return r.Stdout
}

// Fanctl runs the program under test on the host.
func (h *Host) Fanctl(args ...string) Result { return h.FanctlEnv(nil, args...) }

// FanctlEnv is Fanctl with more environment variables, each NAME=value.
func (h *Host) FanctlEnv(env []string, args ...string) Result {
	return h.exec("", env, append([]string{os.Getenv(BinaryVariable)}, args...)...)
}

// StartFanctl starts the program under test on the host. The channel gets its
// result when it has ended.
func (h *Host) StartFanctl(args ...string) <-chan Result {
	done := make(chan Result, 1)
	go func() { done <- h.Fanctl(args...) }()
	return done
}

// MustFanctl runs the program under test on the host, fails the test unless it
// ends well, and returns its standard output.
func (h *Host) MustFanctl(t testing.TB, args ...string) string {
	t.Helper()
	r := h.Fanctl(args...)
	if r.Code != 0 {
		t.Fatalf("%s: fanctl %q: %s", h, args, r)
	}
	return r.Stdout
}

// Shown is one fan of "fanctl show --json".
type Shown struct {
	Bridge   string            `json:"bridge"`
	Underlay string            `json:"underlay"`
	Host     string            `json:"host"`
	Device   string            `json:"device"`
	Overlay  string            `json:"overlay"`
	Slice    string            `json:"slice"`
	Address  string            `json:"address"`
	Type     string            `json:"type"`
	Datapath string            `json:"datapath"`
	Tunnel   string            `json:"tunnel"`
	MTU      int               `json:"mtu"`
	NAT      bool              `json:"nat"`
	Counters map[string]uint64 `json:"counters"`
}

// Show returns the host's fans as the program tells them.
func (h *Host) Show(t testing.TB) []Shown {
	t.Helper()
	out := h.MustFanctl(t, "show", "--json")
	var all struct {
		Fans []Shown `json:"fans"`
	}
	if err := json.Unmarshal([]byte(out), &all); err != nil {
		t.Fatalf("%s: fanctl show --json: %v:\n%s", h, err, out)
	}
	return all.Fans
}

// ShowOf returns the fan with that bridge.
func (h *Host) ShowOf(t testing.TB, bridge string) Shown {
	t.Helper()
	for _, f := range h.Show(t) {
		if f.Bridge == bridge {
			return f
		}
	}
	t.Fatalf("%s: fanctl show --json has no fan %s", h, bridge)
	return Shown{}
}

// Device returns a network device of the namespace.
func (n *NS) Device(t testing.TB, name string) *net.Interface {
	t.Helper()
	var device *net.Interface
	err := n.Do(func() (err error) {
		device, err = net.InterfaceByName(name)
		return err
	})
	if err != nil {
		t.Fatalf("in %s: find device %s: %v", n.Name, name, err)
	}
	return device
}

// MAC returns the Ethernet address of a device of the namespace.
func (n *NS) MAC(t testing.TB, device string) wire.MAC {
	t.Helper()
	return wire.MAC(n.Device(t, device).HardwareAddr)
}

// Ping sends count echo requests, a fifth of a second apart unless args of
// ping(8) say otherwise, and returns how many were answered.
func (n *NS) Ping(dst netip.Addr, count int, args ...string) int {
	words := append([]string{"ping", "-n", "-c", strconv.Itoa(count), "-i", "0.2", "-W", "2"}, args...)
	return Answered(n.Exec(append(words, dst.String())...).Stdout)
}

// StartPing sends count echo requests beside the test and returns once one was
// answered, or all have ended: from then on firewalls know the connection. The
// function that it returns waits for the end and returns how many were sent and
// answered; the channel is closed when that is known.
func (n *NS) StartPing(t testing.TB, dst netip.Addr, count int, args ...string) (wait func() (sent, answered int), ended <-chan struct{}) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), hangs)
	before := n.Counter(t, "Icmp", "InEchoReps")
	words := append([]string{"ping", "-n", "-q", "-c", strconv.Itoa(count), "-W", "5"}, args...)
	cmd := n.Command(ctx, append(words, dst.String())...)
	done := make(chan struct{})
	var r Result
	go func() {
		defer close(done)
		r = run(cmd)
	}()
	t.Cleanup(func() {
		cancel()
		<-done
	})
	n.awaitAnswer(t, before, done)
	return func() (int, int) {
		t.Helper()
		<-done
		if Sent(r.Stdout) < 0 {
			t.Fatalf("ping %s: %s", dst, r)
		}
		return Sent(r.Stdout), Answered(r.Stdout)
	}, done
}

// awaitAnswer returns when the namespace has got more answers to echo requests than
// before, or when the pings have ended.
func (n *NS) awaitAnswer(t testing.TB, before int, ended <-chan struct{}) {
	t.Helper()
	for n.Counter(t, "Icmp", "InEchoReps") == before {
		select {
		case <-ended:
			return
		case <-time.After(time.Millisecond):
		}
	}
}
