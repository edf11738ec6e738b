package bpf_test

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"github.com/fanctl/fanctl/fan"
	"github.com/fanctl/fanctl/tunnel/bpf"
)

// stage is a program of one byte order, ready to run stories.
type stage struct {
	*processor
	spec    *ebpf.CollectionSpec
	written map[bpf.Config][]byte // the constants as the program finds them
}

func newStage(spec *ebpf.CollectionSpec, program string) *stage {
	return &stage{newProcessor(spec.Programs[program], spec.Maps), spec, map[bpf.Config][]byte{}}
}

// play runs a story's scenes and returns what the program does in each: its verdict,
// what it asks the kernel for, and the packet; and what is in the maps at the end.
func (s *stage) play(t testing.TB, one story) []string {
	t.Helper()
	if s.written[one.config] == nil {
		s.written[one.config] = constants(t, s.spec, one.config)
	}
	s.begin(s.written[one.config])
	s.learn(t, one.known)
	tell := func(i int, key, value []byte) string { return s.tell(t, i, key, value) }
	var all []string
	for _, scene := range one.scenes {
		h := &host{scene: scene, tell: tell}
		h.frame = slices.Clone(scene.frame)
		h.written[0] = scene.mark
		if scene.untouched {
			h.written[1] = uint32(s.ends(h.frame[h.link:])[0])
		}
		before := h.written[1]
		h.show(s.processor)
		s.call = h.call
		verdict, err := s.run()
		if err != nil {
			h.say("error: %v", err)
		}
		h.readBack(s.processor)
		h.say("mark %d, %s", h.written[0], s.endsMean(h, before))
		h.say("verdict %d, packet of %d bytes %x", int32(verdict), len(h.frame), h.frame)
		all = append(all, h.String())
	}
	return append(all, s.counted(t))
}

// counted says what is in the maps.
func (s *stage) counted(t testing.TB) string {
	t.Helper()
	var said []string
	for i, name := range s.maps {
		if s.tables[i] != nil {
			said = append(said, s.entries(t, i)...)
			continue
		}
		m, all := s.spec.Maps[name], s.values(i)
		for n := range m.MaxEntries {
			if value := all[n*m.ValueSize:][:m.ValueSize]; !slices.Equal(value, make([]byte, len(value))) {
				said = append(said, fmt.Sprintf("%s %d: %v", name, n, read(t, s.spec.ByteOrder, m.Value, value)))
			}
		}
	}
	return strings.Join(said, "\n")
}

// firstDifference says where two programs differ over a story, or nothing.
func firstDifference(one story, a, b []string) string {
	for i := range a {
		if a[i] != b[i] {
			return fmt.Sprintf("scene %d of %+v\nlittle endian:\n%s\nbig endian:\n%s", i, one, a[i], b[i])
		}
	}
	return ""
}

// Both byte orders' programs do the same: on packets of all kinds, good and bad, they
// give the same verdict, ask the kernel for the same in the same order, leave the
// same packet, and count the same. And this would be seen if they did not: whatever
// instruction of one of them is changed, some packet is treated differently.
func TestSameBehaviour(t *testing.T) {
	for _, p := range pairs(t) {
		for _, name := range slices.Sorted(maps.Keys(p.both[0].Programs)) {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				stages := [2]*stage{newStage(p.both[0], name), newStage(p.both[1], name)}
				all := stories(t, name)
				played := make([][]string, len(all))
				for i, one := range all {
					played[i] = stages[0].play(t, one)
					if d := firstDifference(one, played[i], stages[1].play(t, one)); d != "" {
						t.Fatalf("story %d, %s", i, d)
					}
					for _, scene := range played[i] {
						if strings.Contains(scene, "error: ") {
							t.Fatalf("story %d:\n%s", i, scene)
						}
					}
				}
				for _, stage := range stages {
					stage.tellUnused(t)
				}
				if !testing.Short() { // what the test sees does not depend on the processor
					mutate(t, stages[1], all, played)
				}
			})
		}
	}
}

// tellUnused says how much of a program has run.
func (s *stage) tellUnused(t *testing.T) {
	t.Helper()
	var not []string
	for i, ran := range s.ran {
		if !ran {
			not = append(not, fmt.Sprintf("%v", s.program[i]))
		}
	}
	t.Logf("%v: %d of %d instructions ran; not: %q", s.spec.ByteOrder, len(s.ran)-len(not), len(s.ran), not)
}

// Of every host's slice both byte orders' programs know the host, as the Go code does:
// what is sent there goes to it, and what comes from there is taken from it alone.
func TestEveryHostInBothByteOrders(t *testing.T) {
	f := testFan(t, "10.0.200.201", fan.IPIP)
	config := bpf.NewConfig(f, bpf.Devices{Tunnel: 12, Underlay: 13, LinkHeader: 14})
	step := 1
	if testing.Short() {
		step = 61 // under emulation; no multiple of it is one of 256
	}
	for _, p := range pairs(t) {
		for _, spec := range p.both {
			if spec.Programs[bpf.IPIPSend] == nil {
				continue
			}
			send, receive := newStage(spec, bpf.IPIPSend), newStage(spec, bpf.IPIPReceive)
			send.begin(constants(t, spec, config))
			receive.begin(constants(t, spec, config))
			hosts := 0
			for n := 0; n < 1<<16; n += step {
				peer := netip.AddrFrom4([4]byte{10, 0, byte(n >> 8), byte(n)})
				slice, _ := f.Mapping.Slice(peer)
				there, here := slice.Addr().Next().Next(), f.BridgeAddr().Next()
				genuine := f.Mapping.CheckHost(peer) == nil && peer != f.Host
				verdict, out := send.once(t, ipv4(here, there, 17, 0, make([]byte, 30)))
				if (verdict == redirect) != genuine || genuine && netip.AddrFrom4([4]byte(out[30:34])) != peer {
					t.Fatalf("%v: sent from %s to %s: verdict %d, %x", spec.ByteOrder, here, there, int32(verdict), out)
				}
				verdict, _ = receive.once(t, ipv4(peer, f.Host, 4, 0, ipv4(there, here, 17, 0, make([]byte, 30))))
				stranger := netip.AddrFrom4([4]byte{10, 0, byte(n >> 8), byte(n) ^ 4})
				forged, _ := receive.once(t, ipv4(stranger, f.Host, 4, 0, ipv4(there, here, 17, 0, make([]byte, 30))))
				if (verdict == redirect) != genuine || forged == redirect {
					t.Fatalf("%v: from %s by %s: verdict %d, by %s: %d", spec.ByteOrder, there, peer, int32(verdict), stranger, int32(forged))
				}
				hosts++
			}
			t.Logf("%v: %d hosts", spec.ByteOrder, hosts)
		}
	}
}

// once runs the program on a packet for an Ethernet device with a route to anywhere.
func (s *stage) once(t *testing.T, packet []byte) (verdict uint32, out []byte) {
	t.Helper()
	h := &host{scene: scene{frame: append(ethernet(), packet...), link: 14, linear: 14 + len(packet), protocol: unix.ETH_P_IP,
		route: route{device: 13, mtu: 1500}}}
	h.show(s.processor)
	s.call = h.call
	verdict, err := s.run()
	if err != nil {
		t.Fatal(err)
	}
	return verdict, h.frame
}
