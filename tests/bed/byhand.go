package bed

import (
	"fmt"
	"os"
	"testing"

	"github.com/safchain/ethtool"
	"golang.org/x/sys/unix"

	"github.com/fanctl/fanctl/tests/bed/wire"
)

// IPIPByHand joins the peer without any tunnel device: packets for the far slice go
// into one end of a veth pair, are taken out at the other, get the 20 bytes of RFC
// 2003 in front and leave by a raw socket; what comes in goes the same way back.
func (p *Peer) IPIPByHand(t testing.TB, far Far) {
	t.Helper()
	p.IP(t, fmt.Sprintf("link add wrap mtu %d type veth peer name wrapped mtu %d", p.mtu(t), p.mtu(t)),
		"link set wrap up", "link set wrapped up")
	// Packets have to be whole here, as they are on a wire.
	p.plain(t, "wrap")
	p.bed.switches.plain(t, p.Port)
	// Addresses that nobody has: the stack does not take at the other end what is for us.
	const nobody = "192.0.2.1"
	p.IP(t, fmt.Sprintf("neigh add %s lladdr 02:00:00:00:00:01 nud permanent dev wrap", nobody),
		fmt.Sprintf("route add %s via %s dev wrap onlink src %s", far.Slice, nobody, p.Network.Gateway()))
	// An ipip module has no device for these packets, and would say so to the sender.
	p.Must(t, "iptables", "-A", "OUTPUT", "-p", "icmp", "--icmp-type", "port-unreachable", "-j", "DROP")
	out, in := p.IPSender(t, far.Host), p.FrameSender(t, "wrapped")
	p.each(t, unix.AF_PACKET, unix.ETH_P_IP, "wrapped", func(frame []byte) {
		inner := frame[14:]
		h, _, err := wire.ParseIPv4(inner)
		if err != nil {
			return
		}
		outer := wire.IPv4{TOS: h.TOS, ID: h.ID, DF: h.DF, Proto: wire.ProtoIPIP, Src: p.Addr, Dst: far.Host}
		_ = out.Send(outer.Build(inner[:h.TotalLen])) // the test sees that it does not arrive
	})
	link := wire.Eth{Dst: p.MAC(t, "wrap"), Src: p.MAC(t, "wrapped"), Type: wire.TypeIPv4}
	p.each(t, unix.AF_INET, wire.ProtoIPIP, "", func(packet []byte) {
		h, inner, err := wire.ParseIPv4(packet)
		if err != nil || h.Src != far.Host || h.Dst != p.Addr {
			return
		}
		_ = in.Send(link.Build(inner))
	})
}

// each calls do with every packet that a raw socket gets, until the test ends. With a
// device the socket is bound to it.
func (n *NS) each(t testing.TB, family, protocol int, device string, do func(packet []byte)) {
	t.Helper()
	var file *os.File
	err := n.Do(func() error {
		if family == unix.AF_PACKET {
			protocol = int(networkOrder(uint16(protocol)))
		}
		fd, err := unix.Socket(family, unix.SOCK_RAW|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, protocol)
		if err != nil {
			return err
		}
		file = os.NewFile(uintptr(fd), "raw socket")
		return unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 8<<20)
	})
	if err == nil && device != "" {
		err = bind(file, n.Device(t, device).Index, protocol)
	}
	if err != nil {
		t.Fatalf("in %s: open raw socket: %v", n.Name, err)
	}
	ended := make(chan struct{})
	t.Cleanup(func() {
		file.Close()
		<-ended
	})
	go func() {
		defer close(ended)
		buf := make([]byte, 64<<10)
		for {
			size, err := file.Read(buf)
			if err != nil {
				return
			}
			do(buf[:size])
		}
	}()
}

func bind(file *os.File, index, protocol int) error {
	raw, err := file.SyscallConn()
	if err != nil {
		return err
	}
	var bound error
	err = raw.Control(func(fd uintptr) {
		bound = unix.Bind(int(fd), &unix.SockaddrLinklayer{Protocol: uint16(protocol), Ifindex: index})
	})
	if err != nil {
		return err
	}
	return bound
}

// plain has the kernel write all checksums and cut up all super-packets before they
// leave by a device, so that what is behind it is as on a wire.
func (n *NS) plain(t testing.TB, device string) {
	t.Helper()
	err := n.Do(func() error {
		e, err := ethtool.NewEthtool()
		if err != nil {
			return err
		}
		defer e.Close()
		return e.Change(device, map[string]bool{"tx-checksum-ip-generic": false, "tx-tcp-segmentation": false,
			"tx-udp-segmentation": false, "tx-generic-segmentation": false})
	})
	if err != nil {
		t.Fatalf("in %s: turn off what %s does for the kernel: %v", n.Name, device, err)
	}
}
