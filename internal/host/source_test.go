package host

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/fanctl/fanctl/fan"
)

func TestSourceError(t *testing.T) {
	m, err := fan.NewMapping(netip.MustParsePrefix("10.0.0.0/16"), netip.MustParsePrefix("250.0.0.0/8"))
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		host, source, peer string
		wrong              bool
	}{
		{host: "10.0.0.8", source: "10.0.0.8", peer: "10.0.0.1"},
		{host: "10.0.0.1", source: "10.0.0.1", peer: "10.0.0.2"},
		{host: "10.0.0.8", source: "10.0.0.9", peer: "10.0.0.1", wrong: true},
		{host: "10.0.0.8", peer: "10.0.0.1"},
	} {
		f := fan.Fan{Mapping: m, Host: netip.MustParseAddr(test.host)}
		source, err := netip.ParseAddr(test.source)
		peer := somePeer(f)
		if peer.String() != test.peer {
			t.Errorf("peer of %s is %s, want %s", test.host, peer, test.peer)
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
