package tests

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/fanctl/fanctl/tests/bed"
)

// ufw is the real one on a host, with settings of its own.
type ufw struct {
	host *bed.Host
	dir  string
}

// privately runs ufw with the settings in a folder, and with a /run of its own.
const privately = `mount -t tmpfs tmpfs /run; mount --bind "$1/ufw" /etc/ufw; mount --bind "$1/default" /etc/default/ufw; shift; exec ufw "$@"`

// ufwOn sets ufw up as Debian does, with DROP for what comes in and what is
// forwarded. managing says that it takes all chains for its own.
func ufwOn(t *testing.T, h *bed.Host, managing string) ufw {
	t.Helper()
	if _, err := exec.LookPath("ufw"); err != nil {
		t.Fatal("needs Debian's package ufw; make deps installs it")
	}
	u := ufw{h, t.TempDir()}
	h.Must(t, "cp", "-a", "/etc/ufw", u.dir)
	text, err := os.ReadFile("/etc/default/ufw")
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	for line := range strings.Lines(string(text)) {
		if name, _, _ := strings.Cut(line, "="); name != "IPV6" && name != "MANAGE_BUILTINS" {
			lines = append(lines, line)
		}
	}
	text = []byte(strings.Join(lines, "") + "IPV6=no\nMANAGE_BUILTINS=" + managing + "\n")
	if err := os.WriteFile(filepath.Join(u.dir, "default"), text, 0o644); err != nil {
		t.Fatal(err)
	}
	return u
}

func (u ufw) run(t *testing.T, args ...string) {
	t.Helper()
	u.host.Must(t, append([]string{"unshare", "--mount", "--propagation", "private", "sh", "-ec", privately, "sh", u.dir}, args...)...)
}

// ufw, enabled, reloaded and disabled while containers talk, takes nothing of the
// fan's away unless it was told that all chains are its own, and that up -e puts
// right. Nothing has to be opened.
func TestUFW(t *testing.T) {
	for _, managing := range []string{"no", "yes"} {
		t.Run("managing all chains: "+managing, func(t *testing.T) {
			eachPath(t, func(t *testing.T, p path) {
				b := bed.New(t, bed.Options{NoIPv6: true})
				var walls []ufw
				for _, h := range b.Hosts {
					walls = append(walls, ufwOn(t, h, managing))
				}
				walls[1].run(t, "--force", "enable") // before the fan is up; on the other host, after
				fans := upAll(t, b, p, overlay)
				h := fans[0].host
				one, two := fans[0].container(t, bed.ContainerOptions{}), fans[1].container(t, bed.ContainerOptions{})
				for _, command := range []string{"enable", "reload", "disable", "enable"} {
					wait, _ := one.StartPing(t, two.Addr, 200, "-i", "0.01")
					walls[0].run(t, "--force", command)
					said, took := mend(t, h)
					if managing == "yes" && said == "" {
						t.Errorf("ufw %s has broken nothing: what is there to heal?", command)
					}
					sent, answered := wait()
					t.Logf("ufw %s: %s%d of %d pings lost, 10 ms apart; up -e took %v", command, said, sent-answered, sent, took)
					flows(t, one, two, b)
					nothingToMend(t, h)
				}
				for _, chain := range []string{"INPUT", "FORWARD"} {
					if rules := h.Must(t, "iptables", "-S", chain); !strings.Contains(rules, "-P "+chain+" DROP\n") {
						t.Errorf("ufw does not drop: %s", rules)
					}
				}
			})
		})
	}
}
