package host

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/fanctl/fanctl/bridge"
	"github.com/fanctl/fanctl/fan"
	"github.com/fanctl/fanctl/internal/kernel"
)

func TestWhyUp(t *testing.T) {
	s := plain()
	s.Addresses = append(s.Addresses, kernel.Address{Prefix: netip.MustParsePrefix("172.20.9.9/32"), Link: 1})
	for _, test := range []struct {
		underlay string
		change   func(*fan.Spec)
		datapath fan.Datapath
		up       bool
		want     string
	}{
		{"default/24", nil, fan.EBPF, false, `
underlay default/24 is 192.168.1.0/24: this host has 192.168.1.9 on eth1
slice 250.9.0.0/16: the 8 bits of overlay 250.0.0.0/8, then the 8 bits in which hosts of 192.168.1.0/24 differ, from 192.168.1.9
MTU 8980: the 9000 of eth1 less the 20 bytes that ipip puts before a packet
datapath ebpf: the kernel has no ipip device
to the world packets go by eth1 or wg0, with its address
no fan of overlay 250.0.0.0/8 is up`},
		{"eth0/16", func(r *fan.Spec) { r.MTU, r.NoNAT, r.Datapath = 1300, true, fan.Device }, fan.Device, true, `
underlay eth0/16 is 10.0.0.0/16: this host has 10.0.0.45 on eth0
slice 250.0.45.0/24: the 8 bits of overlay 250.0.0.0/8, then the 16 bits in which hosts of 10.0.0.0/16 differ, from 10.0.0.45
MTU 1300 as asked for; eth0 would leave 1480
datapath device: as asked for
fan-250 is up, as the alias of its bridge says; 0 steps bring it to what is wanted`},
		{"10.0.0.0/16", func(r *fan.Spec) { r.MTU, r.NoNAT, r.Datapath = 1300, true, fan.Device }, fan.Device, true, `
underlay 10.0.0.0/16: this host has 10.0.0.45 on eth0
slice 250.0.45.0/24: the 8 bits of overlay 250.0.0.0/8, then the 16 bits in which hosts of 10.0.0.0/16 differ, from 10.0.0.45
MTU 1300 as asked for; eth0 would leave 1480
datapath device: as asked for
fan-250 is up, as the alias of its bridge says; 0 steps bring it to what is wanted`},
		{"172.20.9.9/16", func(r *fan.Spec) { r.NoNAT, r.Datapath = true, fan.EBPF }, fan.EBPF, false, `
underlay 172.20.9.9/16 is 172.20.0.0/16: this host has 172.20.9.9 on lo and sends by eth1
slice 250.9.9.0/24: the 8 bits of overlay 250.0.0.0/8, then the 16 bits in which hosts of 172.20.0.0/16 differ, from 172.20.9.9
MTU 8980: the 9000 of eth1 less the 20 bytes that ipip puts before a packet
datapath ebpf: as asked for
no fan of overlay 250.0.0.0/8 is up`},
	} {
		r := request(t, test.underlay, "250.0.0.0/8", test.change)
		f, err := resolve(r, s)
		if err != nil {
			t.Fatal(err)
		}
		result := Result{Fan: f, Datapath: test.datapath}
		if test.up {
			result.Was = &f
		}
		checkReasons(t, whyUp(r, result, s), test.want)
	}
}

func TestWhyDown(t *testing.T) {
	f := fan.Fan{Bridge: "fan-250"}
	checkReasons(t, whyDown(f, true, []string{"c1", "c2"}, nil), `
fan-250 is up, as the alias of its bridge says
c1, c2: attached to fan-250, and detached by force
no other fan is up: the host gets back what fans have changed`)
	checkReasons(t, whyDown(f, false, nil, []bridge.Other{{Fan: fan.Fan{Bridge: "fan-10"}}, {Fan: fan.Fan{Bridge: "mine"}}}), `
fan-250 is not up; what an interrupted run may have left is looked for
what fans share stays for fan-10, mine`)
}

func checkReasons(t *testing.T, got []string, want string) {
	t.Helper()
	if text := "\n" + strings.Join(got, "\n"); text != want {
		t.Errorf("the reasons are%s\nwant%s", text, want)
	}
}
