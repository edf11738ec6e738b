package bed

import "fmt"

// SecondCards gives every host a second card, eth1, and the router a leg, "second",
// at a switch of their own. The cards have no addresses yet.
func (b *Bed) SecondCards(mtu int) {
	b.t.Helper()
	plug := func(port string, ns *NS, card string) {
		b.switches.IP(b.t,
			fmt.Sprintf("link add %s mtu %d type veth peer name %s mtu %d netns %s", port, mtu, card, mtu, ns.Name),
			fmt.Sprintf("link set %s master second addrgenmode none up", port))
		ns.IP(b.t, "link set "+card+" up")
	}
	b.switches.IP(b.t, fmt.Sprintf("link add second mtu %d type bridge forward_delay 0 stp_state 0 mcast_snooping 0", mtu),
		"link set second addrgenmode none", "link set second up")
	plug("router-second", b.Router, "second")
	for i, h := range b.Hosts {
		plug(fmt.Sprintf("second%d", i+1), h.NS, "eth1")
	}
}
