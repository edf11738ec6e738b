package setup

import (
	"fmt"
	"net/netip"
	"strings"

	"github.com/fanctl/fanctl/fan"
	"github.com/fanctl/fanctl/ifupdown"
	"github.com/fanctl/fanctl/internal/host"
	"github.com/fanctl/fanctl/internal/plan"
)

// Wanted returns the spec to bring a fan up by: the one that was asked for or, if only
// its networks were given, the one that the list or the fan itself has, with what was
// asked for beside them. A listed underlay keeps the form in which it is written.
func (s *Setup) Wanted(spec fan.Spec, networksOnly bool) (fan.Spec, error) {
	spec.Auto = true
	rows, err := s.fans()
	if err != nil {
		return fan.Spec{}, err
	}
	for _, r := range rows {
		if !r.Is(spec) {
			continue
		}
		underlay, dhcp := spec.Underlay, spec.DHCP || r.Spec.DHCP
		if networksOnly {
			spec = r.Spec
			spec.DHCP, spec.Auto, spec.Off = dhcp, true, false
		}
		spec.Underlay = underlay
		if r.Listed {
			spec.Underlay = r.Spec.Underlay
		}
	}
	return withoutUsual(spec), nil
}

// withoutUsual leaves out what is so without being said.
func withoutUsual(spec fan.Spec) fan.Spec {
	if spec.Type == fan.IPIP {
		spec.Type = 0
	}
	if spec.Bridge == fan.BridgeName(spec.Overlay) {
		spec.Bridge = ""
	}
	if spec.Port == fan.DefaultPort {
		spec.Port = 0
	}
	return spec
}

// PlanFan plans to list a fan and to bring it up.
func (s *Setup) PlanFan(spec fan.Spec) (Change, error) {
	would, err := s.Host.Up(spec, true)
	if err != nil {
		return Change{}, err
	}
	change := Change{Fan: would.Fan, Notes: would.Notes}
	if change.Plan, err = s.planListed(spec, would.Was); err != nil {
		return Change{}, err
	}
	if len(change.Plan) > 0 {
		change.Effects = append(change.Effects, fmt.Sprintf("%s gets the line %s, so that the fan is up after a reboot", s.List, strings.Join(spec.Words(), " ")))
	}
	if len(would.Plan) > 0 {
		change.Plan = append(change.Plan, s.upStep(spec, would.Was))
		change.Effects = append(change.Effects, effectOfUp(would))
	}
	return change, nil
}

func effectOfUp(r host.Result) string {
	dhcp := ""
	if r.Fan.DHCP {
		first, last := r.Fan.Leases()
		dhcp = fmt.Sprintf(", DHCP hands out %s to %s", first, last)
	}
	return fmt.Sprintf("bridge %s comes up with %s, by %s over %s (%s)%s", r.Fan.Bridge, r.Fan.BridgePrefix(), r.Fan.Type, r.Fan.Device, r.Fan.Host, dhcp)
}

func (s *Setup) upStep(spec fan.Spec, was *fan.Fan) plan.Step {
	return plan.Step{
		Text: "fanctl up " + named(spec),
		Do: func() error {
			_, err := s.Host.Up(spec, false)
			return err
		},
		Undo: func() error {
			s.Host.Observe = nil // what is undone is not to fail as asked for by a test
			if was != nil {
				_, err := s.Host.Up(was.Spec(), false)
				return err
			}
			_, err := s.Host.Down(host.DownRequest{Underlay: spec.Underlay, Overlay: spec.Overlay}, false)
			return err
		},
	}
}

// PlanFanAway plans to take a fan down and off the list, or back to what it was before
// this program came. force is for one that something is attached to.
func (s *Setup) PlanFanAway(r Row, force bool) (Change, error) {
	var change Change
	before, there := markOf(r.entry).before()
	var err error
	if there {
		change, err = s.planBack(r, before)
	} else {
		change, err = s.planDown(r, force)
	}
	if err != nil {
		return Change{}, err
	}
	if r.Listed {
		change.Plan = append(change.Plan, s.planUnlisted(r.entry)...)
		change.Effects = append(change.Effects, fmt.Sprintf("%s has no line of fanatic's for %s any more", s.List, r.Spec.Overlay))
	}
	change.Stays = there
	return change, nil
}

// planBack plans that a fan that is up is what it was before.
func (s *Setup) planBack(r Row, before fan.Spec) (Change, error) {
	if r.Fan == nil {
		return Change{}, nil
	}
	before.Auto = r.Fan.Auto
	would, err := s.Host.Up(before, true)
	if err != nil || len(would.Plan) == 0 {
		return Change{}, err
	}
	return Change{Fan: would.Fan, Plan: plan.Plan{s.upStep(before, would.Was)}, Notes: would.Notes,
		Effects: []string{fmt.Sprintf("bridge %s is again as it was before", r.Bridge())}}, nil
}

// planDown plans to take a fan down, or what a run that was killed has left of one.
func (s *Setup) planDown(r Row, force bool) (Change, error) {
	request := host.DownRequest{Underlay: r.Spec.Underlay, Overlay: r.Spec.Overlay, Force: force}
	if r.Fan != nil {
		request.Underlay = fan.UnderlaySpec{Addr: r.Fan.Host, Bits: r.Fan.Mapping.Underlay().Bits()}
	}
	would, err := s.Host.Down(request, true)
	if err != nil || len(would.Plan) == 0 {
		return Change{}, err
	}
	change := Change{Fan: would.Fan, Effects: []string{fmt.Sprintf("bridge %s goes down", r.Bridge())}, Notes: would.Notes}
	step := plan.Step{
		Text: fmt.Sprintf("fanctl down -u %s -o %s%s", request.Underlay, request.Overlay, map[bool]string{true: " --force"}[force]),
		Do: func() error {
			_, err := s.Host.Down(request, false)
			return err
		},
	}
	if r.Fan != nil {
		step.Undo = func() error {
			s.Host.Observe = nil
			_, err := s.Host.Up(r.Fan.Spec(), false)
			return err
		}
	}
	change.Plan = plan.Plan{step}
	return change, nil
}

// Row is a fan of this host: one of the list, one that is up, or both.
type Row struct {
	// Spec is how the fan is written in the list or, if it is not there, what the fan
	// that is up would be written as.
	Spec   fan.Spec
	Listed bool
	// Ours says that this program has put it into the list.
	Ours bool
	// Fan is the fan that is up, nil if it is not.
	Fan *fan.Fan

	entry   ifupdown.Entry
	network netip.Prefix // of the underlay; the zero prefix if the host does not have it now
}

// Bridge is the name that the fan's bridge has or would have.
func (r Row) Bridge() string {
	switch {
	case r.Fan != nil:
		return r.Fan.Bridge
	case r.Spec.Bridge != "":
		return r.Spec.Bridge
	}
	return fan.BridgeName(r.Spec.Overlay)
}

// Underlay is the underlay's network or, where the host does not have it now, what is
// written for it.
func (r Row) Underlay() string {
	if r.network.IsValid() {
		return r.network.String()
	}
	return r.Spec.Underlay.String()
}

// Is says whether a spec means this fan.
func (r Row) Is(spec fan.Spec) bool {
	if spec.Overlay != r.Spec.Overlay {
		return false
	}
	if spec.Underlay == r.Spec.Underlay {
		return true
	}
	u := spec.Underlay
	switch {
	case !r.network.IsValid() || u.Bits != r.network.Bits():
		return false
	case u.Addr.IsValid():
		return r.network.Contains(u.Addr)
	}
	return r.Fan != nil && (u.Default || u.Device == r.Fan.Device)
}

// fans returns the fans of the list in its order, then the others that are up.
func (s *Setup) fans() ([]Row, error) {
	list, err := ifupdown.Load(s.List)
	if err != nil {
		return nil, err
	}
	up, err := s.Host.Fans()
	if err != nil {
		return nil, err
	}
	var rows []Row
	for _, e := range list.Entries() {
		if e.Err != nil || e.Spec.Off {
			continue
		}
		rows = append(rows, Row{Spec: e.Spec, Listed: true, Ours: markOf(e).ours, entry: e, network: s.networkOf(e.Spec.Underlay)})
	}
	for _, f := range up {
		i := 0
		for i < len(rows) && rows[i].Spec.Overlay != f.Mapping.Overlay() {
			i++
		}
		if i == len(rows) {
			rows = append(rows, Row{Spec: f.Spec()})
		}
		rows[i].Fan, rows[i].network = &f, f.Mapping.Underlay()
	}
	return rows, nil
}

// networkOf is the network that an underlay means here, as far as it can be told.
func (s *Setup) networkOf(u fan.UnderlaySpec) netip.Prefix {
	if u.Addr.IsValid() {
		return netip.PrefixFrom(u.Addr, u.Bits).Masked()
	}
	locals, err := s.Host.Underlays()
	if err != nil {
		return netip.Prefix{}
	}
	network, _, _, err := u.Resolve(locals, "")
	if err != nil {
		return netip.Prefix{}
	}
	return network
}

// Find returns the fan that a spec means.
func (s *Setup) Find(spec fan.Spec) (Row, bool, error) {
	rows, err := s.fans()
	if err != nil {
		return Row{}, false, err
	}
	for _, r := range rows {
		if r.Is(spec) {
			return r, true, nil
		}
		if r.Spec.Overlay == spec.Overlay {
			return Row{}, false, fan.Usagef("overlay %s has a fan over %s, not over %s; name that one", spec.Overlay, r.Underlay(), spec.Underlay)
		}
	}
	return Row{}, false, nil
}
