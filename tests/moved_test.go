package tests

import (
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fanctl/fanctl/tests/bed"
)

// A host gets another address, as by a renewal of its lease, while its containers
// talk to another host's: up of a hook, or up -e of a timer, moves the fan with its
// rules, addresses and tunnel, and leaves containers attached. Those that get an
// address of the new slice go on.
func TestDHCPMovesUnderLoad(t *testing.T) {
	eachPath(t, func(t *testing.T, p path) {
		for _, command := range []string{"up -e", "up"} {
			t.Run(command, func(t *testing.T) { movedUnderLoad(t, p, command) })
		}
	})
}

func movedUnderLoad(t *testing.T, p path, command string) {
	b := bed.New(t, bed.Options{NoIPv6: true})
	h, first, other := b.Hosts[0], b.Hosts[0].Addr, netip.MustParseAddr("10.0.7.99")
	before := h.Settled(t)
	d := dhcpOn(t, b, h, p)
	far := upOn(t, b, b.Hosts[1], p, overlay).container(t, bed.ContainerOptions{})
	web := d.guest(t, b, "web")
	was := web.ask(t)
	up := h.Settled(t)

	load := startLoad(t, web.NS, far)
	wait, _ := web.StartPing(t, far.Addr, 200, "-i", "0.01")
	h.Renumber(t, "eth0", other)
	words := strings.Fields(command)
	if command == "up" {
		words = slices.Concat(words, d.args)
	}
	said := h.FanctlEnv(d.env, words...)
	if said.Code != 0 {
		t.Fatal(said)
	}
	for _, word := range []string{first.String(), other.String(), d.net.Slice.String(), "250.7.99.0/24"} {
		if !strings.Contains(said.Stdout, word) {
			t.Errorf("%s does not say %s: %s", command, word, said)
		}
	}
	if ports := h.Must(t, "ip", "-br", "link", "show", "master", "fan-250"); !strings.Contains(ports, "web@") {
		t.Errorf("the container is not attached any more: %s", ports)
	}
	d.net.Slice = netip.MustParsePrefix("250.7.99.0/24")
	web.IP(t, fmt.Sprintf("addr del %s/%d dev eth0", was.addr, was.bits))
	now := web.ask(t)
	if !d.net.Slice.Contains(now.addr) || now.router != d.net.Gateway() {
		t.Errorf("DHCP gives %+v, which is not of %s", now, d.net.Slice)
	}
	reaches(t, web.NS, far.Addr, "with an address of the new slice")
	reaches(t, far.NS, now.addr, "with an address of the new slice, from the other host")
	server := b.World.Serve(t, b.WorldAddr)
	if seen, err := web.SeenBy("tcp4", server); err != nil || seen != other {
		t.Errorf("the world sees %s, %v; want %s", seen, err, other)
	}
	sent, answered := wait()
	t.Logf("%s: %d of %d pings lost, 10 ms apart; iperf3: %s", command, sent-answered, sent, load())
	nothingToMend(t, h, d.env...)
	for _, what := range []string{first.String() + "/", first.String() + " ", "250.0.11."} {
		for line := range strings.Lines(h.Snapshot(t)) {
			if strings.Contains(line, what) {
				t.Errorf("of the old address there is left: %s", line)
			}
		}
	}

	h.Renumber(t, "eth0", first)
	mend(t, h, d.env...)
	nothingToMend(t, h, d.env...)
	if difference := h.Becomes(t, up); difference != "" {
		t.Errorf("with the first address again: %s", difference)
	}
	web.IP(t, fmt.Sprintf("addr del %s/%d dev eth0", now.addr, now.bits))
	if again := web.ask(t); again != was {
		t.Errorf("with the first address again the container has %+v, want %+v", again, was)
	}
	reaches(t, web.NS, far.Addr, "with the first address again")
	h.MustFanctl(t, "down", "-e", "--force")
	h.IP(t, "link del web")
	if difference := h.Becomes(t, before); difference != "" {
		t.Errorf("after down: %s", difference)
	}
}

// startLoad runs iperf3 between two containers; the function that it returns waits for
// its end and says what came of it. That it breaks with its addresses is no failure.
func startLoad(t *testing.T, from *bed.NS, to *bed.Container) (result func() string) {
	t.Helper()
	to.Start(t, "iperf3", "-s", "-1", "-B", to.Addr.String())
	if !eventually(func() bool { return strings.Contains(to.Must(t, "cat", "/proc/net/tcp"), ":1451 ") }) {
		t.Fatal("the iperf3 server does not start")
	}
	// A client that has lost its address may go on for good, unless it is killed.
	ctx, cancel := context.WithTimeout(context.Background(), 4*time.Second)
	t.Cleanup(cancel)
	done := make(chan string, 1)
	go func() {
		out, _ := from.Command(ctx, "iperf3", "-J", "-c", to.Addr.String(), "-t", "2").Output()
		done <- string(out)
	}()
	return func() string {
		var report struct {
			Error string `json:"error"`
			End   struct {
				Sum struct {
					Bytes       float64 `json:"bytes"`
					Retransmits int     `json:"retransmits"`
				} `json:"sum_sent"`
			} `json:"end"`
		}
		text := <-done
		if err := json.Unmarshal([]byte(text), &report); err != nil {
			return "cut off with its address"
		}
		return fmt.Sprintf("%.0f MB, %d retransmits %s", report.End.Sum.Bytes/1e6, report.End.Sum.Retransmits, report.Error)
	}
}
