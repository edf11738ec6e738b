package host

import (
	"slices"

	"github.com/fanctl/fanctl/fan"
	"github.com/fanctl/fanctl/internal/features"
	"github.com/fanctl/fanctl/internal/firewall"
	"github.com/fanctl/fanctl/internal/kernel"
)

// Path is the way in which Up would build the tunnel of a fan here that is not up
// yet.
type Path struct {
	Type     fan.Type
	Datapath fan.Datapath
	// State says whether that would work.
	State features.State
	Why   string
	// Lacks names the features that it needs and that are not there, and Unsure those
	// of which that is not known.
	Lacks, Unsure []string
}

// Features is what this kernel and this host can do, and what comes of it.
type Features struct {
	features.Report
	Paths []Path
}

// Features tries what this host can do. It needs no privilege, but without it most is
// unknown.
func (h *Host) Features() (Features, error) {
	s, err := kernel.LookLinks(h.handle)
	if err != nil {
		return Features{}, err
	}
	r := features.Probe()
	return Features{r, paths(r, s, kernel.HasIPIP())}, nil
}

// paths concludes what Up would do. listed says that the kernel lists the ipip device,
// by which Up goes where it can't be tried.
func paths(r features.Report, s kernel.State, listed bool) []Path {
	ipip := Path{Type: fan.IPIP, Datapath: newDatapath(s, func() bool {
		state := r.State(features.IPIPDevice)
		return state == features.Yes || state == features.Unknown && listed
	})}
	ipip.Why = whyNew(ipip.Datapath, s)
	if r.State(features.IPIPDevice) == features.Unknown && otherIPIP(s) == "" {
		ipip.Why += ", as its list of modules says"
	}
	vxlan := Path{Type: fan.VXLAN, Datapath: fan.Device, Why: "there is no other way for vxlan"}
	list := []Path{ipip, vxlan}
	for i := range list {
		list[i].judge(r)
	}
	return list
}

// needs names the features without which a fan of that kind can't be up.
func (p Path) needs(r features.Report) []string {
	list := []string{features.Bridge, features.Clsact, features.ClsBPF, features.IPTables}
	switch iptables, _ := r.Feature(features.IPTables); {
	case iptables.State != features.Yes: // nobody knows where it would keep its rules
	case firewall.OverNFTables(iptables.Detail):
		list = append(list, features.NFTables)
	default:
		list = append(list, features.LegacyTables)
	}
	if p.Type == fan.VXLAN {
		return append(list, features.VXLANDevice, features.ObjectVXLAN)
	}
	if p.Datapath == fan.Device {
		list = append(list, features.IPIPDevice)
	}
	return append(list, features.Veth, features.FixedGSO, features.ObjectIPIP)
}

// judge says whether the way would work.
func (p *Path) judge(r features.Report) {
	p.State, p.Lacks, p.Unsure = features.Yes, []string{}, []string{}
	for _, name := range p.needs(r) {
		switch r.State(name) {
		case features.No:
			p.Lacks = append(p.Lacks, name)
		case features.Unknown:
			p.Unsure = append(p.Unsure, name)
		case features.Yes:
		}
	}
	slices.Sort(p.Lacks)
	slices.Sort(p.Unsure)
	switch {
	case len(p.Lacks) > 0:
		p.State = features.No
	case len(p.Unsure) > 0:
		p.State = features.Unknown
	}
}
