package tests

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/fanctl/fanctl/tests/bed"
)

// plug gives a host a device of the underlay that it was still missing.
func plug(t *testing.T, h *bed.Host, device, address string) {
	t.Helper()
	h.IP(t, fmt.Sprintf("link add %s type veth peer name far-%s", device, device), "link set "+device+" up", fmt.Sprintf("addr add %s dev %s", address, device))
}

// whileRunning waits until so is true, and fails the test if the command ends before.
func whileRunning(t *testing.T, command <-chan bed.Result, what string, so func() bool) {
	t.Helper()
	for !so() {
		select {
		case r := <-command:
			t.Fatalf("the command ends before %s: %s", what, r)
		default:
		}
	}
}

// A list waits for all that is missing at once: what has its underlay comes up, in
// whichever order that is, and nobody waits behind another.
func TestListWaitsForAllAtOnce(t *testing.T) {
	hook := []string{"MODE=start", "PHASE=post-up", "IFACE=eth8"}
	for name, env := range map[string][]string{"by hand": nil, "in a hook": hook} {
		t.Run(name, func(t *testing.T) {
			b := bed.New(t, bed.Options{NoIPv6: true})
			h := b.Hosts[0]
			file := filepath.Join(t.TempDir(), "fan")
			text := "eth8/16 248.0.0.0/8\n172.20.0.0/16 249.0.0.0/8\neth0/16 250.0.0.0/8 --type vxlan\n"
			if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
			ended := make(chan bed.Result, 1)
			go func() { ended <- h.FanctlEnv(env, "up", "-a", "--file", file, "--wait", "60") }()
			shown := func(bridge string) func() bool {
				return func() bool { return strings.Contains(h.Fanctl("show").Stdout, bridge+" ") }
			}
			whileRunning(t, ended, "the last line is up", shown("fan-250"))
			plug(t, h, "eth9", "172.20.0.9/16")
			whileRunning(t, ended, "the second line is up", shown("fan-249"))
			plug(t, h, "eth8", "172.21.0.9/16")
			if r := <-ended; r.Code != 0 || r.Stderr != "" {
				t.Errorf("up -a: %s", r)
			}
			isShown(t, h, "fan-248 type=ipip auto", "fan-249 type=ipip auto", "fan-250 type=vxlan auto")
		})
	}
}

// What is still missing when the time is over is told in the order of the list, and
// so is what was wrong from the beginning.
func TestListTellsWhatIsMissing(t *testing.T) {
	b := bed.New(t, bed.Options{NoIPv6: true})
	h := b.Hosts[0]
	file := filepath.Join(t.TempDir(), "fan")
	text := "eth8/16 248.0.0.0/8\n172.20.0.0/16 249.0.0.0/8\neth0/16 250.0.0.0/8\neth9 247\n"
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, wait := range []string{"0", "1"} {
		r := h.Fanctl("up", "-a", "--file", file, "--wait", wait)
		lines := strings.SplitAfter(r.Stderr, "\n")
		if r.Code != usage || len(lines) != 4 || !oneLine(lines[0], "fan:1: ", "eth8") || !oneLine(lines[1], "fan:2: ", "172.20.0.0/16") || !oneLine(lines[2], "fan:4: ", "eth9") {
			t.Errorf("up -a --wait %s: %s", wait, r)
		}
		isShown(t, h, "fan-250 type=ipip auto")
	}
	r := h.Fanctl("up", "-a", "--file", file, "--wait", "-1")
	if r.Code != usage || !oneLine(r.Stderr, "--wait", "-1") {
		t.Errorf("up -a --wait -1: %s", r)
	}
}
