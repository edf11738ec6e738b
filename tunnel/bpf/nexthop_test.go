package bpf_test

import (
	"bytes"
	"net"
	"net/netip"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/vishvananda/netlink"

	"github.com/fanctl/fanctl/fan"
	"github.com/fanctl/fanctl/tunnel/bpf"
)

// What is known of the way to a host for a moment is of that host and no other's,
// though two have the same slot, and holds for packets that are no longer.
func TestNextHops(t *testing.T) {
	inNewNamespace(t, func() {
		index := underlay(t)
		neighbours := map[netip.Addr]net.HardwareAddr{
			netip.MustParseAddr("10.0.0.1"):  {2, 0, 0, 0, 0, 1},
			netip.MustParseAddr("10.0.0.65"): {2, 0, 0, 0, 0, 65},
			netip.MustParseAddr("10.0.0.2"):  {2, 0, 0, 0, 0, 2},
		}
		for host, mac := range neighbours {
			err := netlink.NeighAdd(&netlink.Neigh{LinkIndex: index, IP: host.AsSlice(), HardwareAddr: mac, State: netlink.NUD_PERMANENT})
			if err != nil {
				t.Error(err)
				return
			}
		}
		f := testFan(t, "10.0.200.200", fan.IPIP)
		devices := bpf.Devices{Tunnel: index, Underlay: index, LinkHeader: 14}
		p, err := bpf.Load(bpf.NewConfig(f, devices), nil, map[string]string{bpf.IPIPSend: "test"})
		if err != nil {
			t.Error(err)
			return
		}
		defer p.Close()
		known := 0
		for range 200 {
			for host, mac := range neighbours {
				for range 3 {
					verdict, target := sendTo(t, p.ByName[bpf.IPIPSend], f, host, 100)
					switch {
					case verdict == redirect && bytes.Equal(target, mac):
						known++
					case verdict != redirect || !bytes.Equal(target, ethernet()[:6]):
						t.Errorf("to %s: verdict %d, sent to card %s", host, verdict, target)
						return
					}
				}
			}
		}
		if known == 0 {
			t.Error("the way is looked up for each packet")
		}

		host := netip.MustParseAddr("10.0.0.2")
		narrow := &netlink.Route{LinkIndex: index, Dst: &net.IPNet{IP: host.AsSlice(), Mask: net.CIDRMask(32, 32)}, MTU: 600, MTULock: true, Scope: netlink.SCOPE_LINK}
		if err := netlink.RouteAdd(narrow); err != nil {
			t.Error(err)
			return
		}
		for range 200 {
			for size, fits := range map[int]bool{100: true, 700: false} {
				if verdict, _ := sendTo(t, p.ByName[bpf.IPIPSend], f, host, size); (verdict == redirect) != fits {
					t.Errorf("%d bytes over a route for 600: verdict %d", size, verdict)
					return
				}
			}
		}
	})
}

// sendTo sends a packet of that length into a host's slice, and returns the
// program's verdict and the hardware address that the frame has then.
func sendTo(t *testing.T, program *ebpf.Program, f fan.Fan, host netip.Addr, size int) (uint32, net.HardwareAddr) {
	t.Helper()
	slice, _ := f.Mapping.Slice(host)
	packet := ipv4(f.BridgeAddr().Next(), slice.Addr().Next(), 17, 0, make([]byte, size-20))
	verdict, out := try(t, program, append(ethernet(), packet...))
	return verdict, net.HardwareAddr(out[:6])
}
