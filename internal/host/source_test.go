package host

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/fanctl/fanctl/fan"
	"github.com/fanctl/fanctl/internal/kernel"
)

func TestSourceError(t *testing.T) {
	m, err := fan.NewMapping(netip.MustParsePrefix("10.0.0.0/16"), netip.MustParsePrefix("250.0.0.0/8"))
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		network, host, source, peer string // the network is the underlay, if it is not given
		wrong                       bool
	}{
		{host: "10.0.0.8", source: "10.0.0.8", peer: "10.0.0.1"},
		{network: "10.0.1.0/30", host: "10.0.1.1", source: "10.0.1.1", peer: "10.0.1.2"},
		{network: "10.0.1.0/31", host: "10.0.1.1", source: "10.0.1.1", peer: "10.0.1.0"},
		{network: "10.0.1.0/31", host: "10.0.1.0", source: "10.0.1.0", peer: "10.0.1.1"},
		{network: "10.0.1.0/31", host: "10.0.9.9", source: "10.0.1.1", peer: "10.0.1.0", wrong: true},
		{network: "10.0.1.2/32", host: "10.0.1.1", source: "10.0.1.1", peer: "10.0.1.2"},
		{network: "10.0.1.1/32", host: "10.0.1.1", source: "10.0.1.1", peer: "10.0.1.1"}, // there is no other
		{host: "10.0.0.1", source: "10.0.0.1", peer: "10.0.0.2"},
		{host: "10.0.0.8", source: "10.0.0.9", peer: "10.0.0.1", wrong: true},
		{host: "10.0.0.8", peer: "10.0.0.1"},
	} {
		f := fan.Fan{Mapping: m, Host: netip.MustParseAddr(test.host)}
		source, err := netip.ParseAddr(test.source)
		network := f.Mapping.Underlay()
		if test.network != "" {
			network = netip.MustParsePrefix(test.network)
		}
		peer := somePeer(f, network)
		if peer.String() != test.peer || !network.Contains(peer) {
			t.Errorf("peer of %s in %s is %s, want %s", test.host, network, peer, test.peer)
		}
		got := sourceError(f, peer, source, err == nil)
		if (got != nil) != test.wrong {
			t.Errorf("host %s, source %s: %v", test.host, test.source, got)
		}
		if got != nil && (!strings.Contains(got.Error(), test.host) || !strings.Contains(got.Error(), test.source)) {
			t.Errorf("%q does not name both addresses", got)
		}
	}
}

// Where routes lead to parts of the underlay, an address of each is looked at.
func TestSomePeers(t *testing.T) {
	f := fanOf(t, "fan-250", "fan1 underlay=10.0.1.1/16 overlay=250.0.0.0/8 dev=eth0 type=vxlan mtu=1450 port=8472")
	ownOnly := cabled(route("10.0.1.1/32", 2, false), route("0.0.0.0/0", 2, true))
	links := cabled(route("10.0.1.0/31", 2, false), route("10.0.3.0/31", 3, true))
	parts := cabled(route("10.0.1.0/24", 2, false), route("10.0.3.4/32", 3, true), route("10.0.3.4/32", 4, true), route("10.0.7.0/24", 5, false), route("0.0.0.0/0", 2, true))
	for want, s := range map[string]kernel.State{"[10.0.1.2 10.0.3.4]": parts, "[10.0.1.0 10.0.3.0]": links, "[10.0.0.1]": cabled(route("10.0.0.0/16", 2, false))} {
		if got := fmt.Sprint(somePeers(f, s)); got != want {
			t.Errorf("peers are %s, want %s", got, want)
		}
	}
	if got, want := fmt.Sprint(somePeers(f, ownOnly)), "[10.0.0.1]"; got != want {
		t.Errorf("with a route to itself only, peers are %s, want %s", got, want)
	}
}
