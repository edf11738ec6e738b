package tests

import (
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/fanctl/fanctl/tests/bed"
	"github.com/fanctl/fanctl/tests/bed/wire"
)

// dropRule is a rule of an operator that what a container sends meets on its normal way.
type dropRule struct{ add, del, named string }

func operatorsDrop(p path, from netip.Addr) dropRule {
	if p.kind == "vxlan" { // is bridged
		return dropRule{"nft 'add table bridge theirs; add chain bridge theirs out { type filter hook forward priority 0; }; add rule bridge theirs out ip saddr " + from.String() + " ip protocol { tcp, udp } drop'",
			"nft delete table bridge theirs", "theirs"}
	}
	rule := "FORWARD -s " + from.String() + " -j DROP"
	return dropRule{"iptables -I " + rule, "iptables -D " + rule, "DROP"}
}

func (r dropRule) on(t *testing.T, h *bed.Host)  { t.Helper(); h.Must(t, "sh", "-ec", r.add) }
func (r dropRule) off(t *testing.T, h *bed.Host) { t.Helper(); h.Must(t, "sh", "-ec", r.del) }

// passes says whether a datagram of a container gets an answer.
func passes(from *bed.Container, server netip.AddrPort) bool {
	got, err := from.EchoUDP(server, 1, 100)
	return err == nil && got == 1
}

// A rule that drops is named, and there is no fast fan with it unless that is asked for.
func TestFastRefused(t *testing.T) {
	eachPath(t, func(t *testing.T, p path) {
		b := bed.New(t, bed.Options{NoIPv6: true})
		fans := upAll(t, b, p, overlay)
		f, h := fans[0], fans[0].host
		one, two := f.containerOf(t), fans[1].containerOf(t)
		server := two.Serve(t, two.Addr)
		rule := operatorsDrop(p, one.Addr)
		rule.on(t, h)
		if passes(one, server) {
			t.Fatal("the rule does not drop what goes the normal way")
		}
		before := h.Settled(t)
		r := h.Fanctl(slices.Concat([]string{"up"}, f.args, []string{"--fast"})...)
		if r.Code != 1 || !oneLine(r.Stderr, "--fast", rule.named) {
			t.Errorf("up --fast: %s\nwant exit code 1 and one line that names the rule", r)
		}
		if difference := h.Becomes(t, before); difference != "" {
			t.Errorf("an up that was refused: %s", difference)
		}
		if passes(one, server) {
			t.Error("the rule does not drop any more")
		}
		f.upFast(t, "--fast=force")
		f.becomesFast(t, 1, "by force")
		rule.off(t, h)
		f.upFast(t, "--fast")
		f.becomesFast(t, 1, "without the rule")
		if !goes(t, f, one, server, "without the rule") {
			t.Error("without the rule no packet went fast")
		}
	})
}

// With a watcher a rule that comes later is in force soon, and the fan is fast again when
// it has gone.
func TestFastRuleComesLater(t *testing.T) {
	eachPath(t, func(t *testing.T, p path) {
		fans, one, two := fastPair(t, p)
		server := two.Serve(t, two.Addr)
		if !goes(t, fans[0], one, server, "before the rule") {
			t.Error("before the rule no packet went fast")
		}
		rule := operatorsDrop(p, one.Addr)
		rule.on(t, fans[0].host)
		if !eventually(func() bool { return !passes(one, server) }) {
			t.Fatal("the rule does not drop")
		}
		fans[0].becomesFast(t, 0, "with a rule that drops")
		if off := fans[0].fast(t).Off; len(off) != 1 || !strings.Contains(off[0], rule.named) {
			t.Errorf("with a rule that drops: fast_off is %q, want the rule", off)
		}
		rule.off(t, fans[0].host)
		if !eventually(func() bool { return passes(one, server) }) {
			t.Fatal("without the rule nothing passes")
		}
		fans[0].becomesFast(t, 1, "without the rule")
		if off := fans[0].fast(t).Off; len(off) != 0 {
			t.Errorf("without the rule: fast_off is %q", off)
		}
		if !goes(t, fans[0], one, server, "without the rule") {
			t.Error("without the rule no packet went fast")
		}
	})
}

// tap is the device of a virtual machine, whose end this is.
func tap(t *testing.T, h *bed.Host, name string) *os.File {
	t.Helper()
	var file *os.File
	err := h.Do(func() error {
		fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC, 0)
		if err != nil {
			return err
		}
		file = os.NewFile(uintptr(fd), name)
		request, err := unix.NewIfreq(name)
		if err != nil {
			return err
		}
		request.SetUint16(unix.IFF_TAP | unix.IFF_NO_PI)
		return unix.IoctlIfreq(fd, unix.TUNSETIFF, request)
	})
	if err != nil {
		if os.IsNotExist(err) {
			t.Skip("LEFT OUT: no /dev/net/tun on this machine")
		}
		t.Fatalf("make a tap device: %v", err)
	}
	t.Cleanup(func() { file.Close() })
	return file
}

// A virtual machine's packets always go the normal way.
func TestFastTap(t *testing.T) {
	eachPath(t, func(t *testing.T, p path) {
		fans, one, two := fastPair(t, p)
		f, h := fans[0], fans[0].host
		machine := tap(t, h, "tap0")
		h.IP(t, "link set tap0 master "+f.net.Bridge+" up")
		f.up(t)
		f.becomesFast(t, 1, "with a tap port")
		if filters := h.Must(t, "tc", "filter", "show", "dev", "tap0", "ingress"); filters != "" {
			t.Errorf("filters of a tap port: %s", filters)
		}
		const count = 20
		own, mac := bed.Nth(f.net.Slice, 77), wire.MAC{0x02, 0x77, 0, 0, 0, 1}
		next := h.MAC(t, f.net.Bridge)
		if p.kind == "vxlan" {
			next = two.MAC(t, "eth0")
		}
		box := two.Mailbox(t, netip.AddrPortFrom(two.Addr, 9000))
		before := f.went(t)
		for range count {
			packet := wire.IPv4{Src: own, Dst: two.Addr, Proto: wire.ProtoUDP}.Build(wire.UDP{Src: 1, Dst: 9000}.Build([]byte("from a machine")))
			if _, err := machine.Write(wire.Eth{Dst: next, Src: mac, Type: wire.TypeIPv4}.Build(packet)); err != nil {
				t.Fatal(err)
			}
		}
		arrived := 0
		eventually(func() bool {
			arrived += len(box.Take())
			return arrived == count
		})
		if arrived != count {
			t.Errorf("%d of %d packets of a machine have arrived", arrived, count)
		}
		if grown := f.went(t) - before; grown != 0 {
			t.Errorf("%d packets of a machine went fast", grown)
		}
		reaches(t, one.NS, two.Addr, "a container beside it")
	})
}

// A port at which somebody else has a filter is never fast: its packets would go past it.
func TestFastForeignFilter(t *testing.T) {
	const lets, drops = "bpf da bytecode '1,6 0 0 4294967295'", "bpf da bytecode '1,6 0 0 2'"
	eachPath(t, func(t *testing.T, p path) {
		b := bed.New(t, bed.Options{NoIPv6: true})
		fans := upAll(t, b, p, overlay)
		f, h := fans[0], fans[0].host
		one, two, three := f.containerOf(t), fans[1].containerOf(t), f.containerOf(t)
		filter := func(port, way, what string) {
			t.Helper()
			h.Must(t, "sh", "-ec", fmt.Sprintf("tc qdisc add dev %s clsact 2>/dev/null || true; tc filter add dev %s %s pref 7 %s", port, port, way, what))
		}
		filter(one.Port, "ingress", lets)
		for _, f := range fans {
			f.upFast(t, "--fast")
		}
		f.becomesFast(t, 1, "with a filter at one of two ports")
		server := two.Serve(t, two.Addr)
		if goes(t, f, one, server, "from the port with the filter") {
			t.Error("packets of a port with somebody's filter went fast")
		}
		if !goes(t, f, three, server, "from the other port") {
			t.Error("packets of a port without a filter did not go fast")
		}
		if left := h.Must(t, "tc", "filter", "show", "dev", one.Port, "ingress"); strings.Count(left, "bytecode") != 1 {
			t.Errorf("somebody's filter: %s", left)
		}
		filter(three.Port, "egress", drops)
		f.becomesFast(t, 0, "with a filter at both ports")
		if passes(three, server) {
			t.Error("answers go past a filter that drops them")
		}
		h.Must(t, "tc", "filter", "del", "dev", three.Port, "egress", "pref", "7")
		f.becomesFast(t, 1, "when the filter has gone")
		if !goes(t, f, three, server, "when the filter has gone") {
			t.Error("no packet went fast when the filter had gone")
		}
	})
}
