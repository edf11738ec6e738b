package bpf_test

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"os"
	"runtime"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/fanctl/fanctl/fan"
	"github.com/fanctl/fanctl/tunnel/bpf"
)

// inNewNamespace runs the test on a thread of its own in a network namespace of
// its own; both go with it.
func inNewNamespace(t *testing.T, do func()) {
	t.Helper()
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		err := unix.Unshare(unix.CLONE_NEWNET)
		if err == nil {
			do()
		}
		done <- err
	}()
	if err := <-done; err != nil {
		t.Fatalf("new network namespace: %v", err)
	}
}

func testFan(t *testing.T, host string, kind fan.Type) fan.Fan {
	t.Helper()
	m, err := fan.NewMapping(netip.MustParsePrefix("10.0.0.0/16"), netip.MustParsePrefix("250.0.0.0/8"))
	if err != nil {
		t.Fatal(err)
	}
	return fan.Fan{Mapping: m, Host: netip.MustParseAddr(host), Device: "u0", Type: kind, Bridge: "fan-250",
		MTU: kind.MTU(1500), NAT: true}
}

// underlay makes a device with a route to every host, and returns its index.
func underlay(t *testing.T) int {
	t.Helper()
	if err := netlink.LinkAdd(&netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "u0"}, PeerName: "u1"}); err != nil {
		t.Error(err)
		return 0
	}
	for _, name := range []string{"u1", "u0"} {
		l, err := netlink.LinkByName(name)
		if err != nil {
			t.Error(err)
			return 0
		}
		if err := netlink.LinkSetUp(l); err != nil {
			t.Error(err)
		}
	}
	l, _ := netlink.LinkByName("u0")
	addr, _ := netlink.ParseAddr("10.0.200.200/16")
	if err := netlink.AddrAdd(l, addr); err != nil {
		t.Error(err)
	}
	if err := netlink.LinkSetARPOff(l); err != nil {
		t.Error(err)
	}
	// Without forwarding the kernel gives a program no route. This is the setting
	// of the thread's namespace.
	if err := os.WriteFile("/proc/sys/net/ipv4/ip_forward", []byte("1"), 0); err != nil {
		t.Error(err)
	}
	return l.Attrs().Index
}

const (
	ok       = 0
	shot     = 2
	redirect = 7
	next     = 0xffffffff // -1
)

// ethernet is the header of a frame to the loopback device, which test runs are on.
func ethernet() []byte {
	return []byte{0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 2, 0x08, 0x00}
}

// ipv4 builds a header of 20 bytes and the payload behind it.
func ipv4(source, destination netip.Addr, protocol, tos byte, payload []byte) []byte {
	b := make([]byte, 20, 20+len(payload))
	b[0], b[1], b[8], b[9] = 0x45, tos, 64, protocol
	binary.BigEndian.PutUint16(b[2:], uint16(20+len(payload)))
	s, d := source.As4(), destination.As4()
	copy(b[12:], s[:])
	copy(b[16:], d[:])
	binary.BigEndian.PutUint16(b[10:], checksum(b))
	return append(b, payload...)
}

// checksum is RFC 791's of a header; 0 for one whose checksum is right.
func checksum(header []byte) uint16 {
	var sum uint32
	for i := 0; i < len(header); i += 2 {
		sum += uint32(binary.BigEndian.Uint16(header[i:]))
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return ^uint16(sum)
}

func try(t *testing.T, program *ebpf.Program, frame []byte) (verdict uint32, out []byte) {
	t.Helper()
	out = make([]byte, len(frame)+256)
	options := ebpf.RunOptions{Data: frame, DataOut: out}
	verdict, err := program.Run(&options)
	if err != nil {
		t.Errorf("test run: %v", err)
	}
	return verdict, options.DataOut
}

// The programs and the Go code must agree on every host: sent to an address in
// each host's slice, the outer header has that host's address.
func TestSendMapsEveryHostAsGoDoes(t *testing.T) {
	inNewNamespace(t, func() {
		index := underlay(t)
		f := testFan(t, "10.0.200.200", fan.IPIP)
		p, err := bpf.Load(bpf.NewConfig(f, bpf.Devices{Tunnel: index, LinkHeader: 14}), nil, map[string]string{bpf.IPIPSend: "test"})
		if err != nil {
			t.Error(err)
			return
		}
		defer p.Close()
		source := f.BridgeAddr().Next()
		sent := 0
		for n := range 1 << 16 {
			host := netip.AddrFrom4([4]byte{10, 0, byte(n >> 8), byte(n)})
			slice, _ := f.Mapping.Slice(host)
			target := slice.Addr().Next().Next()
			verdict, out := try(t, p.ByName[bpf.IPIPSend], append(ethernet(), ipv4(source, target, 17, 0, make([]byte, 30))...))
			if f.Mapping.CheckHost(host) != nil || host == f.Host {
				if verdict != shot {
					t.Errorf("%s: verdict %d for an address that no other host owns", target, verdict)
				}
				continue
			}
			outer := out[14:34]
			if verdict != redirect || netip.AddrFrom4([4]byte(outer[16:20])) != host || checksum(outer) != 0 || outer[9] != 4 {
				t.Errorf("%s: verdict %d, outer header %x, want to %s", target, verdict, outer, host)
			}
			sent++
			if t.Failed() {
				return
			}
		}
		if sent != 1<<16-3 {
			t.Errorf("%d hosts were sent to, want all but the network, the broadcast address and this host", sent)
		}
	})
}

// Of every host's packets those with its own inner source are taken, and those
// with its neighbour's are not.
func TestReceiveChecksEveryHostAsGoDoes(t *testing.T) {
	inNewNamespace(t, func() {
		index := underlay(t)
		f := testFan(t, "10.0.200.200", fan.IPIP)
		p, err := bpf.Load(bpf.NewConfig(f, bpf.Devices{Tunnel: index, LinkHeader: 14}), nil, map[string]string{bpf.IPIPReceive: "test"})
		if err != nil {
			t.Error(err)
			return
		}
		defer p.Close()
		target := f.BridgeAddr().Next()
		for n := range 1 << 16 {
			host := netip.AddrFrom4([4]byte{10, 0, byte(n >> 8), byte(n)})
			slice, _ := f.Mapping.Slice(host)
			for _, source := range []netip.Addr{slice.Addr().Next(), slice.Addr().Prev(), lastOf(slice), lastOf(slice).Next()} {
				owner, inside := f.Mapping.Host(source)
				genuine := inside && owner == host && host != f.Host && f.Mapping.CheckHost(host) == nil
				inner := ipv4(source, target, 17, 0, make([]byte, 30))
				verdict, _ := try(t, p.ByName[bpf.IPIPReceive], append(ethernet(), ipv4(host, f.Host, 4, 0, inner)...))
				if (verdict == redirect) != genuine {
					t.Errorf("inner source %s from %s: verdict %d, genuine %v", source, host, verdict, genuine)
					return
				}
			}
		}
	})
}

func lastOf(p netip.Prefix) netip.Addr {
	b := p.Addr().As4()
	n := binary.BigEndian.Uint32(b[:]) | ^uint32(0)>>p.Bits()
	binary.BigEndian.PutUint32(b[:], n)
	return netip.AddrFrom4(b)
}

// RFC 6040 figure 4, all sixteen cells.
func TestReceiveMergesECN(t *testing.T) {
	const notECT, ect1, ect0, ce, drop = 0, 1, 2, 3, -1
	want := map[int][4]int{ // inner: by outer Not-ECT, ECT(1), ECT(0), CE
		notECT: {notECT, notECT, notECT, drop},
		ect1:   {ect1, ect1, ect1, ce},
		ect0:   {ect0, ect1, ect0, ce},
		ce:     {ce, ce, ce, ce},
	}
	inNewNamespace(t, func() {
		index := underlay(t)
		f := testFan(t, "10.0.200.200", fan.IPIP)
		p, err := bpf.Load(bpf.NewConfig(f, bpf.Devices{Tunnel: index, LinkHeader: 14}), nil, map[string]string{bpf.IPIPReceive: "test"})
		if err != nil {
			t.Error(err)
			return
		}
		defer p.Close()
		for inner, row := range want {
			for outer, merged := range row {
				name := fmt.Sprintf("inner %d, outer %d", inner, outer)
				const dscp = 0xb8
				packet := ipv4(netip.MustParseAddr("250.0.9.9"), f.BridgeAddr().Next(), 17, dscp|byte(inner), make([]byte, 30))
				frame := append(ethernet(), ipv4(netip.MustParseAddr("10.0.0.9"), f.Host, 4, byte(outer), packet)...)
				verdict, out := try(t, p.ByName[bpf.IPIPReceive], frame)
				if merged == drop {
					if verdict != shot {
						t.Errorf("%s: verdict %d, want a drop", name, verdict)
					}
					continue
				}
				if verdict != redirect {
					t.Errorf("%s: verdict %d", name, verdict)
					continue
				}
				if got := out[15]; got != dscp|byte(merged) || checksum(out[14:34]) != 0 {
					t.Errorf("%s: TOS %#x checksum %#x, want ECN %d", name, got, checksum(out[14:34]), merged)
				}
			}
		}
	})
}

// What is not a tunnel packet of this fan is somebody else's business, whatever
// its length.
func TestReceiveLeavesOthersAlone(t *testing.T) {
	inNewNamespace(t, func() {
		index := underlay(t)
		f := testFan(t, "10.0.200.200", fan.IPIP)
		p, err := bpf.Load(bpf.NewConfig(f, bpf.Devices{Tunnel: index, LinkHeader: 14}), nil, map[string]string{bpf.IPIPReceive: "test"})
		if err != nil {
			t.Error(err)
			return
		}
		defer p.Close()
		peer, self := netip.MustParseAddr("10.0.0.9"), f.Host
		overlay := ipv4(netip.MustParseAddr("250.0.9.9"), f.BridgeAddr(), 17, 0, make([]byte, 8))
		frames := map[string][]byte{
			"plain UDP":               ipv4(peer, self, 17, 0, make([]byte, 40)),
			"tunnel to another host":  ipv4(peer, netip.MustParseAddr("10.0.1.1"), 4, 0, overlay),
			"tunnel from outside":     ipv4(netip.MustParseAddr("192.0.2.1"), self, 4, 0, overlay),
			"tunnel of another inner": ipv4(peer, self, 4, 0, ipv4(peer, netip.MustParseAddr("192.0.2.7"), 17, 0, nil)),
			"cut off":                 ipv4(peer, self, 4, 0, overlay)[:30],
		}
		for name, packet := range frames {
			verdict, _ := try(t, p.ByName[bpf.IPIPReceive], append(ethernet(), packet...))
			if verdict != next {
				t.Errorf("%s: verdict %d, want %d", name, int32(verdict), int32(-1))
			}
		}
	})
}
