package kernel

import (
	"errors"
	"net"
	"net/netip"
	"reflect"
	"slices"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

func TestLinkFromNetlink(t *testing.T) {
	mac := net.HardwareAddr{0x06, 0xfa, 10, 0, 0, 45}
	attributes := func(name string) netlink.LinkAttrs {
		return netlink.LinkAttrs{Name: name, Index: 7, MTU: 1450, MasterIndex: 3, Alias: "a b", HardwareAddr: mac, EncapType: "ether"}
	}
	up := attributes("eth0")
	up.Flags, up.RawFlags = net.FlagUp|net.FlagBroadcast, unix.IFF_NOARP
	up.Statistics = &netlink.LinkStatistics{RxFrameErrors: 5}
	same := Link{Index: 7, MTU: 1450, MAC: [6]byte(mac), Master: 3, Alias: "a b", Ethernet: true}
	for _, test := range []struct {
		link netlink.Link
		want func(*Link)
	}{
		{&netlink.Device{LinkAttrs: up}, func(l *Link) { l.Name, l.Kind, l.Up, l.NoARP, l.FrameErrors = "eth0", "device", true, true, 5 }},
		{&netlink.Bridge{LinkAttrs: attributes("fan-250")}, func(l *Link) { l.Name, l.Kind = "fan-250", "bridge" }},
		{&netlink.Vxlan{LinkAttrs: attributes("ftun-250"), FlowBased: true, Port: 8472},
			func(l *Link) { l.Name, l.Kind, l.External, l.Port = "ftun-250", "vxlan", true, 8472 }},
		{&netlink.Vxlan{LinkAttrs: attributes("flannel.1"), VxlanId: 1, Port: 8472},
			func(l *Link) { l.Name, l.Kind, l.Port = "flannel.1", "vxlan", 8472 }},
		{&netlink.Iptun{LinkAttrs: netlink.LinkAttrs{Name: "ftun-ipip", Index: 7, EncapType: "ipip"}, FlowBased: true},
			func(l *Link) { *l = Link{Name: "ftun-ipip", Kind: "ipip", Index: 7, External: true} }},
		{&netlink.Device{LinkAttrs: netlink.LinkAttrs{Name: "lo", Index: 1, MTU: 65536, Flags: net.FlagLoopback, EncapType: "loopback"}},
			func(l *Link) { *l = Link{Name: "lo", Kind: "device", Index: 1, MTU: 65536, Loopback: true} }},
	} {
		want := same
		test.want(&want)
		if got := linkFrom(test.link); got != want {
			t.Errorf("the link is\n%+v, want\n%+v", got, want)
		}
	}
}

func TestLinksOfState(t *testing.T) {
	s := State{Links: []Link{{Name: "lo", Index: 1}, {Name: "eth0", Index: 4}}, Clsact: []int{4}}
	if l, there := s.Link("eth0"); !there || l.Index != 4 {
		t.Errorf("eth0 is %+v, %t", l, there)
	}
	if l, there := s.LinkAt(1); !there || l.Name != "lo" {
		t.Errorf("link 1 is %+v, %t", l, there)
	}
	if _, there := s.Link("eth"); there {
		t.Error("eth is there")
	}
	if _, there := s.LinkAt(0); there {
		t.Error("link 0 is there")
	}
	if !s.HasClsact(4) || s.HasClsact(1) {
		t.Errorf("clsact at 4 %t, at 1 %t", s.HasClsact(4), s.HasClsact(1))
	}
}

// The main table's default routes come first, in its order; a device is named
// once, and one that has gone not at all.
func TestDefaultDevices(t *testing.T) {
	route := func(destination string, link, table int) Route {
		return Route{Destination: netip.MustParsePrefix(destination), Link: link, Table: table}
	}
	s := State{
		Links: []Link{{Name: "wg0", Index: 5}, {Name: "eth0", Index: 2}, {Name: "eth1", Index: 3}, {Name: "eth2", Index: 4}},
		Routes: []Route{
			route("0.0.0.0/0", 5, 51820), route("0.0.0.0/0", 3, unix.RT_TABLE_MAIN), route("0.0.0.0/0", 2, unix.RT_TABLE_MAIN),
			route("0.0.0.0/0", 3, 100), route("0.0.0.0/1", 4, unix.RT_TABLE_MAIN), route("0.0.0.0/0", 9, unix.RT_TABLE_MAIN),
		},
	}
	if got, want := s.DefaultDevices(), []string{"eth1", "eth0", "wg0"}; !slices.Equal(got, want) {
		t.Errorf("the default devices are %q, want %q", got, want)
	}
	if got := (State{}).DefaultDevices(); len(got) != 0 {
		t.Errorf("no host has the default devices %q", got)
	}
}

func TestAddressesFromNetlink(t *testing.T) {
	for _, test := range []struct {
		ip   net.IP
		want string
	}{
		{net.IPv4(10, 0, 0, 45), "10.0.0.45"}, // 16 bytes
		{net.IP{10, 0, 0, 45}, "10.0.0.45"}, {nil, "invalid IP"}, {net.ParseIP("fe80::1"), "fe80::1"},
	} {
		if got := addrFrom(test.ip); got.String() != test.want {
			t.Errorf("%v is %s, want %s", test.ip, got, test.want)
		}
	}
	if got := prefixFrom(&net.IPNet{IP: net.IPv4(250, 0, 45, 1), Mask: net.CIDRMask(8, 32)}); got.String() != "250.0.45.1/8" {
		t.Errorf("the prefix is %s, want 250.0.45.1/8: host bits stay", got)
	}
}

// A dump that was interrupted is asked for again, other errors are not, and it
// ends.
func TestRetry(t *testing.T) {
	other := errors.New("other")
	for name, test := range map[string]struct {
		errors []error // of one call after the other; the last also of those after it
		calls  int
		want   error
	}{
		"at once":           {[]error{nil}, 1, nil},
		"interrupted twice": {[]error{netlink.ErrDumpInterrupted, netlink.ErrDumpInterrupted, nil}, 3, nil},
		"another error":     {[]error{other}, 1, other},
		"always":            {[]error{netlink.ErrDumpInterrupted}, 10, netlink.ErrDumpInterrupted},
	} {
		calls := 0
		list, err := retry(func() ([]int, error) {
			calls++
			return []int{calls}, test.errors[min(calls, len(test.errors))-1]
		})
		if calls != test.calls || !errors.Is(err, test.want) || !slices.Equal(list, []int{calls}) {
			t.Errorf("%s: %d calls, %v, %v; want %d, %v", name, calls, list, err, test.calls, test.want)
		}
	}
}

func TestIsGone(t *testing.T) {
	for _, test := range []struct {
		err  error
		gone bool
	}{
		{nil, false}, {unix.ENODEV, true}, {unix.EINVAL, true}, {unix.EPERM, false}, {unix.EBUSY, false},
		{errors.Join(errors.New("find"), unix.ENODEV), true}, {netlink.LinkNotFoundError{}, true},
	} {
		if got := IsGone(test.err); got != test.gone {
			t.Errorf("%v: gone %t, want %t", test.err, got, test.gone)
		}
	}
}

func TestStateWithoutLinks(t *testing.T) {
	at := func(link int) State {
		return State{
			Links: []Link{{Index: link}}, Addresses: []Address{{Link: link}}, Routes: []Route{{Link: link}}, Clsact: []int{link},
			Filters: []Filter{{Link: link}},
		}
	}
	all, want := at(1), at(2)
	for _, link := range []int{2, 3} {
		more := at(link)
		all.Links, all.Addresses, all.Routes = append(all.Links, more.Links...), append(all.Addresses, more.Addresses...), append(all.Routes, more.Routes...)
		all.Clsact, all.Filters = append(all.Clsact, more.Clsact...), append(all.Filters, more.Filters...)
	}
	all.TCX, want.TCX = true, true
	if got := all.Without(1, 3); !reflect.DeepEqual(got, want) {
		t.Errorf("what is left is %+v, want %+v", got, want)
	}
	if len(all.Links) != 3 || all.Links[0].Index != 1 || all.Filters[0].Link != 1 {
		t.Errorf("the state itself has become %+v", all)
	}
}
