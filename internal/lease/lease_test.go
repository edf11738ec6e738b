package lease

import (
	"net"
	"net/netip"
	"testing"

	"github.com/insomniacslk/dhcp/dhcpv4"
)

func TestRead(t *testing.T) {
	tests := map[string]struct {
		address string
		options []dhcpv4.Option
		want    Lease // the zero value: refused
	}{
		"all": {"250.0.11.77", []dhcpv4.Option{dhcpv4.OptSubnetMask(net.CIDRMask(24, 32)), dhcpv4.OptRouter(net.IPv4(250, 0, 11, 1)),
			dhcpv4.OptGeneric(dhcpv4.OptionInterfaceMTU, []byte{0x05, 0xc8})},
			Lease{netip.MustParsePrefix("250.0.11.77/24"), netip.MustParseAddr("250.0.11.1"), 1480}},
		"no MTU, no router": {"250.0.11.77", []dhcpv4.Option{dhcpv4.OptSubnetMask(net.CIDRMask(8, 32))},
			Lease{Address: netip.MustParsePrefix("250.0.11.77/8")}},
		"no mask":    {address: "250.0.11.77"},
		"no address": {"0.0.0.0", []dhcpv4.Option{dhcpv4.OptSubnetMask(net.CIDRMask(8, 32))}, Lease{}},
		"mask of an odd kind": {"250.0.11.77", []dhcpv4.Option{
			dhcpv4.OptGeneric(dhcpv4.OptionSubnetMask, []byte{255, 0, 255, 0})}, Lease{}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			ack, err := dhcpv4.New(dhcpv4.WithYourIP(net.ParseIP(test.address)))
			if err != nil {
				t.Fatal(err)
			}
			for _, o := range test.options {
				ack.UpdateOption(o)
			}
			got, err := read(ack)
			if got != test.want || (err != nil) != (test.want == Lease{}) {
				t.Errorf("read %+v, %v, want %+v", got, err, test.want)
			}
		})
	}
}
