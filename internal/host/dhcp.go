package host

import (
	"fmt"
	"os"

	"github.com/fanctl/fanctl/fan"
	"github.com/fanctl/fanctl/internal/dnsmasq"
	"github.com/fanctl/fanctl/internal/plan"
)

// planDHCP adds to a fan's plan what its DHCP takes. It comes last, when the bridge
// has its address.
func (h *Host) planDHCP(r *Result) error {
	if !r.Fan.DHCP {
		p, err := h.planDHCPDown(r.Fan)
		r.Plan = append(p, r.Plan...)
		return err
	}
	c := dnsmasq.Config{Fan: r.Fan, Leases: h.leaseFile(r.Fan), User: dnsmasq.RunAs()}
	running, err := dnsmasq.Find(r.Fan.Bridge)
	if err != nil {
		return err
	}
	if c.NoDNS, err = dnsmasq.OtherServer(r.Fan, running); err != nil {
		return err
	}
	if c.NoDNS {
		r.Notes = append(r.Notes, fmt.Sprintf("another DNS server of this host answers on all its addresses, %s of %s too, and does not know containers by name", r.Fan.BridgeAddr(), r.Fan.Bridge))
	}
	if note := dnsmasq.CheckLeases(c.Leases); note != "" {
		r.Notes = append(r.Notes, note)
	}
	p, err := dnsmasq.Plan(c, running)
	r.Plan = append(r.Plan, p...)
	return err
}

// planDHCPDown ends the DHCP of a fan. Where no leases are kept there was none.
func (h *Host) planDHCPDown(f fan.Fan) (plan.Plan, error) {
	if _, err := os.Stat(h.leaseFile(f)); err != nil && !f.DHCP {
		return nil, nil
	}
	running, err := dnsmasq.Find(f.Bridge)
	return dnsmasq.PlanStop(running), err
}

func (h *Host) leaseFile(f fan.Fan) string {
	dir := h.StateDir
	if dir == "" {
		dir = dnsmasq.Dir
	}
	return dnsmasq.LeaseFile(dir, f.Bridge)
}
