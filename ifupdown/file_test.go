package ifupdown

import (
	"errors"
	"net/netip"
	"strings"
	"testing"

	"github.com/fanctl/fanctl/fan"
)

func spec(t testing.TB, line string) fan.Spec {
	t.Helper()
	s, err := fan.ParseSpec(strings.Fields(line))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

const sample = `# fans of this host

250.0.0.0/8 eth0/16            # the first fan
	10.0.0.0/16	240.0.0.0/8	--type vxlan --enable	# since 2016 the underlay comes first
#241.0.0.0/8 eth1/16
10.0.0.0/8 172.16.3.5/16 off
eth1/16 242 --fast=force no-nat
243 eth1/16 fast no-nat`

func TestParse(t *testing.T) {
	f := Parse("fan", sample)
	want := map[int]string{3: "eth0/16 250", 4: "10.0.0.0/16 240 --type vxlan", 6: "172.16.3.5 10.0.0.0/8 --disable",
		7: "eth1 242 --no-nat --fast=force", 8: "eth1 243 --no-nat --fast"}
	for _, e := range f.Entries() {
		if e.Err != nil || want[e.Line] == "" || e.Spec != spec(t, want[e.Line]) {
			t.Errorf("line %d is %+v, %v; want %s", e.Line, e.Spec, e.Err, want[e.Line])
		}
		delete(want, e.Line)
	}
	if len(want) > 0 {
		t.Errorf("not found: %v", want)
	}
	if got := f.String(); got != sample+"\n" {
		t.Errorf("written back as\n%s", got)
	}
}

// Each wrong line says where it is and what is wrong, and the others are read.
func TestWrongLines(t *testing.T) {
	for wrong, words := range map[string]string{
		"eth0/16":                           "eth0/16 overlay",
		"250.0.0.0/8":                       "250.0.0.0/8 underlay",
		"eth0/16 250.0.0.1/8":               "250.0.0.1/8 250.0.0.0/8",
		"eth0/16 250.0.0.0/8 dchp":          `"dchp" understood`,
		"eth0/16 250.0.0.0/8 --dchp":        `"--dchp" understood`,
		"eth0/16 250.0.0.0/8 10.0.0.0/8":    "10.0.0.0/8 many",
		"eth0/16 250.0.0.0/8 bridge":        `"bridge" value`,
		"eth0/16 250.0.0.0/8 --type gre":    `"gre" vxlan`,
		"eth0/16 250.0.0.0/8 --fast=yes":    `"yes" on force`,
		"eth0/16 250.0.0.0/8 --fast on":     `"on" --fast=on`,
		"eth0/16 250.0.0.0/8 --type=ip\x00": "vxlan",
		"10.0.0.0/16 250.0.0.0/16":          "10.0.0.0/16 250.0.0.0/16 longer",
		"eth0/99 250.0.0.0/8":               "99",
		"eth9 240.0.0.0/8":                  "240.0.0.0/8 line 1", // twice
		"auto eth0":                         `"auto"`,
	} {
		entries := Parse("/etc/network/fan", "eth0/16 240.0.0.0/8\n\n"+wrong+" # why\neth0/16 241.0.0.0/8\n").Entries()
		if len(entries) != 3 || entries[0].Err != nil || entries[2].Err != nil {
			t.Errorf("around %q: %+v", wrong, entries)
			continue
		}
		err := entries[1].Err
		if !errors.Is(err, fan.ErrUsage) || !strings.HasPrefix(err.Error(), "/etc/network/fan:3: ") || strings.Contains(err.Error(), "\n") {
			t.Errorf("%q: error %v, want one line with the file and line 3", wrong, err)
			continue
		}
		for word := range strings.FieldsSeq(words) {
			if !strings.Contains(err.Error(), word) {
				t.Errorf("%q: error %q does not name %s", wrong, err, word)
			}
		}
	}
}

func TestSet(t *testing.T) {
	for _, test := range []struct{ name, before, set, after string }{
		{"into an empty file", "", "eth0 250", "eth0/16 250.0.0.0/8\n"},
		{"behind the others", "# mine\neth0 240", "eth0 250 --mtu 1400", "# mine\neth0 240\neth0/16 250.0.0.0/8 --mtu 1400\n"},
		{"in its place", "a 250 # why\nb 240\n", "c/24 250 --no-nat", "c/24 250.0.0.0/8 --no-nat # why\nb 240\n"},
		{"as it is", "250  a   # as typed\n", "a/16 250", "250  a   # as typed\n"},
		{"beside one that is off", "a 250 off\n", "b 250", "a 250 off\nb/16 250.0.0.0/8\n"},
		{"switched on", "a 250 off\n", "a 250", "a/16 250.0.0.0/8\n"},
		{"beside a wrong line", "frob\n", "a 250", "frob\na/16 250.0.0.0/8\n"},
	} {
		f := Parse("fan", test.before)
		changed, err := f.Set(spec(t, test.set))
		if err != nil || f.String() != test.after || changed != (Parse("fan", test.before).String() != test.after) {
			t.Errorf("%s: changed %t, %v:\n%s\nwant\n%s", test.name, changed, err, f, test.after)
		}
	}
	f := Parse("fan", "a 250 off\nb 250\n")
	if _, err := f.Set(spec(t, "a 250")); !errors.Is(err, fan.ErrUsage) || !strings.Contains(err.Error(), "250.0.0.0/8") {
		t.Errorf("a second fan of an overlay: %v", err)
	}
}

func TestDelete(t *testing.T) {
	f := Parse("fan", "# mine\na 250 # first\nb 240\n\nc 241\n")
	overlay := netip.MustParsePrefix("250.0.0.0/8")
	if f.Delete(fan.UnderlaySpec{Device: "b", Bits: 16}, overlay) {
		t.Error("a line with another underlay went")
	}
	if !f.Delete(fan.UnderlaySpec{Device: "a", Bits: 16}, overlay) || f.String() != "# mine\nb 240\n\nc 241\n" {
		t.Errorf("after deleting:\n%s", f)
	}
	if lines := f.Entries(); lines[0].Line != 2 || lines[1].Line != 4 {
		t.Errorf("lines are %+v", lines)
	}
}

func TestMark(t *testing.T) {
	overlay := netip.MustParsePrefix("250.0.0.0/8")
	for _, test := range []struct{ before, comment, after string }{
		{"b 240\na/16 250\n", "mine", "b 240\na/16 250 # mine\n"},
		{"a 250 --dhcp   #of old\n", "mine", "a 250 --dhcp # mine\n"},
		{"a 250 # mine\n", "mine", "a 250 # mine\n"},
		{"a 250 # mine\n", "", "a 250\n"},
		{"b 250\n", "mine", "b 250\n"},
	} {
		f := Parse("fan", test.before)
		changed := f.Mark(fan.UnderlaySpec{Device: "a", Bits: 16}, overlay, test.comment)
		if f.String() != test.after || changed != (test.before != test.after) {
			t.Errorf("%q marked %q: %t, %q; want %q", test.before, test.comment, changed, f, test.after)
		}
		if e := f.Entries(); strings.Contains(test.before, "a") && e[len(e)-1].Comment != test.comment {
			t.Errorf("%q has the comment %q, want %q", f, e[len(e)-1].Comment, test.comment)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add(sample)
	f.Add("A 100\nA 100")
	f.Add("a 250\r\nb 250 bridge\n\ufeff# x")
	f.Add("A 100 type vxlan\n100 A off")
	f.Fuzz(func(t *testing.T, text string) {
		file := Parse("fan", text)
		if got := strings.TrimSuffix(file.String(), "\n"); got != strings.TrimSuffix(text, "\n") {
			t.Errorf("%q is written back as %q", text, got)
		}
		type networks struct {
			underlay fan.UnderlaySpec
			overlay  netip.Prefix
		}
		seen := map[networks]bool{}
		for _, e := range file.Entries() {
			if e.Err != nil && (!errors.Is(e.Err, fan.ErrUsage) || strings.Contains(e.Err.Error(), "\n")) {
				t.Errorf("%q: error %q", text, e.Err)
			}
			// Of lines with the same networks, of which all but one are off, the first is set.
			n := networks{e.Spec.Underlay, e.Spec.Overlay}
			if e.Err != nil || seen[n] {
				continue
			}
			seen[n] = true
			if changed, err := file.Set(e.Spec); changed || err != nil {
				t.Errorf("%q: setting line %d as it is: %t, %v", text, e.Line, changed, err)
			}
		}
	})
}
