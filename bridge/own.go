package bridge

import (
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/fanctl/fanctl/fan"
	"github.com/fanctl/fanctl/internal/firewall"
)

// shapes returns what a fan's rules in one of our chains look like, those that rules
// makes and, behind them, those of earlier versions. Words in capitals stand for what
// a fan has, or had when the host's address, port or way out was another. Other rules
// are somebody else's, who wants them to stay.
func shapes(chain string) []string {
	switch chain {
	case chainForward:
		return []string{
			"-d OVERLAY -i BRIDGE -j ACCEPT",
			"-s OVERLAY -i TUNNEL -j ACCEPT",
			"-i BRIDGE -o DEVICE -j ACCEPT",
			"-o BRIDGE -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT",

			"-s SLICE -d OVERLAY -i BRIDGE -j ACCEPT",
			"-s SLICE -d OVERLAY -i BRIDGE -o TUNNEL -j ACCEPT",
			"-s OVERLAY -d SLICE -i TUNNEL -j ACCEPT",
			"-s OVERLAY -d SLICE -i TUNNEL -o BRIDGE -j ACCEPT",
		}
	case chainInput:
		return []string{
			"-s OVERLAY -d GATEWAY -p icmp -m icmp --icmp-type 8 -j ACCEPT",
			"-i BRIDGE -p udp -m udp --dport 67 -j ACCEPT",
			"-s OVERLAY -d GATEWAY -i BRIDGE -p udp -m udp --dport 53 -j ACCEPT",
			"-s OVERLAY -d GATEWAY -i BRIDGE -p tcp -m tcp --dport 53 -j ACCEPT",
		}
	case chainNAT:
		return []string{
			"-s SLICE -d OVERLAY -j ACCEPT",
			"-s SLICE ! -o BRIDGE -j MASQUERADE",
		}
	case chainRaw:
		return []string{
			"-s OVERLAY -j ACCEPT",

			"-s OVERLAY -d SLICE -j ACCEPT",
			"-s OVERLAY -d SLICE -i TUNNEL -j ACCEPT",
		}
	default:
		return nil
	}
}

// tunnelShapes are those of tunnelRule.
func tunnelShapes() []string {
	return []string{
		"-s UNDERLAY -d HOST -p 4 -j ACCEPT",
		"-s UNDERLAY -d HOST -p udp -m udp --dport PORT -j ACCEPT",
	}
}

// notOthers returns which rules of our chains are the fan's, as it is or as it
// once was, and not another fan's or somebody else's.
func notOthers(f fan.Fan, others []Other) func(firewall.Rule) bool {
	return func(r firewall.Rule) bool {
		if r.Chain == chainInput && hasShape(f, r.Spec, tunnelShapes()) {
			return !slices.ContainsFunc(others, func(o Other) bool { return tunnelRule(o.Fan) == r })
		}
		return hasShape(f, r.Spec, shapes(r.Chain))
	}
}

func hasShape(f fan.Fan, spec string, shapes []string) bool {
	words := strings.Fields(spec)
	return slices.ContainsFunc(shapes, func(shape string) bool {
		return slices.EqualFunc(strings.Fields(shape), words, func(shape, word string) bool { return stands(f, shape, word) })
	})
}

// stands says whether a rule's word is what a shape's word stands for.
func stands(f fan.Fan, shape, word string) bool {
	underlay, overlay := f.Mapping.Underlay(), f.Mapping.Overlay()
	prefix, _ := netip.ParsePrefix(word)
	switch shape {
	case "UNDERLAY":
		return prefix == underlay
	case "HOST":
		return prefix.IsSingleIP() && underlay.Contains(prefix.Addr())
	case "PORT":
		_, err := strconv.ParseUint(word, 10, 16)
		return err == nil
	case "OVERLAY":
		return prefix == overlay
	case "SLICE":
		return prefix.Bits() == f.Mapping.SliceBits() && overlay.Contains(prefix.Addr())
	case "GATEWAY":
		return prefix.IsSingleIP() && overlay.Contains(prefix.Addr())
	case "BRIDGE":
		return word == f.Bridge
	case "TUNNEL":
		return word == fan.SharedTunnel || word == fan.TunnelName(overlay)
	case "DEVICE":
		return true
	}
	return word == shape
}
