package tests

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/fanctl/fanctl/tests/bed"
)

// A list brings up what it can and says what it can't; -a takes down what the list
// brought up, -e everything.
func TestListOfFans(t *testing.T) {
	b := bed.New(t, bed.Options{NoIPv6: true})
	h := b.Hosts[0]
	file := filepath.Join(t.TempDir(), "fan")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	before := h.Settled(t)
	if r := h.Fanctl("up", "-a", "--file", file); r.Code != 2 || !oneLine(r.Stderr, file, "not there", "--file") {
		t.Errorf("a list that is named and is not there: %s", r)
	}
	write("# none yet\neth0/16 250.0.0.0/8 off\n")
	if r := h.Fanctl("up", "-a", "--file", file); r.Code != 0 || r.Stdout+r.Stderr != "" { // as a unit calls it
		t.Errorf("a list without a fan: %s", r)
	}
	isShown(t, h)

	write("# ours\n250.0.0.0/8 eth0/16\neth0/16 249.0.0.0/8 dchp\neth9/16 248.0.0.0/8\n247.0.0.0/8 eth0/16 off\n" +
		"eth0/16 240.0.0.0/8 --type vxlan --enable # the second\n")
	for range 2 {
		r := h.Fanctl("up", "-a", "--file", file)
		lines := strings.Split(strings.TrimSpace(r.Stderr), "\n")
		if r.Code != 2 || len(lines) != 2 || !strings.HasPrefix(lines[0], "fanctl: "+file+":3: ") || !strings.Contains(lines[0], `"dchp"`) ||
			!strings.HasPrefix(lines[1], "fanctl: "+file+":4: ") || !strings.Contains(lines[1], "eth9") {
			t.Errorf("a list with two wrong lines: %s", r)
		}
		isShown(t, h, "fan-240 type=vxlan auto", "fan-250 type=ipip auto")
	}

	h.MustFanctl(t, "up", "-u", "eth0/16", "-o", "245")
	isShown(t, h, "fan-240 type=vxlan auto", "fan-245 type=ipip", "fan-250 type=ipip auto")
	write("eth0/16 245.0.0.0/8\n")
	h.MustFanctl(t, "up", "-a", "--file", file)
	h.MustFanctl(t, "down", "-a")
	isShown(t, h, "fan-245 type=ipip") // it was up before the list
	h.MustFanctl(t, "up", "250", "eth0")
	h.MustFanctl(t, "down", "-e")
	isShown(t, h)
	if difference := h.Becomes(t, before); difference != "" {
		t.Errorf("after down -e: %s", difference)
	}
}

// isShown fails the test unless show lists these fans, each a bridge and flags; the
// way of ipip is left out.
func isShown(t *testing.T, h *bed.Host, wanted ...string) {
	t.Helper()
	var got []string
	for line := range strings.Lines(h.MustFanctl(t, "show")) {
		fields := strings.Fields(line)
		if fields[0] == "Bridge" {
			continue
		}
		words := fields[:1]
		for _, word := range fields[3:] {
			if !strings.HasPrefix(word, "datapath=") {
				words = append(words, word)
			}
		}
		got = append(got, strings.Join(words, " "))
	}
	slices.Sort(got)
	if strings.Join(got, "\n") != strings.Join(wanted, "\n") {
		t.Errorf("show lists %q, want %q", got, wanted)
	}
}

// One that is in use stays, is named, and keeps no other from going; unless that is
// forced.
func TestListInUse(t *testing.T) {
	for _, option := range []string{"-a", "-e"} {
		t.Run(option, func(t *testing.T) {
			b := bed.New(t, bed.Options{NoIPv6: true})
			h := b.Hosts[0]
			file := filepath.Join(t.TempDir(), "fan")
			if err := os.WriteFile(file, []byte("eth0 240\neth0 249 --type vxlan\neth0 250\n"), 0o644); err != nil {
				t.Fatal(err)
			}
			h.MustFanctl(t, "up", "-a", "--file", file)
			for n, fan := range []string{"fan-240", "fan-249"} {
				h.IP(t, fmt.Sprintf("link add guest%d type veth peer name far%d", n, n), fmt.Sprintf("link set guest%d master %s", n, fan))
			}
			inUse := []string{"fan-240 type=ipip auto", "fan-249 type=vxlan auto"}
			for range 2 {
				r := h.Fanctl("down", option)
				lines := strings.SplitAfter(r.Stderr, "\n")
				if r.Code != 1 || len(lines) != 3 || !oneLine(lines[0], "fan-240", "guest0", "--force") || !oneLine(lines[1], "fan-249", "guest1", "--force") {
					t.Errorf("down %s with fans in use: %s", option, r)
				}
				isShown(t, h, inUse...)
				nothingToMend(t, h)
			}
			h.MustFanctl(t, "down", option, "--force")
			isShown(t, h)
			if left := h.Must(t, "ip", "-o", "link", "show"); strings.Contains(left, " master ") || !strings.Contains(left, "guest1") {
				t.Errorf("down %s --force detaches what is somebody else's: %s", option, left)
			}
		})
	}
}
