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

// wanted is the fan of 10.0.0.45 over eth0.
func wanted(t *testing.T, kind fan.Type, d fan.Datapath) Want {
	t.Helper()
	m, err := fan.NewMapping(netip.MustParsePrefix("10.0.0.0/16"), netip.MustParsePrefix("250.0.0.0/8"))
	if err != nil {
		t.Fatal(err)
	}
	f := fan.Fan{Mapping: m, Host: netip.MustParseAddr("10.0.0.45"), Device: "eth0", Type: kind, Bridge: "fan-250", MTU: kind.MTU(1500), NAT: true}
	if kind == fan.VXLAN {
		f.Port = fan.DefaultPort
	}
	return Want{Fan: f, Datapath: d}
}

// bare is a host with the fan bridge and nothing of the tunnel.
func bare() kernel.State {
	return kernel.State{Links: []kernel.Link{
		{Name: "lo", Kind: "device", Index: 1, Loopback: true},
		{Name: "eth0", Kind: "device", Index: 2, MTU: 1500, Up: true, Ethernet: true},
		{Name: "fan-250", Kind: "bridge", Index: 3, MTU: 1480, Up: true, Ethernet: true},
	}}
}

// withoutSettings drops the steps that depend on this machine's /proc/sys.
func withoutSettings(p plan.Plan) string {
	var lines []string
	for _, s := range p {
		if !strings.HasPrefix(s.Text, "sysctl ") {
			lines = append(lines, s.Text)
		}
	}
	return strings.Join(lines, "\n")
}

func changed(s kernel.State, change func(*kernel.State)) kernel.State {
	change(&s)
	return s
}

func checkPlan(t *testing.T, what string, w Want, s kernel.State, want string) {
	t.Helper()
	p, err := Plan(nil, w, s)
	if err != nil {
		t.Fatalf("%s: %v", what, err)
	}
	if got := withoutSettings(p); got != strings.TrimSpace(want) {
		t.Errorf("%s: the plan is\n%s\nwant\n%s", what, got, want)
	}
}

const (
	directSteps = `
ip link add ftun-250 mtu 1480 address 06:fa:0a:00:00:2d type veth peer name ftin-250 mtu 1480 address 0e:fa:0a:00:00:2d
ethtool -K ftun-250 tx-gre-segmentation off tx-gre-csum-segmentation off tx-ipxip4-segmentation off tx-ipxip6-segmentation off tx-udp_tnl-segmentation off tx-udp_tnl-csum-segmentation off
ip link set ftun-250 arp off
tc qdisc add dev ftun-250 clsact
tc filter add dev ftun-250 egress pref 1 handle 1 bpf direct-action # ipip_send
tc qdisc add dev ftin-250 clsact
tc filter add dev ftin-250 egress pref 1 handle 1 bpf direct-action # ipip_close
tc qdisc add dev fan-250 clsact
tc filter add dev fan-250 egress pref 1 handle 1 bpf direct-action # ipip_deliver
tc qdisc add dev eth0 clsact
tc filter add dev eth0 ingress pref 250 handle 1 bpf direct-action # ipip_receive
tc filter add dev ftin-250 ingress pref 1 handle 1 bpf direct-action # ipip_pieces
ip link set ftin-250 master fan-250
bridge link set dev ftin-250 learning off flood off mcast_flood off bcast_flood off
ip link set ftun-250 up
ip link set ftin-250 up
ip route add 250.0.0.0/8 via 250.0.0.0 dev ftun-250 onlink src 250.0.45.1 mtu 1480`
	vxlanSteps = `
ip link add ftun-250 mtu 65485 address 06:fa:0a:00:00:2d type vxlan external vnifilter dstport 8472 nolearning
bridge vni add dev ftun-250 vni 16384000
tc qdisc add dev ftun-250 clsact
tc filter add dev ftun-250 egress pref 1 handle 1 bpf direct-action # vxlan_send
tc filter add dev ftun-250 ingress pref 1 handle 1 bpf direct-action # vxlan_receive
ip link set ftun-250 master fan-250
ip link set ftun-250 up`
)

const (
	// caughtDevice is what the ipip device is made of, before the fan's program is on it.
	caughtDevice = `
ip link add ftun-ipip type ipip external
tc qdisc add dev ftun-ipip clsact
tc filter add dev ftun-ipip ingress pref 60000 handle 1 bpf direct-action # guard
tc filter add dev ftun-ipip egress pref 60000 handle 1 bpf direct-action # guard`
	caughtProgram  = "\ntc filter add dev ftun-ipip ingress pref 1 handle 1 bpf direct-action # ipip_whole"
	caughtUp       = "\nip link set ftun-ipip up"
	caughtByItself = caughtDevice + caughtProgram + caughtUp
)

// withDevice returns the steps of a fan by eBPF alone with those of the ipip device where
// they belong.
func withDevice(steps string) string {
	return strings.NewReplacer(
		"\ntc qdisc add dev ftun-250 clsact", caughtDevice+"\ntc qdisc add dev ftun-250 clsact",
		"\nip link set ftin-250 master", caughtProgram+"\nip link set ftin-250 master",
		"\nip route", caughtUp+"\nip route").Replace(steps)
}

func TestPlanOnBareHost(t *testing.T) {
	for i, steps := range []string{directSteps, withDevice(directSteps), vxlanSteps} {
		w := everyWay(t)[i]
		checkPlan(t, w.Name(), w, bare(), steps)
		checkPlan(t, w.Name()+", bridge to be made", w, bare().Without(3), steps)
	}
}

// built is a host with the whole tunnel.
func built(t *testing.T, w Want) kernel.State {
	t.Helper()
	s := bare()
	tunnel := kernel.Link{Name: w.Name(), Kind: "veth", Index: 4, MTU: 1480, MAC: w.Fan.TunnelMAC(), NoARP: true, Up: true, Ethernet: true}
	if w.Fan.Type == fan.VXLAN {
		// The machine is asked for the device's network identifiers, and has none at that index.
		tunnel = kernel.Link{Name: w.Name(), Kind: "vxlan", Index: 1 << 20, MTU: maxVXLANMTU, MAC: w.Fan.TunnelMAC(), Master: 3,
			Up: true, Ethernet: true, External: true, Port: w.Fan.Port}
	}
	s.Links = append(s.Links, tunnel)
	if w.ipip() {
		s.Links = append(s.Links, kernel.Link{Name: w.Fan.Inlet(), Kind: "veth", Index: 5, MTU: 1480, MAC: inletMAC(w.Fan), Master: 3, Up: true, Closed: true})
	}
	if w.catches() {
		s.Links = append(s.Links, kernel.Link{Name: fan.SharedTunnel, Kind: "ipip", Index: 6, MTU: 1480, External: true, Up: true})
	}
	config, complete := w.config(s)
	if !complete {
		t.Fatal("devices are missing")
	}
	for i, a := range w.attachments(s) {
		l, _ := s.Link(a.device)
		s.Clsact = append(s.Clsact, l.Index)
		s.Filters = append(s.Filters, kernel.Filter{Link: l.Index, Egress: a.egress, Priority: uint16(10 + i), Handle: 1, Program: 100 + i,
			Name: filterName("fan-250", a.program, bpf.Fingerprint(a.program, config))})
	}
	if w.catches() {
		for i, egress := range []bool{false, true} {
			s.Filters = append(s.Filters, kernel.Filter{Link: 6, Egress: egress, Priority: priorityOfGuard, Handle: 1, Program: 200 + i,
				Name: filterName(guardOwner, bpf.Guard, bpf.Fingerprint(bpf.Guard, bpf.Config{}))})
		}
	}
	if route, needed := w.route(4); needed {
		s.Routes = []kernel.Route{route}
	}
	return s
}

// everyWay is the fan in each way that it can be built.
func everyWay(t *testing.T) []Want {
	t.Helper()
	return []Want{wanted(t, fan.IPIP, fan.EBPF), wanted(t, fan.IPIP, fan.Device), wanted(t, fan.VXLAN, fan.Device)}
}

func TestPlanOfWhatIsThere(t *testing.T) {
	for _, w := range everyWay(t) {
		checkPlan(t, w.Name(), w, built(t, w), "")
		if is, there := BuiltAs(w.Fan, built(t, w)); !there || is != w.Datapath {
			t.Errorf("%s is built as %s, %t, want %s", w.Name(), is, there, w.Datapath)
		}
		if _, there := BuiltAs(w.Fan, bare()); there {
			t.Error("a bare host has the tunnel")
		}
	}
}

// One thing that is not as it should be is one thing to do.
func TestPlanRepairs(t *testing.T) {
	for name, test := range map[string]struct {
		d      fan.Datapath
		breaks func(s *kernel.State)
		want   string
	}{
		"no route": {fan.EBPF, func(s *kernel.State) { s.Routes = nil },
			"ip route add 250.0.0.0/8 via 250.0.0.0 dev ftun-250 onlink src 250.0.45.1 mtu 1480"},
		"another route": {fan.EBPF, func(s *kernel.State) { s.Routes[0].MTU = 1300 },
			"ip route replace 250.0.0.0/8 via 250.0.0.0 dev ftun-250 onlink src 250.0.45.1 mtu 1480"},
		"another fan's route": {fan.Device, func(s *kernel.State) { s.Routes[0].Destination = netip.MustParsePrefix("251.0.0.0/8") },
			"ip route add 250.0.0.0/8 via 250.0.0.0 dev ftun-250 onlink src 250.0.45.1 mtu 1480"},
		"a route of another table": {fan.EBPF, func(s *kernel.State) { s.Routes[0].Table = 100 },
			"ip route add 250.0.0.0/8 via 250.0.0.0 dev ftun-250 onlink src 250.0.45.1 mtu 1480"},
		"a route by another link": {fan.EBPF, func(s *kernel.State) { s.Routes[0].Link = 2 },
			"ip route add 250.0.0.0/8 via 250.0.0.0 dev ftun-250 onlink src 250.0.45.1 mtu 1480"},
		"tunnel down":     {fan.EBPF, func(s *kernel.State) { s.Links[3].Up = false }, "ip link set ftun-250 up"},
		"tunnel asks":     {fan.EBPF, func(s *kernel.State) { s.Links[3].NoARP = false }, cutStep("ftun-250").Text + "\nip link set ftun-250 arp off"},
		"tunnel's MTU":    {fan.EBPF, func(s *kernel.State) { s.Links[3].MTU = 1300 }, "ip link set ftun-250 mtu 1480"},
		"inlet elsewhere": {fan.EBPF, func(s *kernel.State) { s.Links[4].Master = 0 }, "ip link set ftin-250 master fan-250"},
		"inlet open": {fan.EBPF, func(s *kernel.State) { s.Links[4].Closed = false },
			"bridge link set dev ftin-250 learning off flood off mcast_flood off bcast_flood off"},
		"another program": {fan.EBPF, func(s *kernel.State) { s.Filters[3].Name = "fan-250/ipip_receive/00000000" },
			"tc filter replace dev eth0 ingress pref 13 handle 1 bpf direct-action # ipip_receive"},
		"priority taken": {fan.EBPF, func(s *kernel.State) { s.Filters[3].Name, s.Filters[3].Priority = "somebody's", 250 },
			"tc filter add dev eth0 ingress pref 251 handle 1 bpf direct-action # ipip_receive"},
		"no guard": {fan.Device, func(s *kernel.State) { s.Filters = s.Filters[:len(s.Filters)-1] },
			"tc filter add dev ftun-ipip egress pref 60000 handle 1 bpf direct-action # guard"},
		"no ipip device": {fan.Device, func(s *kernel.State) { *s = s.Without(6) }, caughtByItself},
	} {
		w := wanted(t, fan.IPIP, test.d)
		s := built(t, w)
		test.breaks(&s)
		checkPlan(t, name, w, s, test.want)
	}
}

func TestPlanRefusesForeignDevice(t *testing.T) {
	direct, caught, vxlan := wanted(t, fan.IPIP, fan.EBPF), wanted(t, fan.IPIP, fan.Device), wanted(t, fan.VXLAN, fan.Device)
	mac := direct.Fan.TunnelMAC()
	for _, test := range []struct {
		w     Want
		links []kernel.Link
	}{
		{direct, []kernel.Link{{Kind: "dummy", MAC: mac}, {Name: "ftin-250", Kind: "veth"}}},
		{direct, []kernel.Link{{Kind: "veth", MAC: mac}}}, // its other end is elsewhere
		{direct, []kernel.Link{{Kind: "veth", MAC: [6]byte{6, 1}}, {Name: "ftin-250", Kind: "veth"}}},
		{caught, []kernel.Link{{Name: "ftun-ipip", Kind: "ipip"}}},
		{caught, []kernel.Link{{Name: "ftun-ipip", Kind: "gre", External: true}}},
		{vxlan, []kernel.Link{{Kind: "vxlan", MAC: mac, Port: 8472}}},
		{vxlan, []kernel.Link{{Kind: "geneve", MAC: mac, External: true}}},
	} {
		s := bare()
		for i, l := range test.links {
			l.Index = 4 + i
			if l.Name == "" {
				l.Name = test.w.Name()
			}
			s.Links = append(s.Links, l)
		}
		_, err := Plan(nil, test.w, s)
		if !errors.Is(err, fan.ErrUsage) || !strings.Contains(err.Error(), s.Links[3].Name) || !strings.Contains(err.Error(), test.links[0].Kind) {
			t.Errorf("%+v: error %v, want bad input that names device and kind", test.links, err)
		}
	}
}

// The bridge takes its filters with it when it goes.
func TestPlanDown(t *testing.T) {
	direct, caught, vxlan := wanted(t, fan.IPIP, fan.EBPF), wanted(t, fan.IPIP, fan.Device), wanted(t, fan.VXLAN, fan.Device)
	for name, test := range map[string]struct {
		w      Want
		state  kernel.State
		before Before
		want   string
	}{
		"nothing": {direct, bare(), Before{}, ""},
		"ipip by eBPF": {direct, built(t, direct), Before{Known: true}, `
tc filter del dev eth0 ingress pref 13 # ipip_receive
tc qdisc del dev eth0 clsact
ip link del ftun-250`},
		"somebody's clsact stays": {direct, built(t, direct), Before{Known: true, Clsact: []string{"eth0"}}, `
tc filter del dev eth0 ingress pref 13 # ipip_receive
ip link del ftun-250`},
		"ipip by device": {caught, built(t, caught), Before{Known: true}, `
tc filter del dev eth0 ingress pref 13 # ipip_receive
tc qdisc del dev eth0 clsact
ip link del ftun-250
ip link del ftun-ipip`},
		"vxlan": {vxlan, built(t, vxlan), Before{Known: true}, `
ip link del ftun-250`},
		"ended before a filter": {direct, changed(bare(), func(s *kernel.State) { s.Clsact = []int{2} }), Before{Known: true}, `
tc qdisc del dev eth0 clsact`},
		"no record":                      {direct, changed(bare(), func(s *kernel.State) { s.Clsact = []int{2} }), Before{}, ""},
		"ended before a filter of vxlan": {vxlan, changed(bare(), func(s *kernel.State) { s.Clsact = []int{2} }), Before{Known: true}, ""},
		"somebody's filter stays": {direct, changed(built(t, direct), func(s *kernel.State) {
			s.Filters = append(s.Filters, kernel.Filter{Link: 2, Priority: 1, Name: "somebody's"})
		}), Before{Known: true}, `
tc filter del dev eth0 ingress pref 13 # ipip_receive
ip link del ftun-250`},
		"somebody's devices stay": {direct, changed(bare(), func(s *kernel.State) {
			s.Links = append(s.Links, kernel.Link{Name: "ftun-250", Kind: "veth", Index: 4, MAC: [6]byte{2, 0x42}},
				kernel.Link{Name: fan.SharedTunnel, Kind: "ipip", Index: 5})
		}), Before{Known: true}, ""},
		"somebody's vxlan device stays": {vxlan, changed(bare(), func(s *kernel.State) {
			s.Links = append(s.Links, kernel.Link{Name: "ftun-250", Kind: "vxlan", Index: 4, MAC: vxlan.Fan.TunnelMAC()})
		}), Before{Known: true}, ""},
		"somebody's device with our address stays": {vxlan, changed(bare(), func(s *kernel.State) {
			s.Links = append(s.Links, kernel.Link{Name: "ftun-250", Kind: "geneve", Index: 4, MAC: vxlan.Fan.TunnelMAC(), External: true},
				kernel.Link{Name: fan.SharedTunnel, Kind: "gre", Index: 5, External: true})
		}), Before{Known: true}, ""},
	} {
		if got := withoutSettings(PlanDown(nil, test.w.Fan, test.state, test.before)); got != strings.TrimSpace(test.want) {
			t.Errorf("%s: the plan is\n%s\nwant\n%s", name, got, test.want)
		}
	}
}

// withAnother is the host with another fan's program on the ipip device, too.
func withAnother(s kernel.State) kernel.State {
	s.Filters = append(s.Filters, kernel.Filter{Link: 6, Priority: 2, Name: "fan-251/ipip_whole/00000000"})
	return s
}

// While another fan uses the ipip device, only what is this fan's goes.
func TestPlanDownBesideAnotherFan(t *testing.T) {
	w := wanted(t, fan.IPIP, fan.Device)
	want := `
tc filter del dev eth0 ingress pref 13 # ipip_receive
tc filter del dev ftun-ipip ingress pref 15 # ipip_whole
tc qdisc del dev eth0 clsact
ip link del ftun-250`
	if got := withoutSettings(PlanDown(nil, w.Fan, withAnother(built(t, w)), Before{Known: true})); got != strings.TrimSpace(want) {
		t.Errorf("the plan is\n%s\nwant\n%s", got, want)
	}
}

// A fan changes from one way to the other while it is up: its programs are replaced,
// for they are told, and the ipip device comes or goes.
func TestPlanChangesDatapath(t *testing.T) {
	direct, caught := wanted(t, fan.IPIP, fan.EBPF), wanted(t, fan.IPIP, fan.Device)
	replaced := func(device, way string, priority int, program string) string {
		return fmt.Sprintf("tc filter replace dev %s %s pref %d handle 1 bpf direct-action # %s\n", device, way, priority, program)
	}
	programs := replaced("ftun-250", "egress", 10, "ipip_send") + replaced("ftin-250", "egress", 11, "ipip_close") +
		replaced("fan-250", "egress", 12, "ipip_deliver") + replaced("eth0", "ingress", 13, "ipip_receive") + replaced("ftin-250", "ingress", 14, "ipip_pieces")
	checkPlan(t, "with the device", caught, built(t, direct), strings.Replace(caughtByItself, "\ntc filter add dev ftun-ipip ingress pref 1 ",
		"\n"+programs+"tc filter add dev ftun-ipip ingress pref 1 ", 1))
	checkPlan(t, "without the device", direct, built(t, caught), programs+"ip link del ftun-ipip")
	checkPlan(t, "without the device, which another fan has", direct, withAnother(built(t, caught)),
		programs+"tc filter del dev ftun-ipip ingress pref 15 # ipip_whole")
}

// What an earlier version has attached by other names or at other places goes, after
// what comes in its place is there.
func TestPlanTakesEarlierProgramsAway(t *testing.T) {
	w := wanted(t, fan.IPIP, fan.Device)
	s := built(t, w)
	s.Filters[3].Name = "fan-250/ipip_direct_receive/00000000"
	s.Filters = append(s.Filters, kernel.Filter{Link: 6, Egress: true, Priority: 1, Name: "fan-250/ipip_send/00000000"},
		kernel.Filter{Link: 6, Priority: 1, Name: "fan-250/ipip_receive/00000000"})
	checkPlan(t, "earlier programs", w, s, `
tc filter add dev eth0 ingress pref 250 handle 1 bpf direct-action # ipip_receive
tc filter del dev eth0 ingress pref 13 # ipip_direct_receive
tc filter del dev ftun-ipip egress pref 1 # ipip_send
tc filter del dev ftun-ipip ingress pref 1 # ipip_receive`)
}

// A fan that an earlier version has built by the ipip device alone, its programs
// attached by tcx, is one by the device; up makes it one of this version, down takes it
// away, also where another fan is on the device.
func TestFanOfAnEarlierVersion(t *testing.T) {
	w := wanted(t, fan.IPIP, fan.Device)
	s := bare()
	s.TCX = true
	s.Links = append(s.Links, kernel.Link{Name: "ftun-ipip", Kind: "ipip", Index: 6, MTU: 1480, External: true, Up: true})
	s.Routes = []kernel.Route{{Destination: w.Fan.Mapping.Overlay(), Gateway: w.Fan.Mapping.Overlay().Addr(), Link: 6, Table: mainTable}}
	for i, code := range []string{"ir", "is"} {
		s.Filters = append(s.Filters, kernel.Filter{Link: 6, Egress: i > 0, TCX: true, Name: code + "_012345_" + ownerHash("fan-250")})
	}
	if is, built := BuiltAs(w.Fan, s); !built || is != fan.Device {
		t.Errorf("it is built as %s, %t", is, built)
	}
	p, err := Plan(nil, w, s)
	if err != nil {
		t.Fatal(err)
	}
	steps := strings.Split(withoutSettings(p), "\n")
	last := []string{"ip route add 250.0.0.0/8 via 250.0.0.0 dev ftun-250 onlink src 250.0.45.1 mtu 1480",
		"bpftool net detach tcx_ingress dev ftun-ipip # ipip_receive", "bpftool net detach tcx_egress dev ftun-ipip # ipip_send"}
	if got := steps[len(steps)-len(last):]; !slices.Equal(got, last) {
		t.Errorf("up ends with\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(last, "\n"))
	}
	if got, want := withoutSettings(PlanDown(nil, w.Fan, s, Before{Known: true})), "ip link del ftun-ipip"; got != want {
		t.Errorf("down is\n%s\nwant\n%s", got, want)
	}
	want := strings.Join(last[1:], "\n") + "\nip route del 250.0.0.0/8 dev ftun-ipip"
	if got := withoutSettings(PlanDown(nil, w.Fan, withAnother(s), Before{Known: true})); got != want {
		t.Errorf("down beside another fan is\n%s\nwant\n%s", got, want)
	}
}

// An ipip device that no fan has a program on goes, whoever took those away: nothing
// checks what comes in by it.
func TestPlanTakesUnguardedDeviceAway(t *testing.T) {
	direct := wanted(t, fan.IPIP, fan.EBPF)
	s := built(t, direct)
	s.Links = append(s.Links, kernel.Link{Name: "ftun-ipip", Kind: "ipip", Index: 6, External: true, Up: true})
	checkPlan(t, "by eBPF", direct, s, "ip link del ftun-ipip")
	s.Links[len(s.Links)-1].External = false
	checkPlan(t, "somebody's of that name", direct, s, "")
	vx := wanted(t, fan.VXLAN, fan.Device)
	s = built(t, vx)
	s.Links = append(s.Links, kernel.Link{Name: "ftun-ipip", Kind: "ipip", Index: 6, External: true, Up: true})
	checkPlan(t, "vxlan", vx, s, "")
}

func TestFilterNames(t *testing.T) {
	name := filterName("fan-250", bpf.VXLANSend, "0123abcd")
	if program, ours := ownedBy("fan-250", kernel.Filter{Name: name}); !ours || program != bpf.VXLANSend {
		t.Errorf("%s is taken for %s, %t", name, program, ours)
	}
	for _, other := range []string{"", "fan-25", "fan-2501", "an-250", "somebody"} {
		if _, ours := ownedBy(other, kernel.Filter{Name: name}); ours {
			t.Errorf("%s is taken for %q's", name, other)
		}
	}
	if _, ours := ownedBy("x", kernel.Filter{Name: "x/y"}); ours {
		t.Error("a name without a fingerprint is taken for ours")
	}
}
