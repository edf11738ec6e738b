package lxd

import (
	"errors"
	"fmt"
	"net/netip"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/fanctl/fanctl/fan"
)

// aFan is fan-250 of 10.0.0.8 with an MTU of 1480.
func aFan(t *testing.T) fan.Fan {
	t.Helper()
	m, err := fan.NewMapping(netip.MustParsePrefix("10.0.0.0/16"), netip.MustParsePrefix("250.0.0.0/8"))
	if err != nil {
		t.Fatal(err)
	}
	return fan.Fan{Mapping: m, Host: netip.MustParseAddr("10.0.0.8"), Device: "eth0", Type: fan.IPIP, Bridge: "fan-250", MTU: 1480}
}

// wired is the network card of aFan.
func wired() device {
	return device{"type": "nic", "nictype": "bridged", "parent": "fan-250", "mtu": "1480", "name": "eth0"}
}

// lan is a network card of somebody else's.
func lan() device { return device{"type": "nic", "network": "lxdbr0", "name": "eth0"} }

// own makes a profile of ours, with more configuration.
func own(d device, config ...string) *profile {
	p := with(d)
	p.Config[markKey] = markValue
	for i := 0; i+1 < len(config); i += 2 {
		p.Config[config[i]] = config[i+1]
	}
	return p
}

// with makes a profile with a network card, or without one.
func with(d device) *profile {
	p := (&profile{Devices: map[string]device{"root": {"type": "disk", "path": "/", "pool": "p"}}}).clone()
	if d != nil {
		p.Devices[nic] = d
	}
	return p
}

// after returns the state after changes were made.
func after(s state, changes []change) state {
	for _, c := range changes {
		if c.name == defaultName {
			s.base = c.to
		} else {
			s.own = c.to
		}
	}
	return s
}

func (s state) String() string {
	show := func(p *profile) string {
		if p == nil {
			return "none"
		}
		return fmt.Sprint(*p)
	}
	return "own " + show(s.own) + ", default " + show(s.base)
}

func TestJoinAndLeave(t *testing.T) {
	others := with(nil)
	others.Config["limits.cpu"] = "1"
	for name, before := range map[string]state{
		"nothing":            {nil, with(nil)},
		"default has a card": {nil, with(lan())},
		"default is odd":     {nil, others},
	} {
		for _, byDefault := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, default %t", name, byDefault), func(t *testing.T) {
				changes, err := before.join(aFan(t), LXD, byDefault)
				if err != nil || len(changes) == 0 {
					t.Fatalf("%d changes (%v)", len(changes), err)
				}
				on := after(before, changes)
				if on.base.Devices[nic].on("fan-250") != byDefault || !on.own.ours() || !on.own.Devices[nic].on("fan-250") {
					t.Errorf("joined: %v", on)
				}
				if again, err := on.join(aFan(t), LXD, byDefault); err != nil || len(again) != 0 {
					t.Errorf("joined twice: %v (%v)", again, err)
				}
				// Killed after any change, the way back is the same.
				for i := range changes {
					halfway := after(before, changes[:i+1])
					back, err := halfway.leave("fan-250")
					if end := after(halfway, back); err != nil || end.own != nil || !equal(end.base, before.base) {
						t.Errorf("killed after %d changes and left: %v (%v)", i+1, end, err)
					}
				}
			})
		}
	}
}

func TestJoinWhatIsThere(t *testing.T) {
	short := wired()
	short["mtu"] = "1450"
	filtered := wired()
	filtered["security.mac_filtering"] = "true"
	was := saved{lan()}.String()
	for name, test := range map[string]struct {
		have      state
		byDefault bool
		want      state
	}{
		"another MTU":                      {state{own(short), with(lan())}, false, state{own(wired()), with(lan())}},
		"another card":                     {state{own(lan()), with(lan())}, false, state{own(wired()), with(lan())}},
		"what was added stays":             {state{own(filtered, "a", "b"), with(nil)}, false, state{own(filtered, "a", "b"), with(nil)}},
		"default with another MTU":         {state{own(short, savedKey, was), with(short)}, true, state{own(wired(), savedKey, was), with(wired())}},
		"default put back":                 {state{own(wired(), savedKey, was), with(wired())}, false, state{own(wired()), with(lan())}},
		"default changed since, and again": {state{own(wired(), savedKey, saved{}.String()), with(lan())}, true, state{own(wired(), savedKey, was), with(wired())}},
		"default wired by hand":            {state{own(wired()), with(wired())}, true, state{own(wired()), with(wired())}},
		"default wired by hand, stays":     {state{own(wired()), with(wired())}, false, state{own(wired()), with(wired())}},
	} {
		t.Run(name, func(t *testing.T) {
			changes, err := test.have.join(aFan(t), LXD, test.byDefault)
			if got := after(test.have, changes); err != nil || !equal(got.own, test.want.own) || !equal(got.base, test.want.base) {
				t.Errorf("%v (%v)\nwant %v", got, err, test.want)
			}
		})
	}
}

func TestJoinRefuses(t *testing.T) {
	named := with(nil)
	named.Devices["lan"] = lan()
	for name, test := range map[string]struct {
		have state
		want string
	}{
		"a profile of that name": {state{with(nil), with(nil)}, "LXD has a profile fan-250 that is not fanatic's: it lacks user.profile_autoconfig=fanatic; rename it: lxc profile rename fan-250 NAME"},
		"another eth0":           {state{nil, named}, "LXD: the profile default has a device lan that is a container's eth0 already; take it away first: lxc profile device remove default lan"},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := test.have.join(aFan(t), LXD, true); !errors.Is(err, fan.ErrUsage) || err.Error() != test.want {
				t.Errorf("%v\nwant %s", err, test.want)
			}
		})
	}
}

// The default profile is on one fan only: what it was at first is kept once.
func TestElsewhere(t *testing.T) {
	second := wired()
	second["parent"] = "fan-251"
	kept := saved{lan()}.String()
	for name, test := range map[string]struct {
		base device
		ours map[string]*profile
		want string
	}{
		"nowhere":        {lan(), map[string]*profile{"fan-251": own(second)}, ""},
		"without a card": {nil, nil, ""},
		"on this fan":    {wired(), map[string]*profile{"fan-250": own(wired(), savedKey, kept)}, ""},
		"on another":     {second, map[string]*profile{"fan-251": own(second, savedKey, kept)}, "LXD: the profile default is on another fan already, fan-251; it can be on one only: first enable LXD on that fan again, without --default-profile"},
		"put by hand":    {second, map[string]*profile{"fan-251": own(second)}, ""},
		"of nobody":      {second, nil, ""},
	} {
		t.Run(name, func(t *testing.T) {
			err := state{nil, with(test.base)}.elsewhere(aFan(t), LXD, test.ours)
			if got := fmt.Sprint(err); test.want == "" && err != nil || test.want != "" && (got != test.want || !errors.Is(err, fan.ErrUsage)) {
				t.Errorf("%v\nwant %s", err, test.want)
			}
		})
	}
}

func TestLeave(t *testing.T) {
	was := saved{lan()}.String()
	third := device{"type": "nic", "nictype": "bridged", "parent": "third"}
	for name, test := range map[string]struct {
		have state
		want string
	}{
		"nothing":        {state{nil, with(lan())}, ""},
		"somebody's own": {state{with(wired()), with(lan())}, ""},
		"default stays":  {state{own(wired()), with(lan())}, "lxc profile delete fan-250"},
		"default back": {state{own(wired(), savedKey, was), with(wired())}, `lxc profile device remove default eth0
lxc profile device add default eth0 nic name=eth0 network=lxdbr0
lxc profile delete fan-250`},
		"default had none": {state{own(wired(), savedKey, saved{}.String()), with(wired())}, `lxc profile device remove default eth0
lxc profile delete fan-250`},
		"default as it was": {state{own(wired(), savedKey, was), with(lan())}, "lxc profile delete fan-250"},
		"default changed since": {state{own(wired(), savedKey, was), with(third)},
			`lxc profile delete fan-250 # somebody has changed eth0 of the profile default since; it stays so, and was {"eth0":{"name":"eth0","network":"lxdbr0","type":"nic"}}`},
	} {
		t.Run(name, func(t *testing.T) {
			changes, err := test.have.leave("fan-250")
			var lines []string
			for _, c := range changes {
				lines = append(lines, c.text("lxc"))
			}
			if got := strings.Join(lines, "\n"); err != nil || got != test.want {
				t.Errorf("%s (%v)\nwant\n%s", got, err, test.want)
			}
		})
	}
	if _, err := (state{own(wired(), savedKey, "{"), with(wired())}).leave("fan-250"); err == nil || !strings.Contains(err.Error(), savedKey) {
		t.Errorf("what was kept can't be read: %v", err)
	}
}

// What differs between two states is changed, and what somebody else has done stays.
func TestMerge(t *testing.T) {
	have := own(wired(), "theirs", "1")
	have.Devices["theirs"] = device{"type": "none"}
	from, to := own(wired(), "gone", "1"), own(lan(), "new", "1")
	to.Devices["more"] = device{"type": "disk"}
	want := own(lan(), "theirs", "1", "new", "1")
	want.Devices["theirs"], want.Devices["more"] = device{"type": "none"}, device{"type": "disk"}
	if got := merge(have, from, to); !equal(got, want) {
		t.Errorf("%v, want %v", *got, *want)
	}
	if !equal(merge(merge(have, from, to), to, from), own2(have)) {
		t.Errorf("and back: %v, want %v", *merge(merge(have, from, to), to, from), *own2(have))
	}
}

// own2 is have with what the way back of TestMerge brings.
func own2(have *profile) *profile {
	p := have.clone()
	p.Config["gone"] = "1"
	return p
}

func TestText(t *testing.T) {
	changes, err := state{nil, with(lan())}.join(aFan(t), Incus, true)
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	for _, c := range changes {
		c.note = "a note"
		lines = append(lines, c.text(Incus.command()))
	}
	want := `incus profile create fan-250
incus profile set fan-250 user.fanatic.default '{"eth0":{"name":"eth0","network":"lxdbr0","type":"nic"}}'
incus profile set fan-250 user.profile_autoconfig fanatic
incus profile device add fan-250 eth0 nic mtu=1480 name=eth0 nictype=bridged parent=fan-250 # a note
incus profile device remove default eth0
incus profile device add default eth0 nic mtu=1480 name=eth0 nictype=bridged parent=fan-250 # a note`
	if got := strings.Join(lines, "\n"); got != want {
		t.Errorf("%s\nwant\n%s", got, want)
	}
	c := change{name: "fan-250", from: own(wired(), "a", "b"), to: own(wired())}
	if got := c.text("lxc"); got != "lxc profile unset fan-250 a" {
		t.Error(got)
	}
}

// A shell reads words as they were.
func FuzzShell(f *testing.F) {
	for _, s := range []string{"", "plain", "it's", `{"a":"b"}`, "a b\tc\nd", `\`, "$HOME `id` *", "~", "#", "=x", "-n"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, word string) {
		if strings.Contains(word, "\x00") {
			return // no word of a command line has one
		}
		quoted := shell([]string{"printf", "%s|", word, word})
		out, err := exec.Command("sh", "-c", quoted).Output()
		if want := word + "|" + word + "|"; err != nil || string(out) != want {
			t.Errorf("%q is %q to a shell (%v), want %q", quoted, out, err, want)
		}
	})
}

// What is kept of the default profile is read as it was written, and nothing that stands
// there breaks the reader.
func FuzzSaved(f *testing.F) {
	for _, s := range []string{"", "{}", `{"eth0":null}`, saved{lan()}.String(), `{"eth0":{"a":1}}`, "[]"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		got, ok, err := readSaved(own(nil, savedKey, text))
		if !ok && err == nil {
			t.Fatal("what is there is not found")
		}
		if err != nil {
			return
		}
		again, ok, err := readSaved(own(nil, savedKey, got.String()))
		if err != nil || !ok || again.String() != got.String() {
			t.Errorf("%s is read as %s (%v)", got, again, err)
		}
	})
}

func TestCutQuery(t *testing.T) {
	for reference, want := range map[string][2]string{
		"/1.0/instances/c1":             {"/1.0/instances/c1", ""},
		"/1.0/instances/c1?project=web": {"/1.0/instances/c1", "web"},
		"/1.0/operations/12-34":         {"/1.0/operations/12-34", ""},
		"%":                             {"%", ""},
	} {
		if path, project := cutQuery(reference); path != want[0] || project != want[1] {
			t.Errorf("%s: %s of %q", reference, path, project)
		}
	}
}

func TestWithout(t *testing.T) {
	if got := without([]string{"a", "b", "a", "c"}, "a"); !slices.Equal(got, []string{"b", "c"}) {
		t.Error(got)
	}
	if got := without([]string{"a"}, "a"); got == nil || len(got) != 0 {
		t.Errorf("%#v", got)
	}
}
