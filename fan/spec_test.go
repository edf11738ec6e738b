package fan

import (
	"net/netip"
	"strings"
	"testing"
)

func TestSpec(t *testing.T) {
	eth0 := UnderlaySpec{Device: "eth0", Bits: 16}
	overlay := netip.MustParsePrefix("250.0.0.0/8")
	address := func(a string, bits int) UnderlaySpec { return UnderlaySpec{Addr: netip.MustParseAddr(a), Bits: bits} }
	for line, want := range map[string]Spec{
		// 2015: the overlay first; /etc/network/fan since 2016: the underlay first.
		"250.0.0.0/8 eth0/16":                  {Underlay: eth0, Overlay: overlay},
		"eth0/16 250.0.0.0/8":                  {Underlay: eth0, Overlay: overlay},
		"250 eth0":                             {Underlay: eth0, Overlay: overlay},
		"enp0s3 250":                           {Underlay: UnderlaySpec{Device: "enp0s3", Bits: 16}, Overlay: overlay},
		"br-x/24 250":                          {Underlay: UnderlaySpec{Device: "br-x", Bits: 24}, Overlay: overlay},
		"250 default":                          {Underlay: UnderlaySpec{Default: true, Bits: 16}, Overlay: overlay},
		"10.0.0.0/8 172.16.3.4/16":             {Underlay: address("172.16.3.4", 16), Overlay: netip.MustParsePrefix("10.0.0.0/8")},
		"172.16.3.4 10.0.0.0/8":                {Underlay: address("172.16.3.4", 16), Overlay: netip.MustParsePrefix("10.0.0.0/8")},
		"192.168.1.0/24 10.254.0.0/16":         {Underlay: address("192.168.1.0", 24), Overlay: netip.MustParsePrefix("10.254.0.0/16")},
		"-u eth0/16 -o 250.0.0.0/8":            {Underlay: eth0, Overlay: overlay},
		"--overlay=250 --underlay eth0":        {Underlay: eth0, Overlay: overlay},
		"-o=250 -ueth0":                        {Underlay: eth0, Overlay: overlay},
		"-u eth0 250":                          {Underlay: eth0, Overlay: overlay},
		"eth0 -o 250":                          {Underlay: eth0, Overlay: overlay},
		"--no-nat 250 --type=vxlan eth0":       {Underlay: eth0, Overlay: overlay, Type: VXLAN, NoNAT: true},
		"250 eth0 bridge mine type vxlan":      {Underlay: eth0, Overlay: overlay, Bridge: "mine", Type: VXLAN},
		"250 eth0 bridge eth0":                 {Underlay: eth0, Overlay: overlay, Bridge: "eth0"},
		"250 eth0 --port 4790 mtu 1300 no-nat": {Underlay: eth0, Overlay: overlay, Port: 4790, MTU: 1300, NoNAT: true},
		"250 eth0 off":                         {Underlay: eth0, Overlay: overlay, Off: true},
		"eth0 250 --disable":                   {Underlay: eth0, Overlay: overlay, Off: true},
		"eth0 250 --enable":                    {Underlay: eth0, Overlay: overlay},
		"250 eth0 --datapath ebpf":             {Underlay: eth0, Overlay: overlay, Datapath: EBPF},
		"250 eth0 --fast":                      {Underlay: eth0, Overlay: overlay, Fast: FastIfSafe},
		"fast 250 eth0":                        {Underlay: eth0, Overlay: overlay, Fast: FastIfSafe},
		"--fast=on 250 eth0 no-nat":            {Underlay: eth0, Overlay: overlay, Fast: FastIfSafe, NoNAT: true},
		"250 --fast=force eth0":                {Underlay: eth0, Overlay: overlay, Fast: FastAnyway},
		// Its value is in the same word: the next one is a device.
		"250 --fast force": {Underlay: UnderlaySpec{Device: "force", Bits: 16}, Overlay: overlay, Fast: FastIfSafe},
	} {
		if got, err := ParseSpec(strings.Fields(line)); err != nil || got != want {
			t.Errorf("%s is %+v, %v; want %+v", line, got, err, want)
		}
	}
}

func TestSpecRefuses(t *testing.T) {
	for line, words := range map[string]string{
		"":                             "underlay eth0/16",
		"-u eth0":                      "overlay 250.0.0.0/8",
		"-o 250":                       "underlay eth0/16",
		"eth0":                         `"eth0" overlay 250.0.0.0/8`,
		"250":                          `"250" underlay eth0/16`,
		"250 eth0/16 10.0.0.0/16":      "10.0.0.0/16 many",
		"-u eth0 -o 250 10.0.0.0/8":    "10.0.0.0/8 many",
		"250 eth0 dchp":                `"dchp" understood type`,
		"250 eth0/16 dchp":             `"dchp" understood type`,
		"250 dchp eth0/16":             `"dchp" understood type`,
		"250 eth0 --frob":              `"--frob" understood type`,
		"250 eth0 -x":                  `"-x" understood type`,
		"250 eth0 --frob=1":            `"--frob=1" understood`,
		"250 eth0 bridge=mine":         `"bridge=mine" understood`,
		"250 eth0 --":                  `"--" understood`,
		"250 eth0 -":                   `"-" understood`,
		"250 eth0 bridge":              `"bridge" value`,
		"250 eth0 --mtu":               `"--mtu" value`,
		"250 eth0 -u":                  `"-u" value`,
		"250 eth0 --no-nat=1":          `"--no-nat=1" value`,
		"250 eth0 no-nat --no-nat":     `"--no-nat" twice`,
		"-u eth0 --underlay eth1 -o 9": `"--underlay" twice`,
		"250 eth0 mtu x":               `"x" 576`,
		"250 eth0 type gre":            `"gre" ipip`,
		"10.0.0.0/16 10.1.0.0/16":      "10.0.0.0/16 10.1.0.0/16 longer",
		"eth0 eth1":                    `"eth0" "eth1" networks eth0/16 250.0.0.0/8`,
		"rubbish here":                 `"rubbish" "here" not networks eth0/16 250.0.0.0/8`,
		"eth0/16 eth1":                 `"eth0/16" "eth1" overlay 250.0.0.0/8`,
		"foo":                          `"foo" no network overlay eth0/16 250.0.0.0/8`,
		"250 eth0/16 vxlan":            `"vxlan" mean: type vxlan`,
		"250 eth0 ebpf":                `"ebpf" mean: datapath ebpf`,
		"250 eth0 --fast force":        `"force" mean: --fast=force`,
		"250 eth0 fast on":             `"on" mean: --fast=on`,
		"250 eth0 force":               `"force" understood fast`,
		"250 eth0 fast=force":          `"fast=force" understood`,
		"250 eth0 --fast=":             `"" on force`,
		"250 eth0 --fast=true":         `"true" on force`,
		"250 eth0 --fast=off":          `"off" on force`,
		"250 eth0 --fast --fast=force": `"--fast=force" twice`,
		"250 240":                      "250 240 longer",
		"250.1.0.0/8 eth0":             "250.1.0.0/8 250.0.0.0/8",
		"250 10.0.0.0/99":              "10.0.0.0/99 99",
		"250.0.0.0/8 10.0.0/16":        "10.0.0/16 10.0.0",
		"a:b/16 250":                   "a:b/16",
	} {
		_, err := ParseSpec(strings.Fields(line))
		checkUsage(t, line, err, words)
	}
}

// The options that were given are written as they are read, in one order.
func TestSpecWords(t *testing.T) {
	for line, want := range map[string]string{
		"250 eth0":                              "eth0/16 250.0.0.0/8",
		"250 eth0 fast":                         "eth0/16 250.0.0.0/8 --fast",
		"250 eth0 --fast=on":                    "eth0/16 250.0.0.0/8 --fast",
		"--fast=force no-nat 250 eth0 mtu 1300": "eth0/16 250.0.0.0/8 --mtu 1300 --fast=force --no-nat",
	} {
		s, err := ParseSpec(strings.Fields(line))
		if got := strings.Join(s.Words(), " "); err != nil || got != want {
			t.Errorf("%s is written as %q, %v; want %q", line, got, err, want)
		}
	}
}

func TestOptionsAreEachOnce(t *testing.T) {
	seen := map[string]bool{}
	for _, o := range Options() {
		if seen[o.Name] {
			t.Errorf("option %s is there twice", o.Name)
		}
		seen[o.Name] = true
	}
}
