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
//
// A running dnsmasq that leaves names to another server goes on doing so when a fan
// is mended: that server may only be starting again, and could not if it found its
// port taken.
func (h *Host) planDHCP(r *Result, mending bool) error {
	if !r.Fan.DHCP {
		p, err := h.planDHCPDown(r.Fan, r.Was)
		r.Plan = append(p, r.Plan...)
		return err
	}
	c := h.dhcpConfig(r.Fan)
	running, err := dnsmasq.Find(r.Fan.Bridge)
	if err != nil {
		return err
	}
	if len(running) == 0 {
		if err := checkDHCPPort(r.Fan); err != nil {
			return err
		}
	}
	if mending && dnsmasq.LeavesDNS(running) {
		c.NoDNS = true
	} else if c.NoDNS, err = dnsmasq.OtherServer(r.Fan, running); err != nil {
		return err
	}
	if c.NoDNS {
		r.Notes = append(r.Notes, fmt.Sprintf("another DNS server of this host answers on all its addresses, %s of %s too, and does not know containers by name", r.Fan.BridgeAddr(), r.Fan.Bridge))
	}
	if note := dnsmasq.CheckLeases(c.Leases); note != "" {
		r.Notes = append(r.Notes, note)
	}
	p, err := dnsmasq.Plan(c, h.dhcpBefore(r.Was), running)
	r.Plan = append(r.Plan, p...)
	return err
}

func (h *Host) dhcpConfig(f fan.Fan) dnsmasq.Config {
	return dnsmasq.Config{Fan: f, Leases: h.leaseFile(f), User: dnsmasq.RunAs()}
}

// dhcpBefore returns what dnsmasq did for a fan that was up, nil for nothing.
func (h *Host) dhcpBefore(was *fan.Fan) *dnsmasq.Config {
	if was == nil || !was.DHCP {
		return nil
	}
	c := h.dhcpConfig(*was)
	return &c
}

// checkDHCPPort returns an error if another server keeps dnsmasq from starting.
func checkDHCPPort(f fan.Fan) error {
	taken, err := dnsmasq.OtherDHCP()
	if err != nil || !taken {
		return err
	}
	who, found := udpUser(67)
	if !found {
		who = "another server"
	}
	return fmt.Errorf("DHCP of %s: port 67 of all interfaces is taken by %s; bind that to its own (dnsmasq: bind-dynamic, and interface=), or leave --dhcp out", f.Bridge, who)
}

// planDHCPDown ends the DHCP of a fan. Where no leases are kept and what was up had
// none, there is none.
func (h *Host) planDHCPDown(f fan.Fan, was *fan.Fan) (plan.Plan, error) {
	before := h.dhcpBefore(was)
	if _, err := os.Stat(h.leaseFile(f)); err != nil && before == nil {
		return nil, nil
	}
	running, err := dnsmasq.Find(f.Bridge)
	return dnsmasq.PlanStop(before, running), err
}

func (h *Host) leaseFile(f fan.Fan) string {
	dir := h.StateDir
	if dir == "" {
		dir = dnsmasq.Dir
	}
	return dnsmasq.LeaseFile(dir, f.Bridge)
}
