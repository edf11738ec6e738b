package lxd

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/fanctl/fanctl/fan"
)

// What marks things as ours. The first is the original's, whose profiles are ours, too.
const (
	markKey     = "user.profile_autoconfig"
	markValue   = "fanatic"
	savedKey    = "user.fanatic.default" // of our profile: what the default one was
	defaultName = "default"
	nic         = "eth0" // the device, and its name in a container
)

// device is a device of a profile or an instance, such as its network card.
type device map[string]string

// profile is what a profile makes of instances.
type profile struct {
	Config      map[string]string `json:"config"`
	Description string            `json:"description"`
	Devices     map[string]device `json:"devices"`
}

// ours says whether we have made the profile, or the original has.
func (p *profile) ours() bool { return p != nil && p.Config[markKey] == markValue }

// clone returns a profile that shares nothing with p.
func (p profile) clone() *profile {
	p.Config = maps.Clone(p.Config)
	if p.Config == nil {
		p.Config = map[string]string{}
	}
	devices := map[string]device{}
	for name, d := range p.Devices {
		devices[name] = maps.Clone(d)
	}
	p.Devices = devices
	return &p
}

// equal says whether two profiles make the same of instances. nil is no profile.
func equal(a, b *profile) bool {
	if a == nil || b == nil {
		return a == b
	}
	return a.Description == b.Description && maps.Equal(a.Config, b.Config) &&
		maps.EqualFunc(a.Devices, b.Devices, func(x, y device) bool { return maps.Equal(x, y) })
}

// merge returns have with what differs between from and to as it is in to. The rest is
// somebody else's, who may have changed it since.
func merge(have, from, to *profile) *profile {
	merged := have.clone()
	for _, key := range keys(from.Config, to.Config) {
		is, kept := to.Config[key]
		if was, had := from.Config[key]; was == is && had == kept {
			continue
		}
		if kept {
			merged.Config[key] = is
		} else {
			delete(merged.Config, key)
		}
	}
	for _, name := range keys(from.Devices, to.Devices) {
		is, kept := to.Devices[name]
		if was, had := from.Devices[name]; maps.Equal(was, is) && had == kept {
			continue
		}
		if kept {
			merged.Devices[name] = maps.Clone(is)
		} else {
			delete(merged.Devices, name)
		}
	}
	return merged
}

// keys returns the keys of both, sorted.
func keys[V any](a, b map[string]V) []string {
	return slices.Compact(slices.Sorted(func(yield func(string) bool) {
		for _, m := range []map[string]V{a, b} {
			for key := range m {
				if !yield(key) {
					return
				}
			}
		}
	}))
}

// card returns the network card on a fan, with what somebody has added to it.
func card(f fan.Fan, have device) device {
	d := maps.Clone(have)
	if !have.on(f.Bridge) {
		d = device{}
	}
	maps.Copy(d, device{"type": "nic", "nictype": "bridged", "parent": f.Bridge, "mtu": strconv.Itoa(int(f.MTU)), "name": nic})
	return d
}

// on says whether a device is a network card on a bridge.
func (d device) on(bridge string) bool {
	return d["type"] == "nic" && d["nictype"] == "bridged" && d["parent"] == bridge
}

// saved is what the default profile had in place of our network card.
type saved struct {
	NIC device `json:"eth0"` // nil: none
}

func (s saved) String() string {
	text, err := json.Marshal(s)
	if err != nil { // a map of texts has a JSON form
		return ""
	}
	return string(text)
}

// readSaved reads what our profile says of the default one. ok is false if it says
// nothing.
func readSaved(p *profile) (s saved, ok bool, err error) {
	text, ok := p.savedText()
	if !ok {
		return saved{}, false, nil
	}
	if err := json.Unmarshal([]byte(text), &s); err != nil {
		return saved{}, false, fmt.Errorf("read %s, by which the profile default can be put back: %w", savedKey, err)
	}
	return s, true, nil
}

func (p *profile) savedText() (text string, ok bool) {
	if !p.ours() {
		return "", false
	}
	text, ok = p.Config[savedKey]
	return text, ok
}

// change is one profile as it is and as it is to be; nil is no profile.
type change struct {
	name     string
	from, to *profile
	note     string // beside the commands, for the user
}

// state is what a daemon has of a fan.
type state struct {
	own  *profile // with the bridge's name; nil if there is none
	base *profile // the default one
}

// join returns the changes after which a profile with the bridge's name puts containers
// on a fan, and the default one does so, too, or does not.
func (s state) join(f fan.Fan, k Kind, byDefault bool) ([]change, error) {
	if s.own != nil && !s.own.ours() {
		return nil, fan.Usagef("%s has a profile %s that is not fanatic's: it lacks %s=%s; rename it: %s profile rename %s NAME", k, f.Bridge, markKey, markValue, k.command(), f.Bridge)
	}
	own := &profile{Config: map[string]string{}, Devices: map[string]device{}}
	if s.own != nil {
		own = s.own.clone()
	}
	own.Config[markKey] = markValue
	own.Devices[nic] = card(f, own.Devices[nic])
	if !byDefault {
		back, err := s.restore(f.Bridge)
		delete(own.Config, savedKey)
		return appendChange(back, change{name: f.Bridge, from: s.own, to: own}), err
	}
	base, err := s.wire(f, k, own)
	if err != nil {
		return nil, err
	}
	// What the default profile was is kept before it changes.
	changes := appendChange(nil, change{name: f.Bridge, from: s.own, to: own})
	return appendChange(changes, change{name: defaultName, from: s.base, to: base}), nil
}

// wire returns the default profile on a fan, and has our own keep what it was.
func (s state) wire(f fan.Fan, k Kind, own *profile) (*profile, error) {
	base := s.base.clone()
	for name, d := range base.Devices {
		if name != nic && d["type"] == "nic" && d["name"] == nic {
			return nil, fan.Usagef("%s: the profile default has a device %s that is a container's %s already; take it away first: %s profile device remove default %s", k, name, nic, k.command(), name)
		}
	}
	have := base.Devices[nic]
	base.Devices[nic] = card(f, have)
	_, kept := s.own.savedText()
	if !maps.Equal(have, base.Devices[nic]) && (!kept || !have.on(f.Bridge)) {
		own.Config[savedKey] = saved{have}.String()
	}
	return base, nil
}

// elsewhere refuses to take the default profile from another fan, which is in ours, all
// profiles of ours. What it was at first is kept there, and would be lost with that fan.
func (s state) elsewhere(f fan.Fan, k Kind, ours map[string]*profile) error {
	at := s.base.Devices[nic]["parent"]
	if _, kept := ours[at].savedText(); kept && at != f.Bridge {
		return fan.Usagef("%s: the profile default is on another fan already, %s; it can be on one only: first enable %s on that fan again, without --default-profile", k, at, k)
	}
	return nil
}

// restore returns the changes that put the default profile back.
func (s state) restore(bridge string) ([]change, error) {
	was, ok, err := readSaved(s.own)
	if err != nil || !ok || s.base == nil || !s.base.Devices[nic].on(bridge) {
		return nil, err
	}
	base := s.base.clone()
	delete(base.Devices, nic)
	if was.NIC != nil {
		base.Devices[nic] = was.NIC
	}
	return appendChange(nil, change{name: defaultName, from: s.base, to: base}), nil
}

// leave returns the changes after which no profile of ours is on a bridge. A profile of
// somebody else's stays.
func (s state) leave(bridge string) ([]change, error) {
	if !s.own.ours() {
		return nil, nil
	}
	changes, err := s.restore(bridge)
	if err != nil {
		return nil, err
	}
	gone := change{name: bridge, from: s.own}
	if was, ok, _ := readSaved(s.own); ok && len(changes) == 0 && s.base != nil && !maps.Equal(s.base.Devices[nic], was.NIC) {
		gone.note = fmt.Sprintf("somebody has changed %s of the profile default since; it stays so, and was %s", nic, was)
	}
	return append(changes, gone), nil
}

// appendChange adds a change, if it is one.
func appendChange(list []change, c change) []change {
	if equal(c.from, c.to) {
		return list
	}
	return append(list, c)
}

// text returns the commands that a person would type for a change.
func (c change) text(command string) string {
	words := []string{command, "profile"}
	var lines []string
	add := func(more ...string) { lines = append(lines, shell(slices.Concat(words, more))) }
	from, to := c.from, c.to
	switch {
	case to == nil:
		add("delete", c.name)
		from, to = &profile{}, &profile{}
	case from == nil:
		add("create", c.name)
		from = &profile{}
	}
	for _, key := range keys(from.Config, to.Config) {
		is, kept := to.Config[key]
		was, had := from.Config[key]
		switch {
		case kept && (!had || was != is):
			add("set", c.name, key, is)
		case !kept:
			add("unset", c.name, key)
		}
	}
	for _, name := range keys(from.Devices, to.Devices) {
		is, kept := to.Devices[name]
		was, had := from.Devices[name]
		if kept && had && maps.Equal(was, is) {
			continue
		}
		if had {
			add("device", "remove", c.name, name)
		}
		if kept {
			add(slices.Concat([]string{"device", "add", c.name, name, is["type"]}, is.settings())...)
		}
	}
	if c.note != "" && len(lines) > 0 {
		lines[len(lines)-1] += " # " + c.note
	}
	return strings.Join(lines, "\n")
}

// settings are a device's, but for its type, sorted.
func (d device) settings() []string {
	var words []string
	for _, key := range slices.Sorted(maps.Keys(d)) {
		if key != "type" {
			words = append(words, key+"="+d[key])
		}
	}
	return words
}

// shell writes words as a shell reads them.
func shell(words []string) string {
	quoted := make([]string, len(words))
	for i, w := range words {
		if w == "" || strings.ContainsAny(w, " \t\n\"'\\$`!*?[]{}()<>|&;#~") {
			w = "'" + strings.ReplaceAll(w, "'", `'\''`) + "'"
		}
		quoted[i] = w
	}
	return strings.Join(quoted, " ")
}
