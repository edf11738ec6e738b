package docker

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// A configuration file with a fan in it goes back to what it was while Docker does not
// run; one without a fan of ours stays.
func TestPlanWhileDown(t *testing.T) {
	const fan = `{"debug": true, "bridge": "fan-250", "fixed-cidr": "250.0.11.128/25", "mtu": 1480, "ip-masq": false}`
	for _, test := range []struct{ name, before, now, want string }{
		{"as it was", `{"debug": true}`, fan, `{"debug": true}`},
		{"changed since", `{"debug": true}`, strings.Replace(fan, "true", "false", 1), `{"debug": false}`},
		{"bridge taken out since", `{"debug": true}`, `{"debug": true, "mtu": 1480, "ip-masq": false}`, `{"debug": true}`},
		{"no backup", "", fan, fan},
		{"another bridge", `{"debug": true}`, strings.Replace(fan, "fan-250", "docker1", 1), strings.Replace(fan, "fan-250", "docker1", 1)},
	} {
		t.Run(test.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "daemon.json")
			files := map[string]string{path: test.now}
			if test.before != "" {
				files[path+backupSuffix] = test.before
			}
			for name, text := range files {
				if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			// The usual one is not the one that is meant.
			o := Options{ConfigFiles: []string{filepath.Join(t.TempDir(), "daemon.json"), path}}
			wired := len(BridgesWhileDown(o)) == 1
			c, err := PlanWhileDown(o, "fan-250")
			if err != nil {
				t.Fatalf("the plan is %+v, %v", c, err)
			}
			if err := c.Plan.Apply(nil); err != nil {
				t.Fatal(err)
			}
			if got, err := os.ReadFile(path); err != nil || string(got) != test.want {
				t.Errorf("the file has %s, %v; want %s", got, err, test.want)
			}
			_, kept := os.Stat(path + backupSuffix)
			if restored := test.want != test.now; restored != (test.before != "" && kept != nil) || wired != (test.before != "" && strings.Contains(test.now, "bridge")) {
				t.Errorf("restored %t, the backup is still there: %t, wired before: %t", restored, kept == nil, wired)
			}
		})
	}
}

// Without a word about it, Docker's snap is looked at as well.
func TestConfigFiles(t *testing.T) {
	if got := (Options{}).configFiles(); !slices.Contains(got, usualConfig) || !slices.Contains(got, snapConfig) {
		t.Errorf("configurations are looked for at %q", got)
	}
	if got := (Options{ConfigFiles: []string{"/x"}}).configFiles(); !slices.Equal(got, []string{"/x"}) {
		t.Errorf("configurations are looked for at %q, not at /x alone", got)
	}
}
