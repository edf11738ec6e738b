package tests

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/fanctl/fanctl/tests/bed"
	"github.com/fanctl/fanctl/tests/bed/terminal"
)

// Who sits at a terminal is told that there is nothing; a program is not.
func TestNothingIsToldOnATerminal(t *testing.T) {
	h := bed.New(t, bed.Options{NoIPv6: true}).Hosts[0]
	file := filepath.Join(t.TempDir(), "fan")
	if err := os.WriteFile(file, []byte("# none yet\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	fanctl := os.Getenv(bed.BinaryVariable)
	const colourless = "NO_COLOR=1"
	for _, test := range []struct {
		words    []string
		out, err string
	}{
		{[]string{"up", "-a", "--file", file}, "", "fanctl: " + file + " lists no fan to bring up; fanctl config set --file " + file + " adds one\n"},
		{[]string{"show"}, "Bridge           Underlay             Overlay              Flags\n", "fanctl: no fan is up\n"},
		{[]string{"show", "--json"}, "{\n  \"fans\": []\n}\n", ""},
	} {
		c := terminal.Start(t, h.NS, []string{colourless}, append([]string{fanctl}, test.words...)...)
		c.MustEnd(t)
		if got := c.Transcript(); got != test.out+test.err {
			t.Errorf("on a terminal fanctl %v says %q, want %q", test.words, got, test.out+test.err)
		}
		if r := h.Fanctl(test.words...); r.Code != 0 || r.Stdout != test.out || r.Stderr != "" {
			t.Errorf("elsewhere fanctl %v: %s", test.words, r)
		}
	}
}
