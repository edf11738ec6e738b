package firewall

import (
	"net/netip"
	"slices"
)

// Packets that go past the host's netfilter go past the rules of its operator as well. So
// this file looks for rules that would do something to such packets on their normal way.
// It walks the chains as the kernel does, and takes for granted only what it
// understands: a rule that it can't read could match, and nothing but a chain of
// ours is believed to accept all packets. For iptables over nftables prints a rule
// that nft has put into a table of its own without what it has no words for ("ip saddr
// @x accept" as "-j ACCEPT"). No rule is known by the name of who has made
// it: what Docker and LXD have by iptables asks for their own devices and addresses.

// Passage is packets of TCP and UDP that containers of one overlay send each other through
// this host. Neither address is the host's own, and nothing has marked them.
type Passage struct {
	Overlay netip.Prefix
	// Local are the host's own addresses inside of the overlay.
	Local []netip.Addr
	// Devices are those by which they come or leave: first the bridge, then the
	// tunnel, then the bridge's ports.
	Devices []string
	// Bridged says that they are bridged, not routed: of iptables they meet only what
	// bridge-nf-call-iptables leads there, and the rules of nftables' bridge family.
	Bridged bool
	// Own says whether a chain is a fan's.
	Own func(chain string) bool
}

// Obstacles returns the rules that could drop, change, log or lead elsewhere such packets, as
// the program that shows them prints them: "iptables -t filter -A FORWARD -s 250.0.0.0/8
// -j DROP", "nft table inet fw chain forward". There is none if a packet
// passes as if they were not there. Tables and a are of one moment, after the fan has its rules.
//
// A rule without a target only counts. A chain of nftables itself is one obstacle,
// whatever its rules are. A flowtable does nothing without a rule in such a chain.
func (t Tables) Obstacles(p Passage, a Around) []string {
	if len(p.Devices) == 0 {
		return nil
	}
	var found []string
	if a.seesIPv4(p) {
		for _, set := range []ruleset{{"iptables", t.Chains}, a.other} {
			for _, l := range p.legs() {
				w := walk{set: set, passage: p, leg: l, ends: map[[2]string]bool{}}
				w.all()
				found = append(found, w.found...)
			}
		}
		found = append(found, a.unread...)
	}
	found = append(found, a.nativeObstacles(p)...)
	return unique(found)
}

// ruleset is rules of iptables as the program prints them.
type ruleset struct {
	program string
	chains  map[string]map[string]Chain
}

// leg is one direction of a passage, by the devices that iptables sees.
type leg struct {
	in, out string
	sent    bool // by a container of this host, so the source is in the host's slice
}

// legs returns both directions. What is bridged comes and leaves, for
// iptables, by the bridge.
func (p Passage) legs() []leg {
	bridge, tunnel := p.Devices[0], p.Devices[0]
	if !p.Bridged && len(p.Devices) > 1 {
		tunnel = p.Devices[1]
	}
	return []leg{{bridge, tunnel, true}, {tunnel, bridge, false}}
}

// walk is the way of a leg's packets through the chains.
type walk struct {
	set     ruleset
	passage Passage
	leg     leg
	ends    map[[2]string]bool // by table and chain: all packets have been accepted by its end
	found   []string
}

// all goes through the tables in the order in which packets do.
func (w *walk) all() {
	for _, hook := range []string{"PREROUTING", "FORWARD", "POSTROUTING"} {
		for _, table := range []string{"raw", "mangle", "nat", "filter", "security"} {
			policy := w.set.chains[table][hook].Policy
			if !w.chain(table, hook) && policy == "DROP" {
				w.found = append(w.found, w.set.program+" -t "+table+" -P "+hook+" "+policy)
			}
		}
	}
}

// chain goes through a chain, and says whether no packet leaves it at its end or by
// RETURN.
func (w *walk) chain(table, name string) bool {
	key := [2]string{table, name}
	if ends, known := w.ends[key]; known {
		return ends
	}
	w.ends[key] = false
	leaks := false
	for _, spec := range w.set.chains[table][name].Rules {
		r := readRule(spec)
		match := w.match(r, table, name)
		if match == never {
			continue
		}
		end := false
		switch _, there := w.set.chains[table][r.target]; {
		case r.target == "":
		case r.target == "ACCEPT":
			end = w.passage.Own(name)
		case r.target == "RETURN":
			leaks = true
		case there:
			end = w.chain(table, r.target)
			leaks = leaks || r.leaves && !end
		default:
			w.found = append(w.found, w.set.program+" -t "+table+" -A "+name+" "+spec)
			end = r.target == "DROP" || r.target == "REJECT"
		}
		if end && match == always {
			w.ends[key] = !leaks
			break
		}
	}
	return w.ends[key]
}

// unique leaves out what comes again.
func unique(list []string) []string {
	var once []string
	for _, s := range list {
		if !slices.Contains(once, s) {
			once = append(once, s)
		}
	}
	return once
}
