package host

import (
	"slices"
	"strings"

	"github.com/fanctl/fanctl/internal/firewall"
)

// hasDocker says whether the host has Docker's rules, or may have them any moment: a fan
// is up before the daemon is at boot, and containers are there before a timer looks again.
func hasDocker(tables firewall.Tables, installed func() bool) bool {
	for _, chains := range tables.Chains {
		if _, there := chains["DOCKER"]; there {
			return true
		}
	}
	isolates := func(spec string) bool { return strings.Contains(spec, "! -i ") && strings.HasSuffix(spec, "-j DROP") }
	return slices.ContainsFunc(tables.Chains["raw"]["PREROUTING"].Rules, isolates) || installed()
}
