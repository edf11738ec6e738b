package docker

import (
	"errors"
	"reflect"
	"strings"
	"testing"

	"github.com/fanctl/fanctl/fan"
)

func TestFlagsOf(t *testing.T) {
	for _, c := range []struct {
		line string
		want []flag
	}{
		{"", nil},
		{"-H fd:// --containerd=/run/containerd/containerd.sock", []flag{{"host", "fd://"}, {"containerd", "/run/containerd/containerd.sock"}}},
		{"--debug --config-file /x -D -b fan-250", []flag{{"debug", ""}, {"config-file", "/x"}, {"bridge", "fan-250"}}},
		{"-b=br0 -Hunix:///s --ip-masq=false --mtu 1400", []flag{{"bridge", "br0"}, {"host", "unix:///s"}, {"ip-masq", "false"}, {"mtu", "1400"}}},
		{"--ip-masq -- --mtu 3", []flag{{"ip-masq", ""}}},
		{"--bip", []flag{{"bip", ""}}},
	} {
		if got := flagsOf(strings.Fields(c.line)); !reflect.DeepEqual(got, c.want) {
			t.Errorf("flagsOf(%q) = %v, want %v", c.line, got, c.want)
		}
	}
}

func TestConfigPath(t *testing.T) {
	for line, want := range map[string]string{"-H fd://": usualConfig, "--config-file /x/y": "/x/y", "--config-file=/z --debug": "/z"} {
		words := strings.Fields(line)
		path, named := configPath(flagsOf(words))
		if path != want || named != strings.Contains(line, "config") {
			t.Errorf("configPath(%q) = %q, %v", line, path, named)
		}
		if rest := withoutConfig(words); strings.Contains(strings.Join(rest, " "), want) {
			t.Errorf("withoutConfig(%q) = %q", line, rest)
		}
	}
}

func TestCheckFlags(t *testing.T) {
	for line, bad := range map[string]bool{
		"-H fd:// --containerd=/x": false, "--iptables=false --debug": false, "--config-file /mtu": false,
		"-b none": true, "--bridge=br0": true, "--bip 10.0.0.1/24": true, "--fixed-cidr=10.0.0.0/25": true, "--mtu=1400": true, "--ip-masq=false": true, "--debug --ip-masq": true,
	} {
		if err := checkFlags(flagsOf(strings.Fields(line)), "/d"); errors.Is(err, fan.ErrUsage) != bad {
			t.Errorf("checkFlags(%q): %v", line, err)
		}
	}
}

func FuzzFlagsOf(f *testing.F) {
	f.Add("-H\x00fd://\x00--mtu=1")
	f.Add("--\x00-\x00--=\x00-b")
	f.Fuzz(func(t *testing.T, line string) {
		words := strings.Split(line, "\x00")
		if got := flagsOf(words); len(got) > len(words) {
			t.Errorf("%q has more flags than words: %q", words, got)
		}
	})
}

func TestUnitIn(t *testing.T) {
	for text, want := range map[string]string{
		"0::/system.slice/docker.service\n":                                                   "docker.service",
		"12:pids:/docker.service\n1:name=systemd:/system.slice/snap.docker.dockerd.service\n": "snap.docker.dockerd.service",
		"0::/user.slice/user-0.slice/session-1.scope\n":                                       "",
		"": "",
	} {
		if got := unitIn(text); got != want {
			t.Errorf("unitIn(%q) = %q, want %q", text, got, want)
		}
	}
}

func TestMode(t *testing.T) {
	for _, m := range []Mode{Off, Network, Default} {
		if got, err := ParseMode(m.String()); err != nil || got != m {
			t.Errorf("ParseMode(%q) = %v, %v", m, got, err)
		}
	}
	if _, err := ParseMode("bridge"); !errors.Is(err, fan.ErrUsage) {
		t.Errorf("ParseMode(bridge): %v", err)
	}
}

func TestSocketOf(t *testing.T) {
	for host, want := range map[string]string{"": usualSocket, "unix:///run/d.sock": "/run/d.sock", "/run/d.sock": "/run/d.sock"} {
		if got, err := socketOf(host); err != nil || got != want {
			t.Errorf("socketOf(%q) = %q, %v", host, got, err)
		}
	}
	for _, host := range []string{"tcp://127.0.0.1:2375", "ssh://me@there", "unix://run/d.sock", "npipe:////./pipe/x", "docker.sock"} {
		if got, err := socketOf(host); !errors.Is(err, fan.ErrUsage) {
			t.Errorf("socketOf(%q) = %q, %v", host, got, err)
		}
	}
}
