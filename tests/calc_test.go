package tests

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/fanctl/fanctl/tests/bed"
)

// calc says who owns what, of the fans that are up or of one that is named, and
// changes nothing.
func TestCalc(t *testing.T) {
	b := bed.New(t, bed.Options{NoIPv6: true})
	h := b.Hosts[1]
	r := h.Fanctl("calc", "250.3.4.9")
	if r.Code != 2 || !strings.Contains(r.Stderr, "-u 10.0.0.0/16") {
		t.Errorf("without a fan: %s", r)
	}
	named := h.MustFanctl(t, "calc", "250.0.11.9", "-u", "10.0.0.0/16", "-o", "250")
	h.MustFanctl(t, "up", "eth0", "250")
	if up := h.MustFanctl(t, "calc", "250.0.11.9"); up != named || !strings.Contains(up, " 10.0.0.11 ") || !strings.Contains(up, " 250.0.11.0/24 ") {
		t.Errorf("calc of the fan that is up:\n%s\nand of the same one when it is named:\n%s", up, named)
	}
	for _, words := range [][]string{{"calc"}, {"calc", "fan-250"}, {"calc", "10.0.3.4"}} {
		var got struct {
			Addresses []struct {
				Slice, Host string
				Here        bool `json:"this_host"`
			}
		}
		if err := json.Unmarshal([]byte(h.MustFanctl(t, append(words, "--json")...)), &got); err != nil {
			t.Fatal(err)
		}
		if len(got.Addresses) != 1 || got.Addresses[0].Slice != "250.3.4.0/24" || got.Addresses[0].Host != "10.0.3.4" || !got.Addresses[0].Here {
			t.Errorf("%v says %+v", words, got)
		}
	}
	if shown := h.MustFanctl(t, "show", "fan-250"); !strings.Contains(shown, "250.3.4.1/24") {
		t.Errorf("show fan-250:\n%s", shown)
	}
	other := h.MustFanctl(t, "calc", "-u", "10.1.0.0/16", "-o", "250", "250.0.11.9")
	if strings.Contains(other, "fan-250") || !strings.HasSuffix(other, " -\n") {
		t.Errorf("calc of a fan over another underlay, which is not the one that is up:\n%s", other)
	}
	r = h.Fanctl("calc", "250.0.11.9", "9.9.9.9", "foo", "10.0.3.4")
	if lines := strings.SplitAfter(r.Stderr, "\n"); r.Code != 2 || strings.Count(r.Stdout, "\n") != 3 || len(lines) != 3 ||
		!oneLine(lines[0], "9.9.9.9") || !oneLine(lines[1], `"foo"`, "address") || strings.Contains(r.Stderr, "dial") {
		t.Errorf("two that are and two that are not: %s", r)
	}
}
