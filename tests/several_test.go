package tests

import (
	"strings"
	"testing"

	"github.com/fanctl/fanctl/tests/bed"
)

const second = "240.0.0.0/8"

// sideBySide brings two fans up on two hosts, tries both, takes the first down,
// tries the other, and does the same the other way round.
func sideBySide(t *testing.T, p, q path, qArgs ...string) {
	t.Helper()
	b := bed.New(t, bed.Options{})
	before := b.Hosts[0].Settled(t)
	ps, qs := upAll(t, b, p, overlay), upAll(t, b, q, second, qArgs...)
	if shown := b.Hosts[0].Show(t); len(shown) != 2 {
		t.Errorf("fanctl show has %d fans, want 2", len(shown))
	}
	tryPair(t, ps[0], ps[1])
	tryPair(t, qs[0], qs[1])
	for _, f := range ps {
		f.down(t)
	}
	tryPair(t, qs[0], qs[1])
	ps = upAll(t, b, p, overlay)
	for _, f := range qs {
		f.down(t)
	}
	tryPair(t, ps[0], ps[1])
	for _, f := range ps {
		f.down(t)
	}
	if difference := b.Hosts[0].Becomes(t, before); difference != "" {
		t.Errorf("after both fans are down: %s", difference)
	}
}

func TestTwoOverlays(t *testing.T) {
	eachPath(t, func(t *testing.T, p path) {
		if p.kind == "vxlan" && !bed.KernelAtLeast(t, 5, 18) {
			t.Skip("two vxlan fans on one port need vnifilter, Linux 5.18")
		}
		sideBySide(t, p, p)
	})
}

// Before 5.18 there is one external vxlan device per port: the second fan is
// refused, in words, and nothing is changed.
func TestTwoOverlaysOnOnePortOfAnOldKernel(t *testing.T) {
	if bed.KernelAtLeast(t, 5, 18) {
		t.Skip("this kernel can have two vxlan fans on one port")
	}
	b := bed.New(t, bed.Options{})
	h := b.Hosts[0]
	upOn(t, b, h, vxlan(), overlay)
	before := h.Settled(t)
	r := h.Fanctl("up", "-u", b.Underlay.String(), "-o", second, "--type", "vxlan")
	if r.Code == 0 || !strings.Contains(r.Stderr, "8472") || strings.Count(r.Stderr, "\n") != 1 {
		t.Errorf("a second fan on port 8472: %s", r)
	}
	if difference := h.Becomes(t, before); difference != "" {
		t.Error(difference)
	}
}

func TestVXLANOnTwoPorts(t *testing.T) {
	sideBySide(t, vxlan(), vxlan(), "--port", "8473")
}

func TestIPIPBesideVXLAN(t *testing.T) {
	for _, p := range []path{ipipEBPF(), ipipByDevice()} {
		t.Run(p.name, func(t *testing.T) {
			needs(t, p)
			sideBySide(t, p, vxlan())
		})
	}
}

// An ipip fan by device and one by eBPF on one host do not take each other's
// packets, and the two ways are the same on the wire.
func TestTwoWaysOfIPIP(t *testing.T) {
	needs(t, ipipByDevice())
	sideBySide(t, ipipEBPF(), ipipByDevice())
	b := bed.New(t, bed.Options{})
	tryPair(t, upOn(t, b, b.Hosts[0], ipipEBPF(), overlay), upOn(t, b, b.Hosts[1], ipipByDevice(), overlay))
}

// A packet of one overlay does not come out in another, although both are on the
// same hosts: what a container of one fan sends to one of the other goes through
// the hosts' routing, and never through a tunnel with a wrong source.
func TestOverlaysDoNotMix(t *testing.T) {
	eachPath(t, func(t *testing.T, p path) {
		if p.kind == "vxlan" && !bed.KernelAtLeast(t, 5, 18) {
			t.Skip("two vxlan fans on one port need vnifilter, Linux 5.18")
		}
		b := bed.New(t, bed.Options{})
		ps, qs := upAll(t, b, p, overlay), upAll(t, b, p, second)
		one, other := ps[0].container(t, bed.ContainerOptions{}), qs[1].container(t, bed.ContainerOptions{})
		came := other.Capture(t, "eth0")
		one.Ping(other.Addr, 2)
		for _, f := range came.Frames(func(f bed.Frame) bool { return !f.Outgoing && f.ICMP != nil }) {
			if f.IP.Src == one.Addr {
				t.Errorf("came in with the source of the other overlay: %s", f)
			}
		}
	})
}

// Overlays that differ only in their masks have one name for bridge and tunnel. down of
// the one that is not up leaves the other as it is, and says how to take that down.
func TestDownOfAnotherFanWithTheName(t *testing.T) {
	for _, test := range []struct{ up, more, down string }{
		{"-u 10.0.0.0/16 -o 250.0.0.0/12", "", "-u 10.0.0.0/16 -o 250.0.0.0/8"},
		{"-u 10.0.0.0/16 -o 250.0.0.0/8", "", "-u 10.0.0.0/24 -o 250.0.0.0/12"},
		{"-u 10.0.0.0/16 -o 250.0.0.0/12", "--bridge mine", "-u 10.0.0.0/16 -o 250.0.0.0/8"},
		{"-u 10.0.0.0/16 -o 240.0.0.0/8", "--bridge fan-250", "-u 10.0.0.0/16 -o 250.0.0.0/8"},
	} {
		h := bed.New(t, bed.Options{NoIPv6: true}).Hosts[0]
		before := h.Settled(t)
		run := asRoot(h)
		if r := run("up " + test.up + " " + test.more); r.Code != 0 {
			t.Fatal(r)
		}
		refuses(t, h, usage, run, mistake{"down " + test.down, "fanctl down " + test.up}, mistake{"down --dry-run " + test.down, "fanctl down " + test.up})
		if r := run("down " + test.up); r.Code != 0 {
			t.Error(r)
		}
		if difference := h.Becomes(t, before); difference != "" {
			t.Errorf("down %s with the fan %s up: %s", test.down, test.up, difference)
		}
	}
}
