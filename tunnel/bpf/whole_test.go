package bpf_test

import (
	"net/netip"
	"slices"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/fanctl/fanctl/fan"
	"github.com/fanctl/fanctl/tunnel/bpf"
)

// A packet that the ipip device has made whole surfaces on the fan tunnel as one that
// was whole all the time, whatever it is shown with: with its own header first, or, as
// before Linux 5.14, with those before it. Its own may be longer than 20 bytes.
func TestWholePacketSurfaces(t *testing.T) {
	f := testFan(t, "10.0.200.200", fan.IPIP)
	peer, mac := netip.MustParseAddr("10.0.9.9"), f.TunnelMAC()
	source, target := netip.MustParseAddr("250.9.9.2"), netip.MustParseAddr("250.200.200.2")
	plain := ipv4(source, target, 17, 0, []byte("what is in it"))
	withOption := slices.Concat([]byte{0x46}, plain[1:20], []byte{1, 1, 1, 0}, plain[20:])
	outer := func(header int, packet []byte) []byte {
		return slices.Concat(make([]byte, header), ipv4(peer, f.Host, 4, 0, packet))
	}
	longer := slices.Concat(outer(14, nil), []byte{1, 1, 1, 0}, plain) // the outer header
	for name, test := range map[string]struct {
		d       bpf.Devices
		frame   []byte
		network int
		inner   []byte // nil: dropped
	}{
		"inner first":              {bpf.Devices{LinkHeader: 14}, plain, 0, plain},
		"inner first, no Ethernet": {bpf.Devices{}, plain, 0, plain},
		"outer first":              {bpf.Devices{LinkHeader: 14, OuterFirst: true}, outer(14, plain), 34, plain},
		"outer first, no Ethernet": {bpf.Devices{OuterFirst: true}, outer(0, plain), 20, plain},
		"outer first, an option":   {bpf.Devices{LinkHeader: 14, OuterFirst: true}, outer(14, withOption), 34, withOption},
		"outer gone, for all that": {bpf.Devices{LinkHeader: 14, OuterFirst: true}, plain, 0, plain},
		"by another way":           {bpf.Devices{LinkHeader: 14, OuterFirst: true}, outer(0, plain), 20, nil},
		"an outer option":          {bpf.Devices{LinkHeader: 14, OuterFirst: true}, longer, 38, nil},
	} {
		test.d.Tunnel, test.d.TunnelMAC, test.d.Catches = 12, mac, true
		for _, p := range pairs(t) {
			for _, spec := range p.both {
				if spec.Programs[bpf.IPIPWhole] == nil {
					continue
				}
				s := newStage(spec, bpf.IPIPWhole)
				s.begin(constants(t, spec, bpf.NewConfig(f, test.d)))
				h := &host{scene: scene{frame: slices.Clone(test.frame), link: test.network, network: test.network, linear: len(test.frame), protocol: unix.ETH_P_IP,
					key: &tunnelKey{remote: number(peer)}}}
				h.show(s.processor)
				s.call = h.call
				verdict, err := s.run()
				if err != nil {
					t.Fatal(err)
				}
				want := slices.Concat(mac[:], mac[:], []byte{8, 0}, test.inner)
				if (verdict == redirect) != (test.inner != nil) || verdict == redirect && !slices.Equal(h.frame, want) {
					t.Errorf("%s, %v: verdict %d with %x, want %x", name, spec.ByteOrder, int32(verdict), h.frame, want)
				}
			}
		}
	}
}
