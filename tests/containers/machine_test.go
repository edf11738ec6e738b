//go:build containers

package containers

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fanctl/fanctl/tests/bed"
	"github.com/fanctl/fanctl/tests/bed/engine"
	"github.com/fanctl/fanctl/tests/bed/terminal"
)

// The fan of these tests.
const (
	underlay = "10.0.0.0/16"
	overlay  = "250.0.0.0/8"
	bridge   = "fan-250"
)

// networks are the words that name it.
func networks() []string { return []string{"-u", underlay, "-o", overlay} }

// machine is a host with engines, and what fanatic keeps there.
type machine struct {
	*bed.Host
	docker *engine.Dockerd // or nil
	lxd    *engine.LXD     // or nil
	list   string          // instead of /etc/network/fan
	env    []string
}

func newMachine(t *testing.T, h *bed.Host, d *engine.Dockerd, l *engine.LXD) *machine {
	t.Helper()
	dir := t.TempDir()
	m := &machine{Host: h, docker: d, lxd: l, list: filepath.Join(dir, "fan")}
	// Where there is no daemon, none of the machine's must be found.
	socket, lxdDir, incusDir := filepath.Join(dir, "no-docker"), filepath.Join(dir, "no-lxd"), filepath.Join(dir, "no-incus")
	if d != nil {
		socket = d.Socket
	}
	if l != nil && l.Kind == "Incus" {
		incusDir = l.Dir
	} else if l != nil {
		lxdDir = l.Dir
	}
	state := filepath.Join(dir, "state")
	if err := os.Mkdir(state, 0o755); err != nil {
		t.Fatal(err)
	}
	m.env = []string{"FANCTL_STATE=" + state, "DOCKER_HOST=unix://" + socket, "LXD_DIR=" + lxdDir, "INCUS_DIR=" + incusDir}
	t.Cleanup(func() {
		if r := m.FanctlEnv(m.env, "down", "-e", "--force"); r.Code != 0 {
			t.Errorf("%s: take down its fans: %s", m, r)
		}
	})
	return m
}

// words are a command of fanatic with the options that say where things are.
func (m *machine) words(command string, more ...string) []string {
	var words []string
	if command != "" {
		words = append(words, command)
	}
	words = append(words, "--file", m.list)
	if m.docker != nil && slices.Contains([]string{"", "configure", "deconfigure", "enable-docker", "disable-docker"}, command) {
		words = append(words, "--docker-restart", m.docker.RestartProgram)
	}
	return append(words, more...)
}

func (m *machine) fanatic(t *testing.T, command string, more ...string) string {
	t.Helper()
	return m.MustFanatic(t, m.env, m.words(command, more...)...)
}

// configure sets the fan up with the engines that the machine has.
func (m *machine) configure(t *testing.T, more ...string) {
	t.Helper()
	words := append([]string{"--yes"}, networks()...)
	if m.docker == nil {
		words = append(words, "--no-docker")
	}
	m.fanatic(t, "configure", append(words, more...)...)
}

func (m *machine) deconfigure(t *testing.T) {
	t.Helper()
	m.fanatic(t, "deconfigure", "--yes")
}

// sit runs fanatic on a terminal.
func (m *machine) sit(t *testing.T, command string, more ...string) *terminal.Terminal {
	t.Helper()
	return terminal.Start(t, m.NS, m.env, append([]string{os.Getenv(bed.FanaticVariable)}, m.words(command, more...)...)...)
}

// launch starts a container of LXD or Incus on the fan.
func (m *machine) launch(t *testing.T, name string) *engine.Container {
	t.Helper()
	return m.lxd.Launch(t, name, "--profile", "default", "--profile", bridge)
}

// eth0 is the address of a container that has to be of its machine's slice.
func eth0(t *testing.T, c *engine.Container) netip.Addr {
	t.Helper()
	a := c.Address(t, "eth0").Addr()
	if slice := bed.Slice(netip.MustParsePrefix(underlay), netip.MustParsePrefix(overlay), c.Host.Addr); !slice.Contains(a) {
		t.Fatalf("container %s on %s has %s, which is not in the host's slice %s", c.Name, c.Host, a, slice)
	}
	return a
}

// reach fails the test unless each container gets answers from each other.
func reach(t *testing.T, all ...*engine.Container) {
	t.Helper()
	for _, from := range all {
		for _, to := range all {
			if from == to {
				continue
			}
			if got := from.Ping(eth0(t, to), 2); got != 2 {
				t.Errorf("%d of 2 pings answered from %s on %s to %s on %s", got, from.Name, from.Host, to.Name, to.Host)
			}
		}
	}
}

// throughput runs iperf3 for a second and returns bits per second.
func throughput(t *testing.T, from, to *bed.NS, at netip.Addr) float64 {
	t.Helper()
	defer to.Start(t, "iperf3", "-s", "-1", "-B", at.String())()
	var r bed.Result
	for range 50 { // until the server listens
		r = from.Exec("iperf3", "-J", "-t", "1", "-c", at.String())
		if !strings.Contains(r.Stdout, "Connection refused") {
			break
		}
		time.Sleep(100 * time.Millisecond)
	}
	var report struct {
		Error string
		End   struct {
			Received struct {
				Bytes uint64
				Rate  float64 `json:"bits_per_second"`
			} `json:"sum_received"`
		}
	}
	err := json.Unmarshal([]byte(r.Stdout), &report)
	if err != nil || r.Code != 0 || report.Error != "" || report.End.Received.Bytes == 0 {
		t.Fatalf("iperf3 from %s to %s: %v, %s", from.Name, at, err, r)
	}
	return report.End.Received.Rate
}

// figure prints what two containers get of what their hosts get, which is not judged.
func figure(t *testing.T, from, to *engine.Container) {
	t.Helper()
	between := throughput(t, from.NS, to.NS, eth0(t, to))
	hosts := throughput(t, from.Host.NS, to.Host.NS, to.Host.Addr)
	t.Logf("iperf3 from %s to %s: %.2f Gb/s; from host to host: %.2f Gb/s; %s", from.Name, to.Name, between/1e9, hosts/1e9, fmt.Sprintf("%.0f%%", 100*between/hosts))
}
