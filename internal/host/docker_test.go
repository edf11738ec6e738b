package host

import (
	"testing"

	"github.com/fanctl/fanctl/internal/firewall"
)

func TestHasDocker(t *testing.T) {
	chain := func(table, name string, rules ...string) firewall.Tables {
		return firewall.Tables{Chains: map[string]map[string]firewall.Chain{table: {name: {Rules: rules}}}}
	}
	for name, tt := range map[string]struct {
		tables    firewall.Tables
		installed bool
		want      bool
	}{
		"nothing":                    {},
		"installed":                  {installed: true, want: true},
		"its chain":                  {tables: chain("nat", "DOCKER"), want: true},
		"the chain that a fan makes": {tables: chain("filter", "DOCKER-USER")},
		"a container's rule":         {tables: chain("raw", "PREROUTING", "-d 250.0.45.2/32 ! -i fan-250 -j DROP"), want: true},
		"somebody's rule":            {tables: chain("raw", "PREROUTING", "-i eth0 -p udp -j DROP")},
	} {
		if got := hasDocker(tt.tables, func() bool { return tt.installed }); got != tt.want {
			t.Errorf("%s: %v, want %v", name, got, tt.want)
		}
	}
}
