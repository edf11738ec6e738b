package bed

import (
	"crypto/ecdh"
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"net/netip"
	"testing"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// Devices on top of a host's card, and addresses on them.

// readdress takes the addresses of a device away and gives another one the host's
// address, with the way to the router.
func (h *Host) readdress(t testing.TB, device string) {
	t.Helper()
	subnet := netip.PrefixFrom(h.Addr, h.bed.hostBits()).Masked()
	h.IP(t, "addr flush dev eth0", fmt.Sprintf("addr add %s/%d brd + dev %s", h.Addr, subnet.Bits(), device),
		"link set "+device+" up", fmt.Sprintf("route replace default via %s", LastUsable(subnet)))
}

// OnBridge makes the card of every host a port of a bridge, br0, that has its address.
func (b *Bed) OnBridge(t testing.TB) {
	t.Helper()
	for _, h := range b.Hosts {
		h.IP(t, fmt.Sprintf("link add br0 mtu %d type bridge forward_delay 0 stp_state 0 mcast_snooping 0", b.MTU), "link set eth0 master br0")
		h.readdress(t, "br0")
	}
}

// OnBond makes the card of every host the one of a bond, bond0, that has its address.
func (b *Bed) OnBond(t testing.TB) {
	t.Helper()
	for _, h := range b.Hosts {
		h.IP(t, fmt.Sprintf("link add bond0 mtu %d type bond mode active-backup miimon 100", b.MTU),
			"link set eth0 down", "link set eth0 master bond0")
		h.readdress(t, "bond0")
	}
}

// OnVLAN puts the addresses of all hosts, and the router's, on a VLAN of their card, eth0.7.
func (b *Bed) OnVLAN(t testing.TB) {
	t.Helper()
	for _, h := range b.Hosts {
		h.IP(t, "link add link eth0 name eth0.7 type vlan id 7")
		h.readdress(t, "eth0.7")
	}
	const leg = "sub0"
	b.Router.IP(t, "link add link "+leg+" name "+leg+".7 type vlan id 7", "addr flush dev "+leg,
		fmt.Sprintf("addr add %s/%d dev %s.7", LastUsable(b.Underlay), b.hostBits(), leg), "link set "+leg+".7 up")
}

// tunnelMTU is what WireGuard leaves of 1500 bytes: 40 for an IPv6 header, 8 for UDP
// and 32 of its own.
const tunnelMTU = 1420

// OnWireGuard gives every host a device wg0 through which it reaches the others, and
// makes that network the bed's underlay: the addresses are the same but for the first
// two bytes, 10.99. The way to the world is still the card's.
func (b *Bed) OnWireGuard(t testing.TB) {
	t.Helper()
	type end struct {
		key *ecdh.PrivateKey
		at  netip.AddrPort // outside
	}
	ends := map[*Host]end{}
	for _, h := range b.Hosts {
		key, err := ecdh.X25519().GenerateKey(rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		ends[h] = end{key, netip.AddrPortFrom(h.Addr, 51820)}
		inside := h.Addr.As4()
		inside[0], inside[1] = 10, 99
		h.Addr = netip.AddrFrom4(inside)
		h.IP(t, fmt.Sprintf("link add wg0 mtu %d type wireguard", tunnelMTU), fmt.Sprintf("addr add %s/16 dev wg0", h.Addr), "link set wg0 up")
	}
	for _, h := range b.Hosts {
		var peers []wireguardPeer
		for _, other := range b.Hosts {
			if other != h {
				peers = append(peers, wireguardPeer{ends[other].key.PublicKey().Bytes(), ends[other].at, other.Addr})
			}
		}
		err := h.Do(func() error { return setWireGuard("wg0", ends[h].key.Bytes(), ends[h].at.Port(), peers) })
		if err != nil {
			t.Fatalf("in %s: set up wg0: %v", h.Name, err)
		}
	}
	b.Underlay, b.MTU = netip.MustParsePrefix("10.99.0.0/16"), tunnelMTU
}

// wireguardPeer is another end: its key, where it is, and the one address inside of
// the tunnel that is its own.
type wireguardPeer struct {
	key  []byte
	at   netip.AddrPort
	addr netip.Addr
}

// Numbers of include/uapi/linux/wireguard.h.
const (
	wgSetDevice   = 1
	wgVersion     = 1
	wgDevName     = 2
	wgDevKey      = 3
	wgDevPort     = 6
	wgDevPeers    = 8
	wgPeerKey     = 1
	wgPeerAt      = 4
	wgPeerAllowed = 9
	wgIPFamily    = 1
	wgIPAddress   = 2
	wgIPMask      = 3
)

// setWireGuard sets up a device in the namespace of the calling thread.
func setWireGuard(device string, key []byte, port uint16, peers []wireguardPeer) error {
	family, err := netlink.GenlFamilyGet("wireguard")
	if err != nil {
		return err
	}
	request := nl.NewNetlinkRequest(int(family.ID), unix.NLM_F_ACK)
	request.AddData(&nl.Genlmsg{Command: wgSetDevice, Version: wgVersion})
	request.AddData(nl.NewRtAttr(wgDevName, nl.ZeroTerminated(device)))
	request.AddData(nl.NewRtAttr(wgDevKey, key))
	request.AddData(nl.NewRtAttr(wgDevPort, nl.Uint16Attr(port)))
	list := nl.NewRtAttr(wgDevPeers|unix.NLA_F_NESTED, nil)
	for _, p := range peers {
		peer := list.AddRtAttr(unix.NLA_F_NESTED, nil)
		peer.AddRtAttr(wgPeerKey, p.key)
		peer.AddRtAttr(wgPeerAt, socketAddress(p.at))
		allowed := peer.AddRtAttr(wgPeerAllowed|unix.NLA_F_NESTED, nil).AddRtAttr(unix.NLA_F_NESTED, nil)
		allowed.AddRtAttr(wgIPFamily, nl.Uint16Attr(unix.AF_INET))
		allowed.AddRtAttr(wgIPAddress, p.addr.AsSlice())
		allowed.AddRtAttr(wgIPMask, []byte{32})
	}
	request.AddData(list)
	_, err = request.Execute(unix.NETLINK_GENERIC, 0)
	return err
}

// socketAddress is struct sockaddr_in.
func socketAddress(a netip.AddrPort) []byte {
	b := make([]byte, 16)
	binary.NativeEndian.PutUint16(b, unix.AF_INET)
	binary.BigEndian.PutUint16(b[2:], a.Port())
	copy(b[4:], a.Addr().AsSlice())
	return b
}
