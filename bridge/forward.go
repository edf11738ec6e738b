package bridge

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"

	"github.com/vishvananda/netlink"

	"github.com/fanctl/fanctl/fan"
	"github.com/fanctl/fanctl/internal/kernel"
	"github.com/fanctl/fanctl/internal/plan"
	"github.com/fanctl/fanctl/internal/sysctl"
)

// A write to ip_forward that changes it also writes every device's forwarding,
// the default for devices to come, and all/accept_redirects, which it sets to the
// opposite (net/ipv4/devinet.c: inet_forward_change). All that has to be put back
// with it.
const (
	forwarding = "net/ipv4/ip_forward"
	redirects  = "net/ipv4/conf/all/accept_redirects"
	confFolder = "/proc/sys/net/ipv4/conf"
)

func deviceForwarding(name string) string { return "net/ipv4/conf/" + name + "/forwarding" }

// lookForwarding returns what a write to ip_forward would change, without the
// device except; nothing if the host forwards already.
func lookForwarding(except string) (Facts, error) {
	now, err := sysctl.Read(forwarding)
	if err != nil || now != "0" {
		return Facts{}, err
	}
	facts := Facts{ForwardingOff: true}
	taken, err := sysctl.Read(redirects)
	if err != nil {
		return facts, err
	}
	facts.RedirectsOff = taken == "0"
	entries, err := os.ReadDir(confFolder)
	if err != nil {
		return facts, fmt.Errorf("list devices' settings: %w", err)
	}
	for _, e := range entries {
		if e.Name() == "all" || e.Name() == except {
			continue
		}
		if on, err := sysctl.Read(deviceForwarding(e.Name())); err == nil && on == "1" {
			facts.ForwardingOn = append(facts.ForwardingOn, e.Name())
		}
	}
	return facts, nil
}

// planForwarding makes a host forward packets that does not.
func planForwarding(now Facts) plan.Plan {
	if !now.ForwardingOff {
		return nil
	}
	var before Facts
	return plan.Plan{{
		Text: "sysctl -w " + sysctl.Setting{Path: forwarding, Value: "1"}.String(),
		Do: func() (err error) {
			if before, err = lookForwarding(""); err != nil {
				return err
			}
			return sysctl.Write(forwarding, "1")
		},
		Undo: func() error {
			var failed []error
			for _, setting := range before.settings() {
				if err := sysctl.Write(setting.Path, setting.Value); !errors.Is(err, fs.ErrNotExist) {
					failed = append(failed, err)
				}
			}
			return errors.Join(failed...)
		},
	}}
}

// settings returns what makes the host as it was, in the order of writing.
func (f Facts) settings() []sysctl.Setting {
	if !f.ForwardingOff {
		return nil
	}
	list := []sysctl.Setting{{Path: forwarding, Value: "0"}}
	for _, name := range f.ForwardingOn {
		list = append(list, sysctl.Setting{Path: deviceForwarding(name), Value: "1", Optional: true})
	}
	if f.RedirectsOff {
		list = append(list, sysctl.Setting{Path: redirects, Value: "0"})
	}
	return list
}

// giveBack returns the steps that hand the facts to another fan or, if there is
// none, make the host as it was. What the others' facts have become is written, too.
func (f Facts) giveBack(h *netlink.Handle, others []Other, s kernel.State, now sysctl.Values) (plan.Plan, error) {
	if len(others) == 0 {
		return f.restore(now), nil
	}
	var p plan.Plan
	for i, o := range others {
		facts := o.Facts
		if i == 0 {
			facts = f.without(others).merge(facts)
		}
		l, _ := s.Link(o.Fan.Bridge)
		_, extra, _ := fan.ParseAlias(l.Name, l.Alias)
		if maps.Equal(facts.words(), FactsFrom(extra).words()) {
			continue
		}
		alias, err := facts.alias(o.Fan)
		if err != nil {
			return nil, err
		}
		p = append(p, aliasStep(h, o.Fan.Bridge, l.Alias, alias))
	}
	return p, nil
}

func (f Facts) restore(now sysctl.Values) plan.Plan {
	settings := f.settings()
	if len(settings) == 0 || now[forwarding] == "0" {
		return sysctl.Diff(settings, now)
	}
	// The first write changes the others, whatever they are now.
	return sysctl.Diff(settings, nil)
}
