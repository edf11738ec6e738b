package setup

import (
	"errors"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/fanctl/fanctl/fan"
	"github.com/fanctl/fanctl/ifupdown"
)

func parsed(t *testing.T, words ...string) fan.Spec {
	t.Helper()
	spec, err := fan.ParseSpec(words)
	if err != nil {
		t.Fatal(err)
	}
	return spec
}

const none = "no file"

func textOf(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return none
	}
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// A line that was written goes as it came: by undoing the step that wrote it, and by
// the step that takes it out.
func TestListed(t *testing.T) {
	up := fanAt(t, "10.0.0.45/16", "250", "--mtu=1300")
	for _, test := range []struct {
		name, before string
		up           *fan.Fan
		after        string
	}{
		{"into a new file", none, nil, "eth0/16 250.0.0.0/8 # by fanatic, which made this file\n"},
		{"into an empty file", "", nil, "eth0/16 250.0.0.0/8 # by fanatic\n"},
		{"behind others", "# mine\neth0 240\n", nil, "# mine\neth0 240\neth0/16 250.0.0.0/8 # by fanatic\n"},
		{"of a fan that was up", "# mine\n", &up, "# mine\neth0/16 250.0.0.0/8 # by fanatic, up before as: " + strings.Join(up.Spec().Words(), " ") + "\n"},
		{"in place of a line", "eth1 240\n eth0  250 --dhcp # mine\n", &up, "eth1 240\neth0/16 250.0.0.0/8 # by fanatic, before:  eth0  250 --dhcp # mine\n"},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := &Setup{List: filepath.Join(t.TempDir(), "fan")}
			if test.before != none {
				if err := os.WriteFile(s.List, []byte(test.before), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			spec := parsed(t, "eth0/16", "250.0.0.0/8")
			spec.Auto = true
			p, err := s.planListed(spec, test.up)
			if err != nil || len(p) != 1 {
				t.Fatalf("the plan is %v, %v", p, err)
			}
			if err := p.Apply(nil); err != nil || textOf(t, s.List) != test.after {
				t.Errorf("the list is %q, %v; want %q", textOf(t, s.List), err, test.after)
			}
			if again, err := s.planListed(spec, test.up); err != nil || len(again) != 0 {
				t.Errorf("a second plan is %v, %v", again, err)
			}
			if err := p[0].Undo(); err != nil || textOf(t, s.List) != test.before {
				t.Errorf("undone, the list is %q, %v; want %q", textOf(t, s.List), err, test.before)
			}
			if err := p.Apply(nil); err != nil {
				t.Fatal(err)
			}
			list, err := ifupdown.Load(s.List)
			if err != nil {
				t.Fatal(err)
			}
			e, _ := entryOf(list, spec)
			if before, there := markOf(e).before(); !markOf(e).ours || there != (test.up != nil) || there && before.Overlay != spec.Overlay {
				t.Errorf("%q says that there was %v, %t", e.Comment, before, there)
			}
			away := s.planUnlisted(e)
			if err := away.Apply(nil); err != nil || textOf(t, s.List) != test.before {
				t.Errorf("taken out, the list is %q, %v; want %q", textOf(t, s.List), err, test.before)
			}
			if err := away[0].Undo(); err != nil || textOf(t, s.List) != test.after {
				t.Errorf("put back, the list is %q, %v; want %q", textOf(t, s.List), err, test.after)
			}
		})
	}
}

// Only what we have written is ours.
func TestMarkOf(t *testing.T) {
	for comment, want := range map[string]mark{
		"":                                 {},
		"mine":                             {},
		"by fanatics":                      {},
		"by fanatic":                       {ours: true},
		"by fanatic, which made this file": {ours: true, newList: true},
		"by fanatic, up before as: a 250":  {ours: true, up: "a 250"},
		"by fanatic, before: a 250 # mine": {ours: true, line: "a 250 # mine"},
		"by fanatic, which made this file, up before as: a 250": {ours: true, newList: true, up: "a 250"},
		"by fanatic, with this file":                            {ours: true, newList: true},
		"by fanatic, with this file, up before as: a 250":       {ours: true, newList: true, up: "a 250"},
	} {
		got := markOf(ifupdown.Entry{Comment: comment})
		now := strings.Replace(comment, oldNewList, newList, 1)
		if got != want || got.ours && got.String() != now {
			t.Errorf("%q is read as %+v, and written as %q", comment, got, got)
		}
	}
}

func fanAt(t *testing.T, words ...string) fan.Fan {
	t.Helper()
	f, err := parsed(t, words...).At(fan.Place{Underlay: netip.MustParsePrefix("10.0.0.0/16"), Host: netip.MustParseAddr("10.0.0.45"), Device: "eth0", MTU: 1500})
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func TestRowIs(t *testing.T) {
	up := fanAt(t, "10.0.0.45/16", "250")
	down := Row{Spec: parsed(t, "eth0/16", "250"), Listed: true}
	rowUp := Row{Spec: parsed(t, "eth0/16", "250"), Fan: &up, network: netip.MustParsePrefix("10.0.0.0/16")}
	for _, test := range []struct {
		row  Row
		spec fan.Spec
		is   bool
	}{
		{down, parsed(t, "eth0/16", "250"), true},
		{down, parsed(t, "eth1/16", "250"), false},
		{down, parsed(t, "10.0.0.0/16", "250"), false}, // nobody knows
		{rowUp, parsed(t, "10.0.0.0/16", "250"), true},
		{rowUp, parsed(t, "10.0.0.45/16", "250"), true},
		{rowUp, parsed(t, "10.0.0.0/24", "250"), false},
		{rowUp, parsed(t, "10.1.0.0/16", "250"), false},
		{rowUp, parsed(t, "eth0/16", "250"), true},
		{rowUp, parsed(t, "default/16", "250"), true},
		{rowUp, parsed(t, "eth0/16", "240"), false},
	} {
		if got := test.row.Is(test.spec); got != test.is {
			t.Errorf("%v is %v: %t", test.row.Spec, test.spec, got)
		}
	}
}
