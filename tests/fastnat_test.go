package tests

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/fanctl/fanctl/tests/bed"
)

// askFrom asks a server that Serve has started, from a port of the container's own, and
// returns the address and port that the server saw. The answer has to come from the
// address that was asked.
func askFrom(c *bed.Container, port uint16, network string, server netip.AddrPort) (netip.AddrPort, error) {
	if network == "udp4" {
		return askUDP(c, port, server)
	}
	var conn net.Conn
	err := c.Do(func() (err error) {
		d := net.Dialer{Timeout: bed.Patience(), LocalAddr: net.TCPAddrFromAddrPort(netip.AddrPortFrom(c.Addr, port)), Control: reuse}
		conn, err = d.Dial(network, server.String())
		return err
	})
	if err != nil {
		return netip.AddrPort{}, err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(bed.Patience())); err != nil {
		return netip.AddrPort{}, err
	}
	// Who ends a connection first can't make it again at once: that is the server.
	line, err := io.ReadAll(conn)
	if err != nil {
		return netip.AddrPort{}, err
	}
	return netip.ParseAddrPort(strings.TrimSpace(string(line)))
}

// reuse lets a port be bound from which a connection was made that has ended.
func reuse(_, _ string, c syscall.RawConn) error {
	var failed error
	err := c.Control(func(fd uintptr) { failed = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEADDR, 1) })
	return errors.Join(err, failed)
}

func askUDP(c *bed.Container, port uint16, server netip.AddrPort) (netip.AddrPort, error) {
	var socket *net.UDPConn
	err := c.Do(func() (err error) {
		// Not connected: it gets answers from whatever address.
		socket, err = net.ListenUDP("udp4", net.UDPAddrFromAddrPort(netip.AddrPortFrom(c.Addr, port)))
		return err
	})
	if err != nil {
		return netip.AddrPort{}, err
	}
	defer socket.Close()
	if err := socket.SetDeadline(time.Now().Add(bed.Patience())); err != nil {
		return netip.AddrPort{}, err
	}
	if _, err := socket.WriteToUDPAddrPort([]byte("?"), server); err != nil {
		return netip.AddrPort{}, err
	}
	buf := make([]byte, 1500)
	n, from, err := socket.ReadFromUDPAddrPort(buf)
	if err != nil {
		return netip.AddrPort{}, err
	}
	if from != server {
		return netip.AddrPort{}, fmt.Errorf("%s was asked and %s has answered", server, from)
	}
	return netip.ParseAddrPort(strings.SplitN(string(buf[:n]), "\n", 2)[0])
}

// publish leads a port of one of the host's addresses to a server.
func publish(t *testing.T, h *bed.Host, at netip.Addr, server netip.AddrPort) netip.AddrPort {
	t.Helper()
	for _, proto := range []string{"tcp", "udp"} {
		h.Must(t, "iptables", "-t", "nat", "-A", "PREROUTING", "-d", at.String(), "-p", proto, "--dport", "8080",
			"-j", "DNAT", "--to-destination", server.String())
	}
	return netip.AddrPortFrom(at, 8080)
}

// A published port and the container behind it are asked in turn from one and the same
// port: each answers with the address that was asked.
func TestFastPublishedPort(t *testing.T) {
	eachPath(t, func(t *testing.T, p path) {
		fans, one, two := fastPair(t, p)
		there := fans[1]
		server := two.Serve(t, two.Addr)
		asked := map[netip.AddrPort]netip.Addr{server: one.Addr}
		outside := publish(t, there.host, there.host.Addr, server)
		asked[outside] = fans[0].host.Addr
		turns := []netip.AddrPort{outside, server, outside, server}
		if p.kind == "ipip" { // vxlan: see below
			inside := publish(t, there.host, there.net.Gateway(), server)
			asked[inside] = one.Addr
			turns = []netip.AddrPort{inside, server, outside, inside, server}
		}
		there.up(t)
		there.becomesFast(t, 1, "with published ports")
		for round := range 3 {
			for i, network := range []string{"tcp4", "udp4"} {
				for _, at := range turns {
					answers(t, one, uint16(30000+10*round+i), network, at, asked[at])
				}
			}
		}
		before := fans[0].went(t)
		if !goes(t, there, one, server, "directly") || fans[0].went(t) == before {
			t.Error("what needs no translation did not go fast")
		}
	})
}

// Where bridged packets pass iptables, they are translated without the host's routing
// seeing them: with rules for that a fan is not fast.
func TestFastPublishedPortBridged(t *testing.T) {
	const setting = "bridge/bridge-nf-call-iptables"
	fans, one, two := fastPair(t, vxlan())
	there := fans[1]
	if has := there.host.Exec("test", "-e", "/proc/sys/net/"+setting); has.Code != 0 {
		t.Skip("LEFT OUT: br_netfilter is not loaded")
	}
	there.host.Sysctl(t, setting, "1")
	server := two.Serve(t, two.Addr)
	if !goes(t, there, one, server, "before a port is published") {
		t.Error("before a port is published no packet went fast")
	}
	inside := publish(t, there.host, there.net.Gateway(), server)
	there.becomesFast(t, 0, "with a published port")
	for _, network := range []string{"tcp4", "udp4"} {
		for _, at := range []netip.AddrPort{server, inside, server, inside} {
			answers(t, one, 30001, network, at, one.Addr)
		}
	}
}

// answers fails the test unless a server that is asked from a port answers, and has seen
// the address. A flow of UDP that was fast may take a second to be known for another.
func answers(t *testing.T, from *bed.Container, port uint16, network string, at netip.AddrPort, want netip.Addr) {
	t.Helper()
	var seen netip.AddrPort
	var err error
	ask := func() bool {
		seen, err = askFrom(from, port, network, at)
		return err == nil && seen.Addr() == want
	}
	if network == "udp4" && !eventually(ask) || network != "udp4" && !ask() {
		t.Errorf("%s from port %d to %s: seen as %s, %v; want %s", network, port, at, seen, err, want)
	}
}

// Containers reach the world with their host's address, also from ports from which they
// talk to other containers.
func TestFastMasquerade(t *testing.T) {
	eachPath(t, func(t *testing.T, p path) {
		b, fans, one, two := fastBed(t, p)
		inside, outside := two.Serve(t, two.Addr), b.World.Serve(t, b.WorldAddr)
		for round := range 10 {
			for _, network := range []string{"tcp4", "udp4"} {
				port := uint16(32000 + round)
				for _, ask := range []struct {
					at   netip.AddrPort
					want netip.Addr
				}{{outside, one.Host.Addr}, {inside, one.Addr}} {
					if seen, err := askFrom(one, port, network, ask.at); err != nil || seen.Addr() != ask.want {
						t.Errorf("round %d, %s to %s: seen as %s, %v; want %s", round, network, ask.at, seen, err, ask.want)
					}
				}
			}
		}
		reaches(t, one.NS, outside.Addr(), "the world")
		if !goes(t, fans[0], one, inside, "inside") {
			t.Error("what needs no translation did not go fast")
		}
	})
}

// Docker 28 keeps its networks apart, and closes ports that are not published. With its
// rules a fan is either not fast or does what they say.
func TestFastKeepsDockersNetworksApart(t *testing.T) {
	eachPath(t, func(t *testing.T, p path) {
		b := bed.New(t, bed.Options{NoIPv6: true})
		installDocker(t)
		fans := upAll(t, b, p, overlay)
		one, two := fans[0].containerOf(t), fans[1].containerOf(t)
		here := fans[0].host
		here.IP(t, "link add name docker0 type bridge", "addr add 172.17.0.1/16 dev docker0", "link set docker0 up")
		apart := here.Container(t, bed.Network{Bridge: "docker0", Slice: netip.MustParsePrefix("172.17.0.0/16")}, bed.ContainerOptions{MTU: 1450})
		addRules(t, b, docker28)
		here.Must(t, "sh", "-ec", `iptables -I DOCKER ! -i docker0 -o docker0 -j DROP; iptables -A DOCKER-BRIDGE -o docker0 -j DOCKER
iptables -t raw -A PREROUTING -d `+apart.Addr.String()+` ! -i docker0 -j DROP`)
		for _, f := range fans {
			r := f.host.Fanctl(append(append([]string{"up"}, f.args...), "--fast")...)
			t.Logf("%s: up --fast: %s", f.host, r)
			if r.Code == 1 && !strings.Contains(r.Stderr, "--fast") {
				t.Errorf("%s: refused for another reason: %s", f.host, r)
			}
		}
		isolated := apart.Serve(t, apart.Addr)
		server := two.Serve(t, two.Addr)
		goes(t, fans[0], one, server, "inside of the fan")
		for _, from := range []*bed.Container{one, two} {
			if got := from.Ping(apart.Addr, 1, "-W", "1"); got != 0 {
				t.Errorf("%s reaches a container of another network by ping", from.Addr)
			}
			if passes(from, isolated) {
				t.Errorf("%s reaches a container of another network by UDP", from.Addr)
			}
		}
	})
}
