package host

import (
	"slices"
	"strings"
	"testing"

	"github.com/fanctl/fanctl/fan"
	"github.com/fanctl/fanctl/internal/features"
	"github.com/fanctl/fanctl/internal/kernel"
)

// reported is a report in which all that fans need is there, but for what is named
// with its state.
func reported(iptables string, but map[string]features.State) features.Report {
	r := features.Report{Features: []features.Feature{{Name: features.IPTables, State: features.Yes, Detail: iptables}}}
	for _, name := range []string{features.IPIPDevice, features.VXLANDevice, features.Veth, features.Bridge, features.Clsact, features.ClsBPF,
		features.FixedGSO, features.NFTables, features.LegacyTables, features.ObjectIPIP, features.ObjectVXLAN} {
		r.Features = append(r.Features, features.Feature{Name: name, State: features.Yes})
	}
	for i, f := range r.Features {
		if state, other := but[f.Name]; other {
			r.Features[i].State = state
		}
	}
	return r
}

func TestPaths(t *testing.T) {
	type states = map[string]features.State
	const nft, legacy = "v1.8.9 (nf_tables)", "v1.6.0"
	theirs := plain()
	theirs.Links = append(theirs.Links, kernel.Link{Name: "tun9", Kind: "ipip", Index: 9, External: true})
	for name, test := range map[string]struct {
		report      features.Report
		state       kernel.State
		listed      bool
		ipip, vxlan string
		why         string // of ipip
	}{
		"all is there":             {reported(nft, nil), plain(), false, "device yes", "device yes", "the kernel has the ipip device, for packets in fragments"},
		"no ipip device":           {reported(nft, states{features.IPIPDevice: features.No}), plain(), true, "ebpf yes", "device yes", "the kernel has no ipip device"},
		"somebody else has it":     {reported(nft, nil), theirs, true, "ebpf yes", "device yes", "tun9 is an ipip device that is not a fan's"},
		"listed":                   {reported(nft, states{features.IPIPDevice: features.Unknown}), plain(), true, "device unknown ipip-device", "device yes", "the kernel has the ipip device, for packets in fragments, as its list of modules says"},
		"not listed":               {reported(nft, states{features.IPIPDevice: features.Unknown}), plain(), false, "ebpf yes", "device yes", "the kernel has no ipip device, as its list of modules says"},
		"nothing for vxlan":        {reported(nft, states{features.VXLANDevice: features.No, features.ObjectVXLAN: features.Unknown}), plain(), false, "device yes", "device no vxlan-device object-vxlan", ""},
		"programs are refused":     {reported(nft, states{features.ObjectIPIP: features.No}), plain(), false, "device no object-ipip", "device yes", ""},
		"no bridge, no filters":    {reported(nft, states{features.Bridge: features.No, features.ClsBPF: features.No}), plain(), false, "device no bridge cls-bpf", "device no bridge cls-bpf", ""},
		"no nftables":              {reported(nft, states{features.NFTables: features.No}), plain(), false, "device no nftables", "device no nftables", ""},
		"legacy needs no nftables": {reported(legacy, states{features.NFTables: features.No}), plain(), false, "device yes", "device yes", ""},
		"legacy, not loaded":       {reported(legacy, states{features.LegacyTables: features.Unknown}), plain(), false, "device unknown legacy-tables", "device unknown legacy-tables", ""},
		"nftables need no tables":  {reported(nft, states{features.LegacyTables: features.No}), plain(), false, "device yes", "device yes", ""},
		"no iptables":              {reported("", states{features.IPTables: features.No}), plain(), false, "device no iptables", "device no iptables", ""},
		"no veth, no device":       {reported(nft, states{features.Veth: features.No, features.IPIPDevice: features.No}), plain(), false, "ebpf no veth", "device yes", ""},
		"nothing is known":         {features.Report{}, plain(), false, "ebpf unknown bridge cls-bpf clsact fixed-gso iptables object-ipip veth", "device unknown bridge cls-bpf clsact iptables object-vxlan vxlan-device", ""},
	} {
		list := paths(test.report, test.state, test.listed)
		for i, want := range []string{test.ipip, test.vxlan} {
			p := list[i]
			words := slices.Concat([]string{p.Datapath.String(), string(p.State)}, p.Lacks, p.Unsure)
			if got := strings.Join(words, " "); got != want {
				t.Errorf("%s: %s goes by %q, want %q", name, p.Type, got, want)
			}
		}
		if list[0].Type != fan.IPIP || list[1].Type != fan.VXLAN || !strings.HasPrefix(list[0].Why, test.why) {
			t.Errorf("%s: %+v, want why %q", name, list, test.why)
		}
	}
}
