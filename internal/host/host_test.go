package host

import (
	"errors"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/fanctl/fanctl/fan"
	"github.com/fanctl/fanctl/internal/kernel"
)

// Aliases of fans of the host below.
const (
	ipipAlias  = "fan1 underlay=10.0.0.45/16 overlay=250.0.0.0/8 dev=eth0 type=ipip mtu=1480"
	vxlanAlias = "fan1 underlay=192.168.1.9/24 overlay=240.9.0.0/16 dev=eth1 type=vxlan mtu=1450 port=8472"
)

// plain is a host with two networks and a Docker bridge, and no fan. Its way out
// is eth1; wg0 has one for packets of a table of its own.
func plain() kernel.State {
	prefix := netip.MustParsePrefix
	return kernel.State{
		Links: []kernel.Link{
			{Name: "lo", Kind: "device", Index: 1, MTU: 65536, Up: true, Loopback: true},
			{Name: "eth0", Kind: "device", Index: 2, MTU: 1500, Up: true, Ethernet: true, MAC: [6]byte{0x52, 0x54, 0, 1, 2, 3}},
			{Name: "eth1", Kind: "device", Index: 3, MTU: 9000, Up: true, Ethernet: true, MAC: [6]byte{0x52, 0x54, 0, 1, 2, 4}},
			{Name: "docker0", Kind: "bridge", Index: 4, MTU: 1500, Up: true, Ethernet: true, MAC: [6]byte{0x02, 0x42, 1, 2, 3, 4}},
			{Name: "wg0", Kind: "wireguard", Index: 5, MTU: 1420, Up: true},
		},
		Addresses: []kernel.Address{
			{Prefix: prefix("127.0.0.1/8"), Link: 1}, {Prefix: prefix("10.0.0.45/16"), Link: 2},
			{Prefix: prefix("192.168.1.9/24"), Link: 3}, {Prefix: prefix("172.17.0.1/16"), Link: 4}, {Prefix: prefix("10.8.0.2/32"), Link: 5},
		},
		Routes: []kernel.Route{
			{Destination: prefix("0.0.0.0/0"), Link: 5, Table: 51820},
			{Destination: prefix("0.0.0.0/0"), Gateway: netip.MustParseAddr("192.168.1.1"), Link: 3, Table: unix.RT_TABLE_MAIN},
			{Destination: prefix("10.0.0.0/16"), Source: netip.MustParseAddr("10.0.0.45"), Link: 2, Table: unix.RT_TABLE_MAIN},
			{Destination: prefix("192.168.1.0/24"), Source: netip.MustParseAddr("192.168.1.9"), Link: 3, Table: unix.RT_TABLE_MAIN},
			{Destination: prefix("172.17.0.0/16"), Source: netip.MustParseAddr("172.17.0.1"), Link: 4, Table: unix.RT_TABLE_MAIN},
		},
	}
}

// withFan adds what the fan of an alias has on the host: bridge, tunnel, address
// and route.
func withFan(t *testing.T, s kernel.State, bridge, alias string) kernel.State {
	t.Helper()
	f := fanOf(t, bridge, alias)
	index := 10 * len(s.Links)
	tunnel := kernel.Link{Name: f.Tunnel(), Kind: "veth", Index: index + 1, MAC: f.TunnelMAC(), Up: true, Ethernet: true}
	route := kernel.Route{Destination: f.Mapping.Overlay(), Gateway: f.Mapping.Overlay().Addr(), Source: f.BridgeAddr(),
		Link: index + 1, MTU: int(f.MTU), Table: unix.RT_TABLE_MAIN}
	if f.Type == fan.VXLAN {
		tunnel.Kind, tunnel.External, tunnel.Port, tunnel.Master = "vxlan", true, f.Port, index
		route = kernel.Route{Destination: f.Mapping.Overlay(), Source: f.BridgeAddr(), Link: index, Table: unix.RT_TABLE_MAIN}
	}
	s.Links = append(s.Links, tunnel,
		kernel.Link{Name: bridge, Kind: "bridge", Index: index, MTU: int(f.MTU), MAC: f.BridgeMAC(), Alias: alias, Up: true, Ethernet: true})
	if f.Type == fan.IPIP {
		mac := f.TunnelMAC()
		mac[0] |= 0x08
		s.Links = append(s.Links, kernel.Link{Name: f.Inlet(), Kind: "veth", Index: index + 2, MAC: mac, Master: index, Up: true, Ethernet: true, Closed: true})
	}
	s.Addresses = append(s.Addresses, kernel.Address{Prefix: f.BridgePrefix(), Link: index})
	s.Routes = append(s.Routes, route)
	return s
}

func fanOf(t *testing.T, bridge, alias string) fan.Fan {
	t.Helper()
	f, _, err := fan.ParseAlias(bridge, alias)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// checkRefused fails the test unless the error is of bad input and names all of
// the words; without words there must be no error.
func checkRefused(t *testing.T, what string, err error, words string) {
	t.Helper()
	if words == "" {
		if err != nil {
			t.Errorf("%s: %v", what, err)
		}
		return
	}
	if !errors.Is(err, fan.ErrUsage) {
		t.Errorf("%s: error %v, want one of bad input", what, err)
		return
	}
	for word := range strings.FieldsSeq(words) {
		if !strings.Contains(err.Error(), word) {
			t.Errorf("%s: %q does not name %s", what, err, word)
		}
	}
}

func TestFansOf(t *testing.T) {
	s := withFan(t, withFan(t, plain(), "fan-250", ipipAlias+" fwd=0 tables=raw"), "mine", vxlanAlias)
	s.Links = append(s.Links,
		kernel.Link{Name: "dummy0", Kind: "dummy", Index: 90, Alias: ipipAlias}, // no bridge
		kernel.Link{Name: "br0", Kind: "bridge", Index: 91, Alias: "my bridge"})
	var names []string
	for _, k := range fansOf(s) {
		names = append(names, k.Bridge+" "+k.Mapping.Overlay().String())
	}
	if want := []string{"fan-250 250.0.0.0/8", "mine 240.9.0.0/16"}; !slices.Equal(names, want) {
		t.Errorf("fans are %q, want %q", names, want)
	}
	if facts := fansOf(s)[0].facts; !facts.ForwardingOff || !slices.Equal(facts.Tables, []string{"raw"}) {
		t.Errorf("the facts of the first are %+v", facts)
	}
	if fans := fansOf(plain()); len(fans) != 0 {
		t.Errorf("a plain host has %v", fans)
	}
}
