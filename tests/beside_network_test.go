package tests

import (
	"fmt"
	"strings"
	"testing"

	"github.com/fanctl/fanctl/tests/bed"
)

// neighbour is another network of the same two hosts.
type neighbour struct {
	name   string
	needs  string // a kind of device, or ""
	put    func(b *bed.Bed, t testing.TB) [2]bed.End
	device string
	port   int // its UDP port, or 0 for ipip
}

func neighbours() []neighbour {
	return []neighbour{
		{"flannel", "", (*bed.Bed).Flannel, "flannel.1", 8472},
		{"Cilium", "", (*bed.Bed).Cilium, "cilium_vxlan", 8472},
		{"Swarm", "", (*bed.Bed).Swarm, "socket", 4789}, // the device is in another namespace
		{"tunl0", ipipDevice, (*bed.Bed).Tunl0, "tunl0", 0},
		{"ipip between hosts", ipipDevice, (*bed.Bed).IPIPBetween, "site0", 0},
		{"ipip with metadata", ipipDevice, (*bed.Bed).IPIPExternal, "theirs", 0},
	}
}

// refused is the "fanctl up" that would get in the way of the neighbour, with the words
// of the answer; "" if none of the path's would.
func (n neighbour) refused(p path) mistake {
	switch {
	case p.kind == "vxlan" && n.port != 0:
		return mistake{fmt.Sprintf("%s--port %d", upVXLAN, n.port), fmt.Sprintf("%d %s --port", n.port, n.device)}
	case p.datapath == "device" && p.kind == "ipip" && n.port == 0:
		return mistake{upIPIP + "--datapath device", "device " + n.device + " --datapath ebpf"}
	}
	return mistake{}
}

// beside returns the path on which a fan gets on with the neighbour.
func (n neighbour) beside(p path) path {
	switch {
	case p.kind == "vxlan" && n.port == 8472:
		p.args = append(p.args[:len(p.args):len(p.args)], "--port", "8473")
	case p.datapath == "device" && p.kind == "ipip" && n.port == 0:
		return path{"ipip, by whatever there is", "ipip", "ebpf", nil, 20}
	}
	return p
}

// A fan and another network of the same hosts both work. Where they would take each
// other's packets the fan is refused, in one line that says how it can be had. Of the
// other network nothing is changed.
func TestReachBesideNetworks(t *testing.T) {
	for _, n := range neighbours() {
		if n.needs != "" && !hasDevice(t, n.needs) {
			continue
		}
		t.Run(n.name, func(t *testing.T) {
			eachPath(t, func(t *testing.T, p path) {
				b := bed.New(t, bed.Options{NoIPv6: true})
				ends, h := n.put(b, t), b.Hosts[0]
				works := func(when string) {
					t.Helper()
					reaches(t, ends[0].NS, ends[1].Addr, n.name+" "+when)
					reaches(t, ends[1].NS, ends[0].Addr, n.name+" "+when)
				}
				works("alone")
				if m := n.refused(p); m.line != "" {
					refuses(t, h, usage, asRoot(h), m)
				}
				before := h.Settled(t)
				fans := upAll(t, b, n.beside(p), overlay)
				if got := h.ShowOf(t, fans[0].net.Bridge).Datapath; got != fans[0].path.datapath {
					t.Errorf("the datapath is %s, want %s", got, fans[0].path.datapath)
				}
				l := newLane(t, fans, bed.ContainerOptions{})
				works("beside the fan")
				transfer(t, l.from, l.to, 1<<20)
				transfer(t, l.to, l.from, 1<<20)
				if err := bed.Transfer(ends[0].NS, ends[1].NS, ends[1].Addr, 1<<20); err != nil {
					t.Errorf("%s beside the fan: %v", n.name, err)
				}
				l.from.Remove(t)
				fans[0].down(t)
				works("after the fan")
				if difference := h.Becomes(t, before); difference != "" {
					t.Errorf("after down: %s", difference)
				}
			})
		})
	}
}

// Somebody comes to use tunl0 when a fan is up by the ipip device: "up" says so, and
// what to do, and when that is done both work.
func TestReachBesideLaterTunl0(t *testing.T) {
	if !hasIPIP(t) {
		return // TestMain says that this is left out
	}
	b := bed.New(t, bed.Options{NoIPv6: true})
	auto := path{"ipip, by whatever there is", "ipip", "device", nil, 20}
	fans := upAll(t, b, auto, overlay)
	ends := b.Tunl0(t)
	for _, f := range fans {
		if got := f.host.ShowOf(t, f.net.Bridge).Datapath; got != "device" {
			t.Errorf("the datapath is %s, want device", got)
		}
		r := f.host.Fanctl(append([]string{"up"}, f.args...)...)
		if r.Code != 0 || !strings.Contains(r.Stderr, "tunl0") || !strings.Contains(r.Stderr, f.net.Bridge) {
			t.Errorf("up beside tunl0: %s", r)
		}
		f.down(t)
		f.up(t)
		if got := f.host.ShowOf(t, f.net.Bridge).Datapath; got != "ebpf" {
			t.Errorf("the datapath is %s, want ebpf", got)
		}
	}
	tryPair(t, fans[0], fans[1])
	reaches(t, ends[0].NS, ends[1].Addr, "by tunl0")
	reaches(t, ends[1].NS, ends[0].Addr, "by tunl0")
}
