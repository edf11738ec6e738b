package tests

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/fanctl/fanctl/tests/bed"
)

// A host that gets another address has another slice: up again makes the fan that
// of the new address, and down leaves nothing of either.
func TestHostGetsAnotherAddress(t *testing.T) {
	eachPath(t, func(t *testing.T, p path) {
		b := bed.New(t, bed.Options{NoIPv6: true})
		h := b.Hosts[0]
		other := netip.MustParseAddr("10.0.0.99")
		moves := func(from, to netip.Addr) {
			h.IP(t, fmt.Sprintf("addr del %s/16 dev eth0", from), fmt.Sprintf("addr add %s/16 brd + dev eth0", to),
				"route replace default via "+bed.LastUsable(b.Underlay).String())
			h.Addr = to
		}
		first := h.Addr
		moves(first, other)
		before := h.Settled(t)
		upOn(t, b, h, p, overlay)
		wanted := withoutRoom(h.Settled(t))
		h.MustFanctl(t, "down", "-u", "eth0/16", "-o", "250")

		moves(other, first)
		fans := upAll(t, b, p, overlay)
		tryPair(t, fans[0], fans[1])
		moves(first, other)
		said := h.MustFanctl(t, slices.Concat([]string{"up"}, fanArgs(b, overlay), p.args)...)
		for _, word := range []string{first.String(), other.String(), fans[0].net.Slice.String(), "250.0.99.0/24"} {
			if !strings.Contains(said, word) {
				t.Errorf("up does not say %s: %s", word, said)
			}
		}
		moved := upOn(t, b, h, p, overlay)
		tryPair(t, moved, fans[1])
		if difference := bed.Diff(wanted, withoutRoom(h.Settled(t))); difference != "" {
			t.Errorf("with the new address: %s", difference)
		}
		moved.down(t)
		if difference := h.Becomes(t, before); difference != "" {
			t.Errorf("after down: %s", difference)
		}
	})
}

// withoutRoom leaves out of a snapshot what keeps the hardware address that it was
// made with, because nobody sees it.
func withoutRoom(snapshot string) string {
	var rest []string
	for line := range strings.Lines(snapshot) {
		if !strings.Contains(line, " ftrm-") {
			rest = append(rest, line)
		}
	}
	return strings.Join(rest, "")
}
