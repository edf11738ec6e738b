package tunnel

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/fanctl/fanctl/fan"
	"github.com/fanctl/fanctl/internal/kernel"
	"github.com/fanctl/fanctl/internal/plan"
	"github.com/fanctl/fanctl/tunnel/bpf"
)

// One program that is missing or of another version is one step, whichever it
// is.
func TestPlanPutsOneProgramBack(t *testing.T) {
	for _, w := range everyWay(t) {
		for i := range built(t, w).Filters {
			s := built(t, w)
			f := s.Filters[i]
			owner := "fan-250"
			if f.Priority == priorityOfGuard {
				owner = guardOwner
			}
			program, _ := ownedBy(owner, f)
			device, _ := s.LinkAt(f.Link)
			direction := attachment{egress: f.Egress}.direction()

			s.Filters[i].Name = filterName(owner, program, "00000000")
			checkPlan(t, program+" of another version", w, s, fmt.Sprintf(
				"tc filter replace dev %s %s pref %d handle 1 bpf direct-action # %s", device.Name, direction, f.Priority, program))

			s.Filters = slices.Delete(s.Filters, i, i+1)
			priority := map[string]int{"eth0": priorityOnForeign}[device.Name]
			if priority == 0 {
				priority = priorityOnOwn
			}
			if owner == guardOwner {
				priority = priorityOfGuard
			}
			checkPlan(t, "without "+program, w, s, fmt.Sprintf(
				"tc filter add dev %s %s pref %d handle 1 bpf direct-action # %s", device.Name, direction, priority, program))
		}
	}
}

func TestPlanRepairsVXLAN(t *testing.T) {
	for name, test := range map[string]struct {
		breaks func(*kernel.Link)
		want   string
	}{
		"tunnel down":      {func(l *kernel.Link) { l.Up = false }, "ip link set ftun-250 up"},
		"tunnel elsewhere": {func(l *kernel.Link) { l.Master = 2 }, "ip link set ftun-250 master fan-250"},
		"another port":     {func(l *kernel.Link) { l.Port = 4789 }, "ip link del ftun-250" + vxlanSteps},
		"another address":  {func(l *kernel.Link) { l.MAC[5]++ }, "ip link del ftun-250" + vxlanSteps},
	} {
		w := wanted(t, fan.VXLAN, fan.Device)
		s := built(t, w)
		test.breaks(&s.Links[3])
		checkPlan(t, name, w, s, test.want)
	}
}

// What a killed up has left is completed: here the pair without anything on it.
func TestPlanCompletesPair(t *testing.T) {
	w := wanted(t, fan.IPIP, fan.EBPF)
	s := bare()
	s.Links = append(s.Links, kernel.Link{Name: "ftun-250", Kind: "veth", Index: 4, MTU: 1480, MAC: w.Fan.TunnelMAC()},
		kernel.Link{Name: "ftin-250", Kind: "veth", Index: 5, MTU: 1480, MAC: inletMAC(w.Fan)})
	_, all, _ := strings.Cut(directSteps[1:], "\n")
	checkPlan(t, "a pair", w, s, all)
}

// So is the ipip device alone, and a tunnel whose bridge somebody has removed.
func TestPlanCompletesOtherLeftovers(t *testing.T) {
	caught, direct := wanted(t, fan.IPIP, fan.Device), wanted(t, fan.IPIP, fan.EBPF)
	s := bare()
	s.Links = append(s.Links, kernel.Link{Name: "ftun-ipip", Kind: "ipip", Index: 6, External: true})
	checkPlan(t, "an ipip device", caught, s, strings.Replace(withDevice(directSteps), "\nip link add ftun-ipip type ipip external", "", 1))

	s = built(t, direct).Without(3)
	s.Links[3].Master, s.Links[3].Closed = 0, false
	checkPlan(t, "no bridge", direct, s, `
tc qdisc add dev fan-250 clsact
tc filter add dev fan-250 egress pref 1 handle 1 bpf direct-action # ipip_deliver
ip link set ftin-250 master fan-250
bridge link set dev ftin-250 learning off flood off mcast_flood off bcast_flood off`)
}

// Settings come before the device is up.
func TestPlanSetsBeforeUp(t *testing.T) {
	for _, w := range everyWay(t) {
		p, err := Plan(nil, w, bare())
		if err != nil {
			t.Fatal(err)
		}
		set := slices.IndexFunc(p, func(s plan.Step) bool { return s.Text == "sysctl -w net/ipv6/conf/"+w.Name()+"/disable_ipv6=1" })
		up := slices.IndexFunc(p, func(s plan.Step) bool { return s.Text == "ip link set "+w.Name()+" up" })
		if set < 0 || up < set {
			t.Errorf("%s: IPv6 is off in step %d, the device up in step %d", w.Name(), set, up)
		}
	}
}

// moved is the fan after the host's address has changed.
func moved(w Want) Want {
	w.Fan.Host = netip.MustParseAddr("10.0.7.1")
	return w
}

// movedSteps are those of a fan by eBPF alone whose host has another address.
const movedSteps = `
ip link del ftun-250
ip link add ftun-250 mtu 1480 address 06:fa:0a:00:07:01 type veth peer name ftin-250 mtu 1480 address 0e:fa:0a:00:07:01
ethtool -K ftun-250 tx-gre-segmentation off tx-gre-csum-segmentation off tx-ipxip4-segmentation off tx-ipxip6-segmentation off tx-udp_tnl-segmentation off tx-udp_tnl-csum-segmentation off
ip link set ftun-250 arp off
tc qdisc add dev ftun-250 clsact
tc filter add dev ftun-250 egress pref 1 handle 1 bpf direct-action # ipip_send
tc qdisc add dev ftin-250 clsact
tc filter add dev ftin-250 egress pref 1 handle 1 bpf direct-action # ipip_close
tc filter replace dev fan-250 egress pref 12 handle 1 bpf direct-action # ipip_deliver
tc filter replace dev eth0 ingress pref 13 handle 1 bpf direct-action # ipip_receive
tc filter add dev ftin-250 ingress pref 1 handle 1 bpf direct-action # ipip_pieces
ip link set ftin-250 master fan-250
bridge link set dev ftin-250 learning off flood off mcast_flood off bcast_flood off
ip link set ftun-250 up
ip link set ftin-250 up
ip route add 250.0.0.0/8 via 250.0.0.0 dev ftun-250 onlink src 250.7.1.1 mtu 1480`

// A device that carries the former address is made anew, with all that was on
// it, and what stays elsewhere is replaced.
func TestPlanMovesToAnotherHostAddress(t *testing.T) {
	for _, test := range []struct {
		w    Want
		want string
	}{
		{wanted(t, fan.IPIP, fan.EBPF), movedSteps},
		{wanted(t, fan.IPIP, fan.Device), strings.Replace(movedSteps, "\nip link set ftin-250 master",
			"\ntc filter replace dev ftun-ipip ingress pref 15 handle 1 bpf direct-action # ipip_whole\nip link set ftin-250 master", 1)},
		{wanted(t, fan.VXLAN, fan.Device), `
ip link del ftun-250
ip link add ftun-250 mtu 65485 address 06:fa:0a:00:07:01 type vxlan external vnifilter dstport 8472 nolearning
bridge vni add dev ftun-250 vni 16384000
tc qdisc add dev ftun-250 clsact
tc filter add dev ftun-250 egress pref 1 handle 1 bpf direct-action # vxlan_send
tc filter add dev ftun-250 ingress pref 1 handle 1 bpf direct-action # vxlan_receive
ip link set ftun-250 master fan-250
ip link set ftun-250 up`},
	} {
		checkPlan(t, test.w.Name(), moved(test.w), built(t, test.w), test.want)
	}
}

// The room of the former address is as good as a new one, and goes with the fan.
func TestRoomOutlivesHostAddress(t *testing.T) {
	w := wanted(t, fan.IPIP, fan.EBPF)
	w.Room = true
	s := built(t, w)
	s.Links = append(s.Links, kernel.Link{Name: "ftrm-250", Kind: "vxlan", Index: 9, MAC: roomMAC(w.Fan), Master: 3})
	if p, err := Plan(nil, moved(w), s); err != nil || planRoom(nil, moved(w), s) != nil {
		t.Errorf("the plan is\n%s, %v\nwant none for the room", withoutSettings(p), err)
	}
	if got := withoutSettings(planRoomAway(nil, moved(w).Fan, s)); got != "ip link del ftrm-250" {
		t.Errorf("the plan of down is %q", got)
	}
}

// Devices that are yet to be made get all of their settings, whatever those of
// their names have now.
func TestSettingsOfDeviceThatIsRemade(t *testing.T) {
	w := wanted(t, fan.VXLAN, fan.Device)
	want := "sysctl -w net/ipv6/conf/ftun-250/disable_ipv6=1"
	if p := planSettings(w, w.Name(), bare()); len(p) != 1 || p[0].Text != want {
		t.Errorf("the settings are %v, want %s", p, want)
	}
	w = wanted(t, fan.IPIP, fan.EBPF)
	if p := planSettings(w, w.Name(), bare()); len(p) != 4 {
		t.Errorf("the settings of an ipip tunnel are %v, want 4", p)
	}
	if p := planSettings(w, w.Fan.Inlet(), bare()); len(p) != 1 {
		t.Errorf("the settings of the inlet are %v, want 1", p)
	}
}

// The shared device alone does not say that this fan is on it.
func TestNotBuiltAsSomebodyElses(t *testing.T) {
	w := wanted(t, fan.IPIP, fan.Device)
	others, elsewhere := built(t, w), built(t, w)
	for i := range others.Filters {
		others.Filters[i].Name = "fan-251/ipip_whole/00000000"
		elsewhere.Filters[i].Link = 2
	}
	for name, s := range map[string]kernel.State{"another fan's": others, "programs elsewhere": elsewhere, "no device": built(t, w).Without(6)} {
		if d, there := BuiltAs(w.Fan, s); !there || d != fan.EBPF {
			t.Errorf("%s: the tunnel is built as %s, %t", name, d, there)
		}
		if d, there := BuiltAs(w.Fan, s.Without(4, 5)); there {
			t.Errorf("%s: without its pair the tunnel is built as %s", name, d)
		}
	}
}

func TestConfigNeedsTheDevices(t *testing.T) {
	for _, w := range everyWay(t) {
		needed := []string{w.Name(), "eth0"}
		switch {
		case w.ipip():
			needed = append(needed, "ftin-250")
		case w.Fan.Type == fan.VXLAN:
			needed = []string{w.Name(), "fan-250"}
		}
		for _, name := range needed {
			s := built(t, w)
			if _, complete := w.config(s); !complete {
				t.Errorf("%s: the constants of what is built are not complete", w.Name())
			}
			l, _ := s.Link(name)
			if _, complete := w.config(s.Without(l.Index)); complete {
				t.Errorf("%s: the constants are complete without %s", w.Name(), name)
			}
		}
	}
}

func TestConfigOfDevices(t *testing.T) {
	w := wanted(t, fan.IPIP, fan.EBPF)
	s := built(t, w)
	c, _ := w.config(s)
	if want := (bpf.Devices{Tunnel: 4, TunnelMAC: w.Fan.TunnelMAC(), Inlet: 5, Underlay: 2, LinkHeader: 14}); c != bpf.NewConfig(w.Fan, want) {
		t.Errorf("the constants are %+v, want those of %+v", c, want)
	}
	w.PlainSums, s.Links[1].Ethernet = true, false
	c, _ = w.config(s)
	if want := (bpf.Devices{Tunnel: 4, TunnelMAC: w.Fan.TunnelMAC(), Inlet: 5, Underlay: 2, PlainSums: true}); c != bpf.NewConfig(w.Fan, want) {
		t.Errorf("over a layer 3 device the constants are %+v, want those of %+v", c, want)
	}

	w = wanted(t, fan.IPIP, fan.Device)
	w.OuterFirst = true
	c, _ = w.config(built(t, w))
	if want := (bpf.Devices{Tunnel: 4, TunnelMAC: w.Fan.TunnelMAC(), Inlet: 5, Underlay: 2, LinkHeader: 14, Catches: true, OuterFirst: true}); c != bpf.NewConfig(w.Fan, want) {
		t.Errorf("with the ipip device the constants are %+v, want those of %+v", c, want)
	}
}

// A device that only has the inlet's name is somebody else's.
func TestPlanRefusesForeignInlet(t *testing.T) {
	s := bare()
	s.Links = append(s.Links, kernel.Link{Name: "ftin-250", Kind: "dummy", Index: 4})
	if _, err := Plan(nil, wanted(t, fan.IPIP, fan.EBPF), s); !errors.Is(err, fan.ErrUsage) || !strings.Contains(err.Error(), "ftin-250") {
		t.Errorf("error %v, want bad input that names the device", err)
	}
	if _, err := Plan(nil, wanted(t, fan.VXLAN, fan.Device), s); err != nil {
		t.Errorf("a vxlan fan needs no inlet: %v", err)
	}
}
