package firewall

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/fanctl/fanctl/internal/plan"
)

// inNamespace runs f in a network namespace of its own, on a thread that ends
// with it: a locked thread that its goroutine leaves is never used again.
func inNamespace(t *testing.T, f func()) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread()
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			t.Error(err)
			return
		}
		f()
	}()
	<-done
}

// output runs a command and returns what it prints, without comments, which
// have the time in them.
func output(t *testing.T, command ...string) string {
	t.Helper()
	out, err := exec.Command(command[0], command[1:]...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v: %s", command, err, out)
	}
	var kept []string
	for line := range strings.Lines(string(out)) {
		if !strings.HasPrefix(line, "#") {
			kept = append(kept, line)
		}
	}
	return strings.Join(kept, "")
}

// snapshot is all rules, as iptables and as nftables see them.
func snapshot(t *testing.T) string {
	t.Helper()
	return output(t, "iptables-save") + output(t, "nft", "list", "ruleset")
}

func look(t *testing.T) Tables {
	t.Helper()
	have, err := Look()
	if err != nil {
		t.Fatal(err)
	}
	return have
}

func apply(t *testing.T, p plan.Plan) {
	t.Helper()
	if err := p.Apply(nil); err != nil {
		t.Fatal(err)
	}
}

// everyRule has a rule of each kind that a fan has, so that a test can tell
// whether iptables prints them as we write them.
func everyRule() Want {
	w := sampleWant()
	w.Rules = append(w.Rules,
		Rule{"filter", "FAN-FORWARD", "-s 250.0.45.0/24 -d 250.0.0.0/8 -i fan-250 -o ftun-250 -j ACCEPT"},
		Rule{"filter", "FAN-FORWARD", "-o fan-250 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT"},
		Rule{"filter", "FAN-INPUT", "-s 10.0.0.0/16 -d 10.0.0.45/32 -p 4 -j ACCEPT"},
		Rule{"filter", "FAN-INPUT", "-s 10.0.0.0/16 -d 10.0.0.45/32 -p udp -m udp --dport 8472 -j ACCEPT"},
		Rule{"filter", "FAN-INPUT", "-s 250.0.0.0/8 -d 250.0.45.1/32 -p icmp -m icmp --icmp-type 8 -j ACCEPT"},
		Rule{"raw", "FAN-PREROUTING", "-s 250.0.0.0/8 -d 250.0.45.0/24 -i ftun-250 -j ACCEPT"})
	w.Jumps = append(w.Jumps, Jump{Table: "filter", From: "INPUT", To: "FAN-INPUT"},
		Jump{Table: "raw", From: "PREROUTING", To: "FAN-PREROUTING", First: true})
	return w
}

// befores are what a host can be like before the first fan: commands to get
// there.
func befores() map[string]string {
	return map[string]string{
		"untouched":     "true",
		"tables in use": "iptables -P FORWARD DROP && iptables -A INPUT -p tcp --dport 22 -j ACCEPT && iptables -t nat -A POSTROUTING -o eth0 -j MASQUERADE",
		"empty tables":  "nft add table ip filter && nft add table ip nat && nft add table ip6 raw && nft add table inet filter",
		"docker": "iptables -N DOCKER-USER && iptables -A DOCKER-USER -j RETURN && iptables -I FORWARD -j DOCKER-USER && " +
			"iptables -t raw -A PREROUTING -d 172.17.0.2 ! -i docker0 -j DROP",
		"nftables of its own": "nft add table ip filter && nft add set ip filter x '{ type ipv4_addr; }' && " +
			"nft add table ip mine && nft add chain ip mine FORWARD '{ type filter hook forward priority 5; }'",
	}
}

// TestUpAndAway checks on the kernel that a change is all that was planned, that
// there is nothing to do after it, and that nothing is left when it is taken
// back or away.
func TestUpAndAway(t *testing.T) {
	for name, before := range befores() {
		t.Run(name, func(t *testing.T) {
			inNamespace(t, func() {
				output(t, "sh", "-c", before)
				clean := snapshot(t)
				p, made := Plan(everyRule(), look(t), none)
				if len(p) != 1 {
					t.Fatalf("%d steps, want 1", len(p))
				}
				apply(t, p)
				if again, _ := Plan(everyRule(), look(t), none); len(again) != 0 {
					t.Fatalf("there is still to do: %s\n%s", again, snapshot(t))
				}
				up := snapshot(t)
				if err := p[0].Undo(); err != nil {
					t.Fatal(err)
				}
				equal(t, "after Undo", snapshot(t), clean)

				apply(t, p)
				equal(t, "done again", snapshot(t), up)
				apply(t, PlanAway(func(Rule) bool { return true }, everyRule().Jumps, true, made, look(t)))
				equal(t, "after PlanAway", snapshot(t), clean)
				if p := PlanAway(func(Rule) bool { return true }, everyRule().Jumps, true, made, look(t)); len(p) != 0 {
					t.Errorf("there is still to take away: %s", p)
				}
			})
		})
	}
}

// TestUndoOfAway checks that what was taken away comes back as it was, in its
// place.
func TestUndoOfAway(t *testing.T) {
	inNamespace(t, func() {
		p, _ := Plan(everyRule(), look(t), none)
		apply(t, p)
		output(t, "iptables", "-I", "FAN-FORWARD", "2", "-i", "fan-251", "-j", "ACCEPT")
		output(t, "iptables", "-I", "FORWARD", "-j", "ACCEPT")
		output(t, "iptables", "-A", "FORWARD", "-j", "DROP")
		before := output(t, "iptables-save")
		for _, last := range []bool{false, true} {
			p = PlanAway(isSample, everyRule().Jumps, last, nil, look(t))
			apply(t, p)
			if output(t, "iptables-save") == before {
				t.Fatal("nothing was taken away")
			}
			if err := p[0].Undo(); err != nil {
				t.Fatal(err)
			}
			equal(t, "after Undo", output(t, "iptables-save"), before)
		}
	})
}

// TestFailure checks that a change of several tables of which one can't be made
// leaves nothing of the others.
func TestFailure(t *testing.T) {
	inNamespace(t, func() {
		p, _ := Plan(everyRule(), look(t), none)
		// Somebody makes the chain between the look and the change.
		output(t, "iptables", "-N", "FAN-INPUT")
		output(t, "iptables", "-A", "FAN-INPUT", "-j", "DROP")
		before := snapshot(t)
		err := p.Apply(nil)
		if err == nil || !strings.Contains(err.Error(), "FAN-INPUT") {
			t.Errorf("error is %v, want one that names the chain", err)
		}
		if strings.Contains(err.Error(), "\nCOMMIT") {
			t.Errorf("error %q has more than the commands and the reason", err)
		}
		equal(t, "after the failure", snapshot(t), before)
		output(t, "iptables", "-F", "FAN-INPUT")
		output(t, "iptables", "-X", "FAN-INPUT")
		if left := output(t, "iptables-save"); strings.Contains(left, "FAN-") {
			t.Errorf("left over:\n%s", left)
		}
	})
}

// TestTidyLeavesWhatIsUsed checks that the kernel is asked in such a way that a
// table with anything in it stays, whoever put it there and when.
func TestTidyLeavesWhatIsUsed(t *testing.T) {
	tests := map[string]string{
		"a rule":        "iptables -A OUTPUT -j ACCEPT",
		"a policy":      "iptables -P OUTPUT DROP",
		"a chain":       "iptables -N X",
		"a set":         "nft add set ip filter x '{ type ipv4_addr; }'",
		"a base chain":  "nft add chain ip filter x '{ type filter hook input priority 7; policy drop; }'",
		"a jump target": "iptables -N X && iptables -A INPUT -j X",
	}
	for name, command := range tests {
		t.Run(name, func(t *testing.T) {
			inNamespace(t, func() {
				output(t, "sh", "-c", "iptables -A FORWARD -j ACCEPT && iptables -D FORWARD -j ACCEPT && "+command)
				before := snapshot(t)
				if err := tidy([]string{"filter", "nat", "raw.PREROUTING"}); err != nil {
					t.Fatal(err)
				}
				equal(t, "after tidy", snapshot(t), before)
			})
		})
	}
}

// TestLegacy does the same over the older kernel interface, whose tables stay
// once they were used.
func TestLegacy(t *testing.T) {
	withLegacy(t)
	inNamespace(t, func() {
		output(t, "sh", "-c", "iptables -nL && iptables -t nat -nL && iptables -t raw -nL")
		clean := output(t, "iptables-save")
		p, made := Plan(everyRule(), look(t), none)
		apply(t, p)
		if again, _ := Plan(everyRule(), look(t), none); len(again) != 0 {
			t.Fatalf("there is still to do: %s\n%s", again, output(t, "iptables-save"))
		}
		apply(t, PlanAway(func(Rule) bool { return true }, everyRule().Jumps, true, made, look(t)))
		equal(t, "after PlanAway", output(t, "iptables-save"), clean)
	})
}

// withLegacy makes "iptables" the older one.
func withLegacy(t *testing.T) {
	t.Helper()
	bin := t.TempDir()
	for _, tool := range []string{"iptables", "iptables-save", "iptables-restore"} {
		path, err := exec.LookPath(strings.Replace(tool, "iptables", "iptables-legacy", 1))
		if err != nil {
			t.Skip("iptables-legacy is not installed")
		}
		if path, err = filepath.EvalSymlinks(path); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(path, filepath.Join(bin, tool)); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("PATH", bin+":"+os.Getenv("PATH"))
}

func TestMissing(t *testing.T) {
	if _, err := find("no-such-program"); !errors.Is(err, ErrMissing) {
		t.Errorf("error is %v, want ErrMissing", err)
	}
}

func equal(t *testing.T, when, got, want string) {
	t.Helper()
	if got != want {
		t.Errorf("%s the rules are\n%s\nwant\n%s", when, got, want)
	}
}
