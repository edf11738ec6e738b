package main

import (
	"bytes"
	"flag"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/fanctl/fanctl/fan"
	"github.com/fanctl/fanctl/internal/clitest"
	"github.com/fanctl/fanctl/internal/host"
	"github.com/fanctl/fanctl/tunnel"
)

// update is a flag of the test: go test ./cmd/fanctl -update
var _ = flag.Bool("update", false, "write the golden files anew")

func checkGolden(t *testing.T, name, got string) {
	t.Helper()
	clitest.Golden(t, filepath.Join("testdata", name+".golden"), got)
}

func TestHelp(t *testing.T) {
	for name, args := range map[string][]string{
		"help": {"help"}, "help-up": {"help", "up"}, "help-down": {"down", "--help"}, "help-show": {"show", "-h"}, "help-calc": {"calc", "-h"}, "help-features": {"features", "-h"}, "help-config": {"config"}, "help-config-set": {"config", "set", "-h"},
	} {
		var out, errOut bytes.Buffer
		if code := run(append([]string{"fanctl"}, args...), &out, &errOut); code != 0 || errOut.Len() > 0 {
			t.Errorf("%v: exit code %d, %s", args, code, errOut.String())
		}
		checkGolden(t, name, out.String())
	}
	var out, errOut bytes.Buffer
	if code := run([]string{"fanctl"}, &out, &errOut); code != 0 {
		t.Errorf("no words: exit code %d", code)
	}
	checkGolden(t, "help", out.String())
}

// statuses are fans of every kind, as List returns them.
func statuses(t *testing.T) []host.Status {
	t.Helper()
	m := func(underlay, overlay string) fan.Mapping {
		m, err := fan.NewMapping(netip.MustParsePrefix(underlay), netip.MustParsePrefix(overlay))
		if err != nil {
			t.Fatal(err)
		}
		return m
	}
	counters := tunnel.Counters{TxPackets: 1, TxBytes: 2, RxPackets: 3, RxBytes: 4, Spoofed: 5, NotOurs: 6, Malformed: 7,
		TooBig: 8, TTL: 9, ECN: 10, Fragments: 11, NoRoute: 12, Kept: 13, TxFast: 14, RxFast: 15}
	return []host.Status{
		{Fan: fan.Fan{Mapping: m("10.0.0.0/16", "250.0.0.0/8"), Host: netip.MustParseAddr("10.0.0.45"), Device: "eth0", Type: fan.IPIP,
			Bridge: "fan-250", MTU: 1480, NAT: true}, Datapath: fan.Device, Tunnel: "ftun-250", On: "eth0", Counters: &counters},
		{Fan: fan.Fan{Mapping: m("192.168.1.0/24", "240.9.0.0/16"), Host: netip.MustParseAddr("192.168.1.7"), Device: "wlan0", Type: fan.VXLAN,
			Bridge: "mine", MTU: 1300, FixedMTU: true, Port: 4790, Fast: fan.FastAnyway}, Datapath: fan.Device, Tunnel: "ftun-240-9", On: "wlan0", FastPorts: new(int)},
		{Fan: fan.Fan{Mapping: m("10.0.0.0/16", "100.0.0.0/8"), Host: netip.MustParseAddr("10.0.0.45"), Device: "eth0", Type: fan.VXLAN,
			Bridge: "fan-100", MTU: 1450, Port: fan.DefaultPort, NAT: true, DHCP: true, Reserve: 3, Fast: fan.FastIfSafe}, Datapath: fan.Device, Tunnel: "ftun-100", On: "lo", Counters: &tunnel.Counters{}, Server: new(int),
			FastPorts: new(int), SlowBecause: []string{"iptables -t filter -A FORWARD -j DROP", "ip route 100.9.0.0/16 dev eth1"}},
	}
}

func TestShow(t *testing.T) {
	for name, list := range map[string][]host.Status{"show": statuses(t), "show-none": nil} {
		var table, text bytes.Buffer
		if err := showTable(&table, list); err != nil {
			t.Fatal(err)
		}
		checkGolden(t, name, table.String())
		if err := showJSON(&text, list); err != nil {
			t.Fatal(err)
		}
		checkGolden(t, name+"-json", text.String())
	}
}

func TestShowInDetail(t *testing.T) {
	all := statuses(t)
	list, err := selectFans(all, []string{"100.0.0.0/8", "mine", "fan-250"})
	if err != nil || len(list) != 3 || list[0].Fan.Bridge != "fan-100" {
		t.Fatalf("named are %+v, %v", list, err)
	}
	if list, err := selectFans(all, []string{"250"}); err != nil || len(list) != 1 || list[0].Fan.Bridge != "fan-250" {
		t.Errorf("overlay 250 is that of %+v, %v", list, err)
	}
	var text bytes.Buffer
	if err := showDetail(&text, all); err != nil {
		t.Fatal(err)
	}
	checkGolden(t, "show-detail", text.String())
	for name, words := range map[string]string{"fan-1": `"fan-1" fan-250 mine fan-100`, "": `""`} {
		_, err := selectFans(all, []string{"mine", name})
		if err == nil {
			t.Errorf("fan %q is one", name)
			continue
		}
		for word := range strings.FieldsSeq(words) {
			if !strings.Contains(err.Error(), word) {
				t.Errorf("%q does not name %s", err, word)
			}
		}
	}
	if _, err := selectFans(nil, []string{"x"}); err == nil || !strings.Contains(err.Error(), "none") {
		t.Errorf("without fans: %v", err)
	}
}

// ownNetwork puts the test into a network namespace of its own, should a command
// that is to be refused not be. The thread ends with the test.
func ownNetwork(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		return // nothing can be changed anyway
	}
	runtime.LockOSThread()
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		t.Fatal(err)
	}
}

// What is wrong before the kernel is looked at.
func TestUsage(t *testing.T) {
	ownNetwork(t)
	for line, words := range map[string]string{
		"frob":                                  `"frob" up down show`,
		"up":                                    "--underlay eth0/16",
		"up -u eth0":                            "--overlay 250.0.0.0/8",
		"up -u eth0/99 -o 250":                  "eth0/99 99",
		"up -u eth0 -o 250.0.0.1/8":             "250.0.0.1/8 250.0.0.0/8",
		"up -u eth0 -o 250 --type gre":          `"gre" ipip vxlan`,
		"up -u eth0 -o 250 --port 0":            `"0" 65535`,
		"up -u eth0 -o 250 --port x":            `"x" 65535`,
		"up -u eth0 -o 250 --mtu 100":           `"100" 576`,
		"up -u eth0 -o 250 --mtu x":             `"x" 576`,
		"up -u eth0 -o 250 --bridge a/b":        `"a/b"`,
		"up -u eth0 -o 250 --datapath x":        `"x" auto device ebpf`,
		"up -u eth0 -o 250 --fast=x":            `"x" on force`,
		"up -u eth0 -o 250 --fast=":             `"" on force`,
		"up -u eth0 -o 250 --fast=false":        `"false" on force`,
		"up -u eth0 -o 250 --fast force":        `"force" --fast=force`,
		"up -u eth0 -o 250 word":                `"word" understood type`,
		"up 250 eth0 --frob":                    "frob help",
		"up 250 eth0 --mtu":                     "-mtu help",
		"up eth0/16":                            `"eth0/16" overlay`,
		"up 250 eth0/16 eth1/16":                `"eth1/16" many`,
		"up 250 -u eth0 --overlay 240":          `"250" many`,
		"up -- 250 --mtu":                       `"--mtu" value`,
		"up -a 250":                             `--all "250"`,
		"up -a -u eth0":                         "--all --underlay",
		"up -a --mtu 1300":                      "--all --mtu",
		"up -a --fast":                          "--all --fast",
		"down -a 250":                           `--all "250"`,
		"down -a --file /x":                     "--file up -a list leave",
		"down -e -o 250":                        "--every --overlay",
		"down -a -e":                            "--all --every",
		"up -e -a":                              "--all --every",
		"up -e 250":                             `--every "250"`,
		"up -e --mtu 1300":                      "--every --mtu",
		"up -e -u eth0":                         "--every --underlay",
		"up -e --wait 3":                        "--every --wait",
		"up -e --file /x":                       "--every --file",
		"up -a --file /":                        "/ file",
		"down 250 eth0/16 eth1/16 240":          `"eth1/16" many`,
		"up -u eth0 -o 250 --frob":              "frob help",
		"up -u":                                 "-u help",
		"down":                                  "--underlay",
		"down -u eth0":                          "--overlay",
		"down -u eth0 -o 250 word":              `"word"`,
		"down -u eth0 -o 250 --type ipip":       "--type known; see fanctl down --help",
		"config set 250 eth0 --frob":            "--frob known; see fanctl config set --help",
		"config --frob":                         "--frob known; see fanctl config --help",
		"show --xml":                            "xml",
		"features --xml":                        "xml",
		"features ipip":                         `"ipip" no words`,
		"--frob":                                "--frob known; see fanctl --help",
		"up -u 10.0.0.0/16 -o 999 --type vxlan": `"999"`,
	} {
		var out, errOut bytes.Buffer
		code := run(append([]string{"fanctl"}, strings.Fields(line)...), &out, &errOut)
		got := errOut.String()
		if code != 2 || out.Len() > 0 || !strings.HasPrefix(got, "fanctl: ") || strings.Count(got, "\n") != 1 {
			t.Errorf("fanctl %s: exit code %d, out %q, error %q; want 2 and one line of error", line, code, out.String(), got)
		}
		for word := range strings.FieldsSeq(words) {
			if !strings.Contains(got, word) {
				t.Errorf("fanctl %s: %q does not name %s", line, got, word)
			}
		}
	}
}
