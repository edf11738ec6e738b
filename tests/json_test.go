package tests

import (
	"encoding/json"
	"slices"
	"testing"

	"github.com/fanctl/fanctl/tests/bed"
)

// changed is what a script reads of a command that changes fans.
type changed struct {
	Fans []struct {
		bed.Shown
		Fixed  bool       `json:"mtu_fixed"`
		Was    *bed.Shown `json:"was"`
		Steps  []string   `json:"steps"`
		DryRun bool       `json:"dry_run"`
	} `json:"fans"`
	Errors []string `json:"errors"`
}

// down --json tells of the fan as show --json did, of what was up, and of one that is
// not up hardly more than that. The word debug prints JSON alone, too.
func TestChangesAsJSON(t *testing.T) {
	eachPath(t, func(t *testing.T, p path) {
		b := bed.New(t, bed.Options{Hosts: []string{"10.0.0.45"}, NoIPv6: true})
		h := b.Hosts[0]
		tell := func(code int, args ...string) changed {
			t.Helper()
			var c changed
			r := h.Fanctl(append(args, "--json")...)
			if err := json.Unmarshal([]byte(r.Stdout), &c); err != nil || r.Code != code {
				t.Fatalf("%q: %v: %s; want JSON alone and exit code %d", args, err, r, code)
			}
			return c
		}
		up := slices.Concat([]string{"up", "-u", "eth0/16", "-o", "250", "--mtu", "1400"}, p.args)
		if c := tell(1, append(up, "--debug")...); len(c.Fans) != 1 || len(c.Errors) != 1 || !c.Fans[0].DryRun || len(c.Fans[0].Steps) == 0 || c.Fans[0].Was != nil {
			t.Errorf("up --debug: %+v", c)
		}
		if fans := h.Show(t); len(fans) != 0 {
			t.Fatalf("after up --debug there is %+v", fans)
		}
		tell(0, up...)
		shown := tell(0, "show").Fans[0]
		if !shown.Fixed {
			t.Error("show does not tell that the MTU is fixed")
		}
		for _, args := range [][]string{{"down", "-u", "eth0/16", "-o", "250", "--dry-run"}, {"down", "-e"}} {
			c := tell(0, args...)
			if len(c.Fans) != 1 {
				t.Fatalf("%q: %+v", args, c)
			}
			f := c.Fans[0]
			if f.Datapath != shown.Datapath || f.Tunnel != shown.Tunnel || !f.Fixed || f.Was == nil || f.Was.Host != "10.0.0.45" || f.Was.Slice != shown.Slice || len(f.Steps) == 0 {
				t.Errorf("%q: %+v, was %+v; show told %+v", args, f, f.Was, shown)
			}
		}
		for _, underlay := range []string{"eth0/16", "eth7/16"} {
			c := tell(0, "down", "-u", underlay, "-o", "250")
			if len(c.Fans) != 1 || c.Fans[0].Bridge != "fan-250" || c.Fans[0].Was != nil || len(c.Fans[0].Steps) != 0 {
				t.Errorf("down of what is not up, over %s: %+v", underlay, c)
			}
		}
	})
}
