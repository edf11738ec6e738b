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

// up -e keeps what a fan was asked to be, whatever that was, and all fans of a host
// at once.
func TestMendKeepsDHCPAndOptions(t *testing.T) {
	b := bed.New(t, bed.Options{NoIPv6: true})
	h := b.Hosts[0]
	state := []string{"FANCTL_STATE=" + filepath.Join(t.TempDir(), "state")}
	t.Cleanup(func() { h.FanctlEnv(state, "down", "-e", "--force") })
	nothingToMend(t, h) // there is no fan
	file := filepath.Join(t.TempDir(), "fan")
	if err := os.WriteFile(file, []byte("eth0/16 250.0.0.0/8 --datapath ebpf --no-nat\n"+
		"eth0/16 240.0.0.0/8 --type vxlan --port 4790 --bridge mine --mtu 1300 --dhcp --host-reserve 3\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if r := h.FanctlEnv(state, "up", "-a", "--file", file); r.Code != 0 {
		t.Fatal(r)
	}
	h.MustFanctl(t, "up", "-u", "10.0.0.0/16", "-o", "249", "--mtu", "1400")
	before, shown := h.Settled(t), h.MustFanctl(t, "show")
	h.Must(t, "sh", "-ec", "for c in INPUT FORWARD; do iptables -F FAN-$c; done; iptables -t nat -F FAN-POSTROUTING; ip link set mine down; ip link del ftun-250; ip route flush root 249.0.0.0/8")
	said, _ := mend(t, h, state...)
	if lines := strings.SplitAfter(said, "\n"); len(lines) != 4 || !oneLine(lines[0], "fan-250 ") || !oneLine(lines[1], "mine ") || !oneLine(lines[2], "fan-249 ") {
		t.Errorf("up -e of three broken fans says %q", said)
	}
	if difference := h.Becomes(t, before); difference != "" {
		t.Error(difference)
	}
	if now := h.MustFanctl(t, "show"); now != shown {
		t.Errorf("show was\n%s and is\n%s", shown, now)
	}
	nothingToMend(t, h, state...)
}

// What can't be put right is told in one line a fan, keeps no other fan from being put
// right, and is left as it is.
func TestMendFails(t *testing.T) {
	b := bed.New(t, bed.Options{NoIPv6: true})
	h := b.Hosts[0]
	h.MustFanctl(t, "up", "eth0", "240", "--mtu", "1480", "--datapath", "ebpf") // with a tunnel of its own, as one step below has it
	h.MustFanctl(t, "up", "eth0", "250")
	address := fmt.Sprintf("%s/16", h.Addr)
	for _, step := range []struct {
		name     string
		breaks   []string
		heals    []string
		mended   int      // lines of what was put right
		fans     []string // those that could not be
		mentions string
	}{
		{"MTU does not fit", []string{"link set eth0 mtu 1400"}, []string{"link set eth0 mtu 1500"}, 1, []string{"fan-240"}, "1480 eth0 1400 1380"},
		{"no address", []string{"addr del " + address + " dev eth0"}, []string{"addr add " + address + " brd + dev eth0"}, 0,
			[]string{"fan-240", "fan-250"}, "10.0.0.0/16 no none"},
		{"two addresses", []string{"addr del " + address + " dev eth0", "addr add 10.0.7.1/16 dev eth0", "addr add 10.0.7.2/16 dev eth0"},
			[]string{"addr del 10.0.7.1/16 dev eth0", "addr flush dev eth0", "addr add " + address + " brd + dev eth0"}, 0,
			[]string{"fan-240", "fan-250"}, "10.0.0.0/16 several 10.0.7.1/16 10.0.7.2/16"},
		{"bridge's port of another fan's name", []string{"link set ftun-240 down", "link set ftun-240 name kept", "link add ftun-240 type bridge"},
			[]string{"link del ftun-240", "link set kept name ftun-240"}, 0, []string{"fan-240"}, "ftun-240 not bridge"},
	} {
		t.Run(step.name, func(t *testing.T) {
			h.IP(t, step.breaks...)
			r := h.Fanctl("up", "-e")
			lines := strings.FieldsFunc(r.Stderr, func(r rune) bool { return r == '\n' })
			if r.Code != 1 || strings.Count(r.Stdout, "\n") != step.mended || len(lines) != len(step.fans) {
				t.Errorf("up -e: %s", r)
			}
			for i := range min(len(lines), len(step.fans)) {
				for _, word := range slices.Concat([]string{"fanctl: " + step.fans[i] + ": "}, strings.Fields(step.mentions)) {
					if !strings.Contains(lines[i], word) {
						t.Errorf("%q does not name %s", lines[i], word)
					}
				}
			}
			as := h.Settled(t)
			if again := h.Fanctl("up", "-e"); again.Code != 1 || again.Stdout != "" || again.Stderr != r.Stderr {
				t.Errorf("up -e again: %s", again)
			}
			if difference := h.Becomes(t, as); difference != "" {
				t.Error(difference)
			}
			h.IP(t, step.heals...)
			h.DefaultRoute(t)
			mend(t, h)
			nothingToMend(t, h)
			for _, f := range h.Show(t) {
				if f.Host != h.Addr.String() || f.MTU != 1480 {
					t.Errorf("in the end there is %+v", f)
				}
			}
		})
	}
}

// Two runs at a time, of a timer and of a person, do not disturb each other.
func TestMendBesideUp(t *testing.T) {
	eachPath(t, func(t *testing.T, p path) {
		b := bed.New(t, bed.Options{NoIPv6: true})
		fans := upAll(t, b, p, overlay)
		one, two := fans[0].container(t, bed.ContainerOptions{}), fans[1].container(t, bed.ContainerOptions{})
		before := fans[0].host.Settled(t)
		whilePinging(t, one, two, func(int) {
			timer := fans[0].host.StartFanctl("up", "-e")
			fans[0].up(t)
			if r := <-timer; r.Code != 0 || r.Stdout+r.Stderr != "" {
				t.Errorf("up -e beside up: %s", r)
			}
		})
		if difference := fans[0].host.Becomes(t, before); difference != "" {
			t.Error(difference)
		}
	})
}

// A fan of a device whose address is away for a moment waits for it, although another
// device has an address inside the underlay.
func TestMendStaysOnItsDevice(t *testing.T) {
	b := bed.New(t, bed.Options{NoIPv6: true})
	h := b.Hosts[0]
	h.MustFanctl(t, "up", "-u", "eth0/16", "-o", "250")
	h.IP(t, "link add wlan0 type veth peer name air0", "link set wlan0 up", "link set air0 up", "addr add 10.0.0.77/16 dev wlan0 noprefixroute")
	h.IP(t, fmt.Sprintf("addr del %s/16 dev eth0", h.Addr))
	away := h.Settled(t)
	for range 2 {
		r := h.Fanctl("up", "-e")
		if r.Code != 1 || r.Stdout != "" || strings.Count(r.Stderr, "\n") != 1 {
			t.Errorf("up -e: %s; want exit code 1 and one line", r)
		}
		for _, word := range []string{"fan-250: ", "eth0", "10.0.0.0/16", h.Addr.String(), "10.0.0.77/16 on wlan0"} {
			if !strings.Contains(r.Stderr, word) {
				t.Errorf("%q does not name %s", r.Stderr, word)
			}
		}
	}
	if difference := h.Becomes(t, away); difference != "" {
		t.Errorf("without the address: %s", difference)
	}
	h.IP(t, fmt.Sprintf("addr add %s/16 brd + dev eth0", h.Addr))
	h.DefaultRoute(t)
	mend(t, h)
	nothingToMend(t, h)
	if f := h.ShowOf(t, "fan-250"); f.Device != "eth0" || f.Host != h.Addr.String() {
		t.Errorf("in the end there is %+v", f)
	}

	h.IP(t, "link set eth0 down", "link set eth0 name wan0", "addr flush dev wan0")
	said, _ := mend(t, h)
	if !strings.Contains(said, "was eth0 and is wlan0") || !strings.Contains(said, "250.0.77.0/24") {
		t.Errorf("without a device of that name up -e says %q", said)
	}
	nothingToMend(t, h)
}
