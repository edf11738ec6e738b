package tests

import (
	"net/netip"
	"testing"

	"github.com/fanctl/fanctl/tests/bed"
)

// The captures of TestInteroperates are wrong as soon as any byte is that the RFCs leave
// no choice about: each of them is changed in what we send.
func TestInteroperatesByEveryByte(t *testing.T) {
	eachJoiner(t, func(t *testing.T, p path, j joiner) {
		c := newCouple(t, p, j)
		c.works(t, "before")
		for _, field := range bed.Fixed(p.kind) {
			for _, at := range bytesOf(field) {
				undo := c.bed.Flip(t, c.fan.host, p.kind, at, 0x01)
				err := c.wire(t, true)
				undo()
				if err == nil {
					t.Errorf("byte %d of the frame (%s) was changed, and nobody has seen it", at, field.Name)
				}
			}
		}
		c.works(t, "after")
	})
}

// bytesOf are the places of a field's bytes in the frame; short: of the last one.
func bytesOf(f bed.Field) []int {
	var places []int
	for at := f.At; at < f.At+f.Size; at++ {
		places = append(places, at)
	}
	if testing.Short() {
		return places[f.Size-1:]
	}
	return places
}

// works fails the test unless packets come, and look as they should.
func (c *couple) works(t *testing.T, when string) {
	t.Helper()
	if err := c.reach(); err != nil {
		t.Fatalf("%s: %v", when, err)
	}
	for _, ours := range []bool{true, false} {
		if err := c.wire(t, ours); err != nil {
			t.Fatalf("%s: %v", when, err)
		}
	}
}

// needful are the bytes without which no host may take a packet for one of the fan.
func needful(kind string) []bed.Field {
	var fields []bed.Field
	for _, f := range bed.Fixed(kind) {
		switch f.Name {
		case "version and header length", "protocol", "destination", "UDP port", "VXLAN network identifier":
			fields = append(fields, f)
		}
	}
	return fields
}

// Nothing gets through with another network identifier, port, protocol or address,
// whichever of the two has it wrong. That of its source we alone look at: it must be
// the host that the inner source maps to.
func TestInteroperatesWithNothingElse(t *testing.T) {
	eachJoiner(t, func(t *testing.T, p path, j joiner) {
		c := newCouple(t, p, j)
		c.works(t, "before")
		stops := func(ours bool, at int, mask byte, what string) {
			t.Helper()
			if c.passes(t, ours, at, mask) {
				t.Errorf("packets with another %s (byte %d of the frame) get through, ours: %t", what, at, ours)
			}
		}
		for _, field := range needful(p.kind) {
			for _, at := range bytesOf(field) {
				stops(true, at, 0x01, field.Name)
				stops(false, at, 0x01, field.Name)
			}
		}
		for _, at := range bytesOf(bed.Field{At: bed.AtIPv4 + 12, Size: 4}) {
			stops(false, at, 0x01, "source")
		}
		if p.kind == "vxlan" {
			stops(true, bed.AtVXLAN, 0x08, "flag for a valid network identifier")
			stops(false, bed.AtVXLAN, 0x08, "flag for a valid network identifier")
		}
		c.works(t, "after")
	})
}

// passes sends a packet from container to container with a byte changed on the way, and
// one as it should be, and says whether the first has come by the time the second has.
func (c *couple) passes(t *testing.T, ours bool, at int, mask byte) bool {
	t.Helper()
	from, to, host := c.mine, c.theirs, c.came[1]
	if !ours {
		from, to, host = to, from, c.came[0]
	}
	came := to.Capture(t, "eth0")
	send := func() func(bed.Frame) bool {
		c.sent++
		mark := bed.Marked(c.sent, 100)
		if _, err := from.Datagram(t, bed.Datagram{To: netip.AddrPortFrom(to.Addr, 9), Payload: mark}); err != nil {
			t.Fatal(err)
		}
		return func(f bed.Frame) bool { return !f.Outgoing && carries(f.Packet, mark) }
	}
	undo := c.bed.Flip(t, from.Host, c.fan.path.kind, at, mask)
	changed := send()
	_, ok := host.Wait(changed)
	undo()
	if !ok {
		t.Fatal("the changed packet has not come to the host")
	}
	if _, ok := came.Wait(send()); !ok {
		t.Fatal("nothing comes any more")
	}
	return len(came.Frames(changed)) > 0
}

// A fan that was given another mapping or another port than the peer has does not
// reach it.
func TestInteroperatesWithNoOtherFan(t *testing.T) {
	eachJoiner(t, func(t *testing.T, p path, j joiner) {
		if c := newUnequal(t, p, j, "10.0.0.0/24"); c.check(t) == nil {
			t.Error("our fan has an underlay of 24 bits and the peer one of 16, and all is well")
		}
		if p.kind != "vxlan" {
			return
		}
		if c := newUnequal(t, p, j, "10.0.0.0/16", "--port", "8473"); c.check(t) == nil {
			t.Error("our fan has port 8473 and the peer 8472, and all is well")
		}
	})
}
