package selftest

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/fanctl/fanctl/fan"
	"github.com/fanctl/fanctl/internal/probe"
	"github.com/fanctl/fanctl/tunnel"
)

// Facts is what has changed on a host while something was tried.
type Facts struct {
	// Counters is by how much the fan's counters have risen; nil if nobody can tell.
	Counters *tunnel.Counters `json:"counters,omitempty"`
	// Seen is how many echo requests of the other container have come to the test
	// container.
	Seen  int    `json:"seen,omitempty"`
	Drops []Drop `json:"drops,omitempty"` // firewall rules that have counted
}

// place is one of the two hosts, and what has changed there.
type place struct {
	About
	Facts
}

// flow is a burst of echo requests from one host's container to the other's, and
// what became of them.
//
//	container ── bridge, FORWARD ── tunnel: tx ──── rx: tunnel ── FORWARD, bridge ── container: seen
//	   answers ── rx: tunnel ───────────────────────────── tx: tunnel ── FORWARD, bridge ──┘
type flow struct {
	from, to place
	pings    probe.Answers
}

// cause says where the packets went. It goes along the way of the requests, then of
// the answers, and names the first stretch on which they are lost.
func (f flow) cause() *Cause {
	if f.pings.Answered > 0 && f.pings.Answered < f.pings.Sent {
		return &Cause{Loss, fmt.Sprintf("%d of %d packets between %s and %s are lost; a part of the way is overloaded or has two routes%s",
			f.pings.Sent-f.pings.Answered, f.pings.Sent, f.from.Host, f.to.Host, said(f.pings.Refusals))}
	}
	sent := uint64(max(f.pings.Sent, 1))
	// A vxlan fan is one flat network: where ARP gets no answer no request leaves, and
	// what can be followed is what ARP itself sends.
	unresolved := f.unresolved()
	if unresolved {
		sent = 1
	}
	if f.to.Seen == 0 {
		if c := stretch(f.from, f.to, sent); c != nil {
			return c
		}
	}
	if f.to.Seen > 0 || unresolved {
		if c := stretch(f.to, f.from, sent); c != nil {
			return c
		}
	}
	switch {
	case f.from.Counters == nil || f.to.Counters == nil:
		return &Cause{Unknown, fmt.Sprintf("no answer from the container of %s, and the fan's counters can't be read%s", f.to.Host, said(f.pings.Refusals))}
	case f.to.Seen > 0:
		return forward(f.from)
	case unresolved:
		return &Cause{Container, fmt.Sprintf("the container of %s does not answer ARP: is its interface up and on the fan's bridge?", f.to.Host)}
	}
	return forward(f.to)
}

// unresolved says whether ARP across the tunnel has got no answer: that of the
// container or, if the host is its way to others, that of the host.
func (f flow) unresolved() bool {
	if f.from.Type != fan.VXLAN.String() || f.to.Seen > 0 {
		return false
	}
	return f.to.Slice.Contains(f.pings.Unresolved) ||
		slices.ContainsFunc(f.pings.Refusals, func(r probe.Refusal) bool { return r.What == probe.HostUnreachable })
}

// stretch looks for the loss on the way from one host's bridge to the other's
// tunnel; nil if that many packets have come through.
func stretch(a, b place, sent uint64) *Cause {
	if a.Counters == nil || b.Counters == nil {
		return nil
	}
	switch {
	case a.Counters.Spoofed >= sent:
		return &Cause{Source, fmt.Sprintf("%s does not send for a source that is not in its slice %s (%d packets counted as spoofed): "+
			"the container has a foreign address, or NAT on %s changes it (see \"iptables -t nat -S POSTROUTING\")", a.Host, a.Slice, a.Counters.Spoofed, a.Host)}
	case a.Counters.NoRoute >= sent:
		return &Cause{Absent, fmt.Sprintf("%s has no route to %s: see \"ip route get %s\" there", a.Host, b.Host, b.Host)}
	case a.Counters.TxPackets < sent:
		return forward(a)
	case b.Counters.Spoofed >= sent:
		return &Cause{Source, fmt.Sprintf("%s refuses packets from %s, because their inner source does not belong to the host that sent them (%d counted as spoofed): "+
			"something between the hosts changes the outer address %s; the fan's packets need a way without NAT", b.Host, a.Host, b.Counters.Spoofed, a.Host)}
	case b.Counters.NotOurs >= sent:
		return &Cause{Differs, fmt.Sprintf("%s gets packets for a slice that is not its own (%d): do both hosts have the same underlay and overlay? See \"fanctl show\"",
			b.Host, b.Counters.NotOurs)}
	case b.Counters.RxPackets < sent:
		return blocked(a, b)
	}
	return nil
}

// forward is the cause when a host's stack drops between bridge and tunnel.
func forward(p place) *Cause {
	text := fmt.Sprintf("host %s drops packets that it forwards for the fan: ", p.Host)
	d, ok := dropIn(p.Drops, "INPUT", "OUTPUT")
	switch {
	case ok && strings.HasPrefix(d.Rule, "-P"):
		return &Cause{Forward, text + fmt.Sprintf("policy %q took %d; let \"fanctl up -e\" put the fan's own rules back, which come before it", d.Rule, d.Packets)}
	case ok:
		return &Cause{Forward, text + fmt.Sprintf("rule %q of table %s took %d; delete it there, or put it behind the fan's own rules", d.Rule, d.Table, d.Packets)}
	}
	return &Cause{Forward, text + "no rule of iptables has counted them; see \"iptables -S FORWARD\" and \"nft list ruleset\" there"}
}

// dropIn returns the rule that has counted most and is not in one of the chains.
func dropIn(drops []Drop, not ...string) (Drop, bool) {
	for _, d := range drops {
		if !slices.Contains(not, d.Chain) {
			return d, true
		}
	}
	return Drop{}, false
}

// blocked is the cause when what one host has sent does not reach the other.
func blocked(a, b place) *Cause {
	text := fmt.Sprintf("%s does not pass from %s to %s: %d sent, %d received; ", a.wire(), a.Host, b.Host, a.Counters.TxPackets, b.Counters.RxPackets)
	if d, ok := dropIn(b.Drops, "FORWARD"); ok {
		return &Cause{Blocked, text + fmt.Sprintf("on %s rule %q took %d packets", b.Host, d.Rule, d.Packets)}
	}
	return &Cause{Blocked, text + "let it through the firewalls (or security groups) of and between the hosts"}
}

// wire names what the fan's packets are between hosts.
func (a About) wire() string {
	if a.Type == fan.VXLAN.String() {
		return fmt.Sprintf("UDP port %d (vxlan)", a.Port)
	}
	return "IP protocol 4 (ipip)"
}

func said(refusals []probe.Refusal) string {
	var words []string
	for _, r := range refusals {
		words = append(words, r.String())
	}
	if len(words) == 0 {
		return ""
	}
	return "; " + strings.Join(words, "; ")
}

// tooBig is the cause when packets of the fan's MTU don't pass.
func tooBig(from, to About, p probe.Passed) *Cause {
	want := fmt.Sprintf("packets of %d bytes, the fan's MTU, do not pass from %s to %s", from.MTU, from.Host, to.Host)
	switch {
	case p.Largest == 0:
		return &Cause{Unknown, want + ", nor do small ones" + said(p.Refusals)}
	case to.MTU < from.MTU && p.Largest == to.MTU:
		return &Cause{TooBig, fmt.Sprintf("%s: the fan of %s has MTU %d; bring both up with \"--mtu %d\"", want, to.Host, to.MTU, to.MTU)}
	}
	if p.Largest < int(fan.MinMTU) {
		return &Cause{TooBig, fmt.Sprintf("%s: the largest that pass have %d, too few for a fan%s", want, p.Largest, said(p.Refusals))}
	}
	return &Cause{TooBig, fmt.Sprintf("%s: the largest that pass have %d; bring the fan up on both hosts with \"--mtu %d\"%s",
		want, p.Largest, p.Largest, said(p.Refusals))}
}

// transferCause is that of data which does not pass although echo requests of every
// size do.
func transferCause(why error, from, to place) *Cause {
	text := fmt.Sprintf("TCP from the container of %s to that of %s: %v, though pings pass", from.Host, to.Host, why)
	for _, p := range []place{from, to} {
		if d, ok := dropIn(p.Drops, "INPUT", "OUTPUT"); ok {
			return &Cause{Firewall, fmt.Sprintf("%s; on %s rule %q of table %s took %d packets", text, p.Host, d.Rule, d.Table, d.Packets)}
		}
	}
	return &Cause{Unknown, text + "; see the firewalls of both hosts (\"iptables -S FORWARD\", \"nft list ruleset\")"}
}

// differences is the cause when the fans of two hosts can't belong together, or the
// peer says of itself what can't be; nil if all is well. seen is the address that
// the caller has for the one that answered.
func differences(caller, answerer Hello, seen netip.Addr) *Cause {
	a, b := caller.Fan, answerer.Fan
	var differ []string
	compare := func(what string, one, other any) {
		if one != other {
			differ = append(differ, fmt.Sprintf("%s has %s %v, %s has %v", a.Host, what, one, b.Host, other))
		}
	}
	compare("underlay", a.Underlay, b.Underlay)
	compare("overlay", a.Overlay, b.Overlay)
	compare("type", a.Type, b.Type)
	if a.Type == b.Type && a.Type == fan.VXLAN.String() {
		compare("port", a.Port, b.Port)
	}
	if len(differ) > 0 {
		return &Cause{Differs, "the fans do not belong together: " + strings.Join(differ, "; ") + "; take one down and bring it up as the other is"}
	}
	if a.Host == b.Host {
		return &Cause{Differs, fmt.Sprintf("both hosts have the address %s: a host can't be tested against itself", a.Host)}
	}
	if seen != a.Host {
		return &Cause{Source, fmt.Sprintf("%s is seen by %s as %s: NAT between the hosts changes addresses; the fan's packets need a way without it", a.Host, b.Host, seen)}
	}
	for _, h := range []Hello{caller, answerer} {
		if !h.Fan.Slice.Contains(h.Container) {
			return &Cause{Source, fmt.Sprintf("the container of %s has the address %s, which is not in the host's slice %s: other hosts drop what it sends; start it anew",
				h.Fan.Host, h.Container, h.Fan.Slice)}
		}
	}
	return nil
}
