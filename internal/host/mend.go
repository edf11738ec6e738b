package host

import (
	"fmt"
	"net/netip"
	"strings"

	"github.com/fanctl/fanctl/fan"
	"github.com/fanctl/fanctl/internal/kernel"
)

// mendError says which fan could not be put right. It is not the error that it
// tells of: nobody has asked for anything, so that it is never bad input.
type mendError struct {
	bridge string
	err    error
}

func (e mendError) Error() string { return e.bridge + ": " + e.err.Error() }

// Mend puts right, one after the other, the fans that are up, and reports each; it
// goes on past failures and returns the last. A fan is to be as its alias says, at
// the address that it had or, if the host has that no more, at the one that its device
// has inside the underlay (fan.SpecAmong). What is left of others is reported as notes of
// no fan.
func (h *Host) Mend(dryRun bool, report func(Result, error)) error {
	return h.locked(func() error {
		now, err := h.look(dryRun)
		if err != nil {
			return err
		}
		var last error
		for _, k := range fansOf(now.State) {
			result, err := h.mend(k.Fan, now, dryRun)
			report(result, nil)
			if err != nil {
				last = mendError{k.Bridge, err}
				report(Result{}, last)
			}
			if len(result.Plan) == 0 {
				continue // what was seen is what there is
			}
			if now, err = h.look(dryRun); err != nil {
				return err
			}
		}
		if left := leftTunnels(now.State); len(left) > 0 {
			report(Result{Notes: left}, nil)
		}
		return last
	})
}

// leftTunnels tells of fan tunnels without a fan. What the fan was stood on its bridge,
// which somebody has deleted, so that only who knows its networks can put that right.
func leftTunnels(s kernel.State) []string {
	up := map[string]bool{}
	for _, k := range fansOf(s) {
		up[k.Tunnel()] = true
	}
	ours := fan.Fan{Host: netip.IPv4Unspecified()}.TunnelMAC()
	var left []string
	for _, l := range s.Links {
		isTunnel := l.Kind == "veth" || l.Kind == "vxlan" && l.External
		if strings.HasPrefix(l.Name, fan.TunnelPrefix) && isTunnel && l.MAC[0] == ours[0] && l.MAC[1] == ours[1] && !up[l.Name] {
			left = append(left, fmt.Sprintf("%s is of a fan that has lost its bridge; fanctl up or down of that fan puts it right", l.Name))
		}
	}
	return left
}

// mend puts one fan right. Its DHCP comes after the rest is done: what is wrong there
// keeps no packet from passing.
func (h *Host) mend(f fan.Fan, now seen, dryRun bool) (Result, error) {
	result, err := h.mendKernel(f, now, dryRun)
	if err != nil {
		return result, err
	}
	rest := result
	rest.Plan = nil
	if len(result.SlowBecause) > 0 {
		rest.Notes = append(rest.Notes, f.Bridge+" "+NotFast(result.SlowBecause))
	}
	if err := h.planDHCP(&rest, true); err != nil {
		return result, err
	}
	planWatch(&rest)
	if !dryRun {
		if err := rest.Plan.Apply(h.Observe); err != nil {
			return result, err
		}
	}
	result.Plan, result.Notes = append(result.Plan, rest.Plan...), rest.Notes
	return result, nil
}

// mendKernel puts right what the kernel has of a fan.
func (h *Host) mendKernel(f fan.Fan, now seen, dryRun bool) (Result, error) {
	_, there := now.Link(f.Device)
	spec, err := f.SpecAmong(locals(now.State), there)
	if err != nil {
		return Result{}, err
	}
	result, err := h.planUp(spec, now, false)
	if err != nil || dryRun {
		return result, err
	}
	if err := result.Plan.Apply(h.Observe); err != nil {
		return Result{}, err
	}
	return result, nil
}
