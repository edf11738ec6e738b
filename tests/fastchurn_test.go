package tests

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/vishvananda/netlink"

	"github.com/fanctl/fanctl/tests/bed"
	"github.com/fanctl/fanctl/tests/bed/wire"
)

// Containers come and go by the hundred, under load and with a watcher: nothing of them
// stays, and the others do not notice.
func TestFastChurn(t *testing.T) {
	count := 200
	if testing.Short() {
		count = 40
	}
	eachPath(t, func(t *testing.T, p path) {
		fans, one, two := fastPair(t, p)
		f, h := fans[0], fans[0].host
		f.becomesFast(t, 1, "with a watcher")
		before, objects := h.Settled(t), bed.EBPFNames(t)
		load := newLoad(t, one, two)
		r := rand.New(rand.NewPCG(seed(t), 2))
		churn(t, r, f, count)
		load.goesOn(t, "after all have gone")
		load.end(t, 0)
		f.becomesFast(t, 1, "after all have gone")
		if difference := h.Becomes(t, before); difference != "" {
			t.Errorf("after %d containers: %s", count, difference)
		}
		// Others on this machine may load programs meanwhile, but what every container
		// leaves adds up. The kernel frees late.
		var more map[string]int
		if !eventually(func() bool {
			more = bed.GrownNames(objects, bed.EBPFNames(t), count/2)
			return len(more) == 0
		}) {
			t.Errorf("%d containers leave %v", count, more)
		}
	})
}

// churn makes containers and removes them in any order, never more than a dozen at once:
// some with their port, some with their own end.
func churn(t *testing.T, r *rand.Rand, f fan, count int) {
	t.Helper()
	var live []*bed.Container
	for made := 0; made < count || len(live) > 0; {
		if made < count && (len(live) == 0 || len(live) < 12 && r.IntN(2) == 0) {
			live = append(live, f.containerOf(t))
			made++
			continue
		}
		i := r.IntN(len(live))
		if r.IntN(2) == 0 {
			live[i].Remove(t)
		} else {
			live[i].IP(t, "link del eth0")
		}
		live = append(live[:i], live[i+1:]...)
	}
}

// A new port gets its program soon; how soon is told.
func TestFastNewPorts(t *testing.T) {
	const count = 9
	eachPath(t, func(t *testing.T, p path) {
		fans, one, _ := fastPair(t, p)
		f := fans[0]
		var took []time.Duration
		for i := range count {
			port := fmt.Sprintf("new%d", i)
			f.host.IP(t, fmt.Sprintf("link add %s type veth peer name far%d netns %s", port, i, one.Name), "link set "+port+" up")
			one.IP(t, fmt.Sprintf("link set far%d up", i))
			began := time.Now()
			f.host.IP(t, fmt.Sprintf("link set %s master %s", port, f.net.Bridge))
			for !hasProgram(t, f.host, port) {
				if time.Since(began) > bed.Patience() {
					t.Fatalf("port %d gets no program", i)
				}
				time.Sleep(time.Millisecond)
			}
			took = append(took, time.Since(began))
		}
		slices.Sort(took)
		t.Logf("of %d new ports the median has its program after %v, the last after %v", count, took[count/2], took[count-1])
		f.becomesFast(t, 1+count, "with new ports")
	})
}

// hasProgram says whether a device has a program at its way in.
func hasProgram(t *testing.T, h *bed.Host, device string) bool {
	t.Helper()
	all, err := h.TCX()
	if err != nil {
		t.Fatal(err)
	}
	if slices.ContainsFunc(all, func(a bed.Attached) bool { return a.Device == device }) {
		return true
	}
	var filters []netlink.Filter
	err = h.Do(func() error {
		l, err := netlink.LinkByName(device)
		if err != nil {
			return err
		}
		// Fails where there is no place for filters.
		filters, _ = netlink.FilterList(l, netlink.HANDLE_MIN_INGRESS)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return len(filters) > 0
}

// A real host of the fan sends TCP and UDP whose inner source is a container of another
// host to a fast one: none arrives, each is counted.
func TestFastForgedSource(t *testing.T) {
	eachPath(t, func(t *testing.T, p path) {
		b := bed.New(t, bed.Options{Hosts: []string{"10.0.0.11", "10.0.3.4", "10.0.9.9"}, NoIPv6: true})
		s := trespass{fans: upAll(t, b, p, overlay, "--fast"), attacker: b.Hosts[2]}
		s.friend, s.victim = s.fans[0].containerOf(t), s.fans[1].containerOf(t)
		for _, f := range s.fans[:2] {
			f.up(t)
			f.becomesFast(t, 1, "with one container")
		}
		s.came, s.send, s.inMAC = s.victim.Capture(t, "eth0"), s.attacker.IPSender(t, b.Hosts[1].Addr), s.victim.MAC(t, "eth0")
		reaches(t, s.friend.NS, s.victim.Addr, "friend to victim")
		if server := s.victim.Serve(t, s.victim.Addr); !goes(t, s.fans[1], s.friend, server, "friend to victim") {
			t.Error("no packet of a friend went fast")
		}
		own := s.fans[2].net.Gateway()
		victimHost := s.fans[1].host
		before := s.fans[1].fast(t).Counters
		for _, inner := range [][]byte{marked(s.friend.Addr, s.victim.Addr), firstSegment(s.friend, s.victim)} {
			s.many(t, 500, s.outer(s.attacker.Addr, victimHost.Addr, overlayVNI, inner))
		}
		if got := s.arrived(t) + s.segments(t); got != 0 {
			t.Errorf("%d of 1000 forged packets have arrived", got)
		}
		if got := s.fans[1].countsTo(t, "spoofed", before["spoofed"]+1000); got != before["spoofed"]+1000 {
			t.Errorf("counter spoofed went from %d to %d, want 1000 more", before["spoofed"], got)
		}
		s.many(t, 1, s.outer(s.attacker.Addr, victimHost.Addr, overlayVNI, marked(own, s.victim.Addr)))
		if got := s.arrived(t); got != 1 {
			t.Errorf("%d packets with an honest source have arrived, want 1", got)
		}
	})
}

// firstSegment begins a connection, which a fast fan would take at once.
func firstSegment(from, to *bed.Container) []byte {
	d := &draft{mark: 1, src: from.Addr, dst: to.Addr, ttl: 64, df: true}
	d.tcp(1, markPort, 1<<16, 0, flagSYN, nil, nil)
	return d.packet()
}

// segments counts those that have reached the victim.
func (s trespass) segments(t *testing.T) int {
	t.Helper()
	return len(s.came.Frames(func(f bed.Frame) bool {
		return !f.Outgoing && f.IP != nil && f.IP.Proto == wire.ProtoTCP && len(f.Payload) >= 4 && binary.BigEndian.Uint16(f.Payload[2:]) == markPort
	}))
}
