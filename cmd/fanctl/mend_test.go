package main

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/fanctl/fanctl/internal/host"
	"github.com/fanctl/fanctl/internal/plan"
)

// What was put right is one line, whatever it was.
func TestMended(t *testing.T) {
	now := statuses(t)[0].Fan
	moved, renamed, shorter := now, now, now
	moved.Host, moved.Device = netip.MustParseAddr("10.0.3.4"), "wlan0"
	renamed.Device = "eno1"
	shorter.MTU = 1380
	steps := plan.Plan{{Text: "ip route replace 250.0.0.0/8 via 250.0.0.0"}, {Text: "sysctl -w net/ipv4/ip_forward=1"},
		{Text: "iptables -N A\niptables -N B"}, {Text: "ip route del x"}, {Text: "kill 7 # dnsmasq"}}
	var text strings.Builder
	for _, r := range []host.Result{{Plan: steps[:1]}, {Plan: steps, Was: &now}, {Plan: steps, Was: &moved}, {Plan: steps, Was: &renamed}, {Plan: steps, Was: &shorter}} {
		r.Fan = now
		text.WriteString(mended(r) + "\n")
	}
	checkGolden(t, "mended", text.String())
}
