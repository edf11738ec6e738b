package firewall

import (
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// answer is whether packets match. The opposite of one is always-answer.
type answer int

const (
	never answer = iota
	maybe
	always
)

// condition is one thing that a rule asks for: "! -i eth0".
type condition struct {
	option, value string
	not           bool
}

// asked is what Rule.Spec says.
type asked struct {
	conditions []condition
	target     string // "" if there is none
	leaves     bool   // for good: -g, not -j
}

// readRule takes a rule apart. Options that it does not know are conditions without a
// value, and so are their values: both are not understood.
func readRule(spec string) asked {
	var r asked
	not := false
	words := strings.Fields(unquoted(spec))
	for i := 0; i < len(words); i++ {
		option, value := words[i], ""
		if option == "!" {
			not = true
			continue
		}
		if i+1 < len(words) && hasValue(option) {
			i++
			value = words[i]
		}
		if option == "-j" || option == "-g" {
			r.target, r.leaves = value, option == "-g" // what follows is for the target
			return r
		}
		r.conditions = append(r.conditions, condition{option, value, not})
		not = false
	}
	return r
}

func hasValue(option string) bool {
	return slices.Contains([]string{"-s", "-d", "-i", "-o", "-p", "-m", "-j", "-g", "--comment", "--mark",
		"--src-type", "--dst-type", "--physdev-in", "--physdev-out"}, option)
}

// unquoted puts another word where something stands in quotes, such as a comment.
func unquoted(spec string) string {
	var b strings.Builder
	inside, escaped := false, false
	for _, c := range spec {
		switch {
		case escaped:
			escaped = false
		case inside && c == '\\':
			escaped = true
		case c == '"':
			inside = !inside
			b.WriteByte('x')
		case !inside:
			b.WriteRune(c)
		}
	}
	return b.String()
}

// match says whether the leg's packets match a rule of the chain.
func (w *walk) match(r asked, table, chain string) answer {
	result := always
	for _, c := range r.conditions {
		a := w.condition(c)
		// A fan's rule of nat asks for the slice, which is the source of all that is
		// sent here.
		if c.option == "-s" && a == maybe && table == "nat" && w.leg.sent && w.passage.Own(chain) {
			a = always
		}
		if c.not {
			a = always - a
		}
		result = min(result, a)
	}
	return result
}

func (w *walk) condition(c condition) answer {
	switch c.option {
	case "-i":
		return onDevice(c.value, w.leg.in)
	case "-o":
		return onDevice(c.value, w.leg.out)
	case "-s", "-d":
		return inside(c.value, w.passage)
	case "-p":
		return ofProtocol(c.value)
	case "--src-type", "--dst-type":
		return ofType(c.value)
	case "--physdev-in", "--physdev-out":
		return w.onPort(c)
	case "--physdev-is-bridged":
		if !w.passage.Bridged && !c.not {
			return never
		}
	case "--mark":
		return marked(c.value)
	case "--comment":
		return always
	case "-m":
		if slices.Contains([]string{"comment", "tcp", "udp", "addrtype", "mark"}, c.value) {
			return always // it asks for nothing by itself
		}
	}
	return maybe
}

// onDevice compares with a device's name; a + at the end is any end.
func onDevice(pattern, device string) answer {
	start, open := strings.CutSuffix(pattern, "+")
	if device == pattern || open && strings.HasPrefix(device, start) {
		return always
	}
	return never
}

// onPort is about the bridge's port by which a packet came or leaves. Whether
// netfilter knows it depends on the hook.
func (w *walk) onPort(c condition) answer {
	if !c.not && !slices.ContainsFunc(w.passage.Devices, func(d string) bool { return onDevice(c.value, d) == always }) {
		return never
	}
	return maybe
}

// inside says whether an address of the passage is one of the network. Bridged, what is
// for the host's own address may be translated and never reach the host.
func inside(network string, passage Passage) answer {
	p, err := netip.ParsePrefix(network)
	if err != nil {
		return maybe // a mask with holes
	}
	switch {
	case !p.Overlaps(passage.Overlay), !passage.Bridged && p.IsSingleIP() && slices.Contains(passage.Local, p.Addr()):
		return never
	case p.Bits() <= passage.Overlay.Bits():
		return always
	}
	return maybe
}

func ofProtocol(name string) answer {
	switch name {
	case "all", "0":
		return always
	case "tcp", "udp", "6", "17":
		return maybe
	}
	return never
}

// ofType is about the kind of an address, which here is neither the host's nor one of many.
func ofType(list string) answer {
	for kind := range strings.SplitSeq(list, ",") {
		if !slices.Contains([]string{"LOCAL", "BROADCAST", "MULTICAST", "ANYCAST"}, kind) {
			return maybe
		}
	}
	return never
}

// marked is about a packet's or its connection's mark. Containers can't set them for the
// host, so they are 0 unless a rule sets them, which is an obstacle itself.
func marked(value string) answer {
	wanted, _, _ := strings.Cut(value, "/")
	if n, err := strconv.ParseUint(wanted, 0, 32); err != nil || n == 0 {
		return maybe
	}
	return never
}
