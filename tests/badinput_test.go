package tests

import (
	"strings"
	"testing"

	"github.com/fanctl/fanctl/tests/bed"
)

// mistake is what follows the word fanctl on a shell's line and can't be, and words
// of the one line that it is answered with.
type mistake struct{ line, words string }

// Exit codes of the program.
const (
	failure = 1
	usage   = 2
)

// asRoot runs the program with what follows it on the line.
func asRoot(h *bed.Host) func(line string) bed.Result {
	return func(line string) bed.Result { return h.Exec("sh", "-c", "exec $"+bed.BinaryVariable+" "+line) }
}

// refuses fails the test unless each mistake ends with that code, with one line
// that has its words and with nothing else, and leaves the host as it was. Short:
// unless all of them together leave it so.
func refuses(t *testing.T, h *bed.Host, code int, run func(line string) bed.Result, mistakes ...mistake) {
	t.Helper()
	before := h.Settled(t)
	for i, m := range mistakes {
		lines := []string{m.line}
		if words, ok := strings.CutPrefix(m.line, "up "); ok {
			lines = append(lines, "up --dry-run "+words)
		}
		for _, line := range lines {
			r := run(line)
			if r.Code != code || r.Stdout != "" || !strings.HasPrefix(r.Stderr, "fanctl: ") || !oneLine(r.Stderr, strings.Fields(m.words)...) {
				t.Errorf("fanctl %s: %s\nwant exit code %d, nothing on stdout, and one line of fanctl with %s", line, r, code, m.words)
			}
		}
		if testing.Short() && i < len(mistakes)-1 {
			continue
		}
		if difference := h.Becomes(t, before); difference != "" {
			t.Errorf("fanctl %s has changed the host: %s", m.line, difference)
			before = h.Snapshot(t)
		}
	}
}

// What can't be on any host, or on one with 10.0.0.11/16 on eth0 alone.
func TestBadInput(t *testing.T) {
	for name, mistakes := range map[string][]mistake{
		"commands": badCommands(), "networks": badNetworks(), "hosts": badHosts(), "options": badOptions(), "bridges": badBridges(),
	} {
		t.Run(name, func(t *testing.T) {
			h := bed.New(t, bed.Options{NoIPv6: true}).Hosts[0]
			refuses(t, h, usage, asRoot(h), mistakes...)
		})
	}
}

func badCommands() []mistake {
	return []mistake{
		{"frob", `"frob" up down show help`},
		{"''", `"" up down show help`},
		{`"$(printf 'fr\nob')"`, `"fr\nob" up down show help`},
		{"help frob", `"frob" up down show help`},
		{"--frob", "frob help"},
		{"up", "--underlay eth0/16"},
		{"up -u eth0/16", "--overlay 250.0.0.0/8"},
		{"up -o 250", "--underlay eth0/16"},
		{"up -u '' -o 250", `underlay "" eth0/16`},
		{"up -u eth0/16 -o ''", `overlay "" 250.0.0.0/8`},
		{"up -o 250 -u", "-u help"},
		{"up -u eth0/16 -o 250 --frob", "frob help"},
		{`up -u eth0/16 -o 250 "--$(printf 'fr\nob')"`, "fr ob help"},
		{"up -u eth0/16 -o 250 more", `"more" understood`},
		{"up -u eth0/16 -o 250 -- more", `"more" understood`},
		{"up -u eth0/16 -o 250 --no-nat=perhaps", `"perhaps" no-nat help`},
		{"down", "--underlay eth0/16"},
		{"down -u eth0/16", "--overlay 250.0.0.0/8"},
		{"down -u eth0/16 -o 300", `"300" 250`},
		{"down -u eth0/33 -o 250", `"33" 30`},
		{"down -u eth0/16 -o 250 more", `"more" understood`},
		{"down -u eth0/16 -o 250 --type ipip", "type help"},
		{"down -u eth0/8 -o 250", "/8 250.0.0.0/8 longer"},
		{"show --xml", "xml help"},
		{"show --format xml", "format help"},
		{"show --json=maybe", `"maybe" json help`},
		{"show -u eth0/16", "u help"},
	}
}

func badNetworks() []mistake {
	var all []mistake
	for word := range strings.FieldsSeq("/ /16 10.0.0.0/ 10.0.0.0/x 10.0.0.0/016 10.0.0.0/+16 10.0.0.0/-1 10.0.0.0/0 10.0.0.0/31 10.0.0.0/33 " +
		"10.0.0.0/16/16 10.0.0.0/255.255.0.0 10.0.0.300/16 010.0.0.0/16 ::ffff:10.0.0.0/16 fd00::/16 eth0:1/16 eth0/ default/99") {
		all = append(all, mistake{"up -u " + word + " -o 250", `"` + word + `" 10.0.0.0/16 eth0/16`})
	}
	for word := range strings.FieldsSeq("256 -1 +250 0250 250.0 250/8 250.0.0.0 250.0.0.0/ 250.0.0.0/x 250.0.0.0/08 250.0.0.0/33 250.0.0.0/8/8 eth0 default") {
		all = append(all, mistake{"up -u eth0/16 -o " + word, `"` + word + `" 250.0.0.0/8`})
	}
	return append(all,
		mistake{"up -u ' ' -o 250", `" " 10.0.0.0/16 eth0/16`},
		mistake{"up -u eth0/16 -o fd00::/8", "fd00::/8 IPv4 250.0.0.0/8"},
		mistake{"up -u eth0/16 -o 250.0.0.1/8", "250.0.0.1/8 host bits 250.0.0.0/8"},
		mistake{"up -u eth0/16 -o 250.0.0.0/0", "250.0.0.0/0 everything /1"},
		mistake{"up -u eth0/16 -o 250.0.0.0/16", "10.0.0.0/16 250.0.0.0/16 longer"},
		mistake{"up -u eth0/16 -o 250.0.0.0/24", "10.0.0.0/16 250.0.0.0/24 longer"},
		mistake{"up -u 10.0.0.11/8 -o 250", "10.0.0.11/8 250.0.0.0/8 longer"},
		mistake{"up -u eth0/16 -o 250.0.0.0/15", "10.0.0.0/16 250.0.0.0/15 two /31 /14"},
		mistake{"up -u eth0/16 -o 10", "10.0.0.0/8 10.0.0.0/16 another"},
		mistake{"up -u eth0/16 -o 0", "0.0.0.0/8 no host"},
		mistake{"up -u eth0/16 -o 127", "127.0.0.0/8 no host"},
		mistake{"up -u eth0/16 -o 192.0.0.0/2", "192.0.0.0/2 224.0.0.0/4 no host"})
}

func badHosts() []mistake {
	return []mistake{
		{"up -u eth7/16 -o 250", "eth7/16 eth7 eth0"},
		{"up -u 10.0.0/16 -o 250", "10.0.0/16 eth0"},
		{"up -u lo/16 -o 250", "127.0.0.0/16 127.0.0.0/8 no host"},
		{"up -u 172.16.0.0/12 -o 250", "172.16.0.0/12 no address inside 10.0.0.11/16 eth0"},
		{"up -u 10.0.0.12/16 -o 250", "10.0.0.12 10.0.0.11/16 eth0 10.0.0.0/16"},
	}
}

func badOptions() []mistake {
	var all []mistake
	for word := range strings.FieldsSeq("0 -1 575 65536 many 1e3 1400.5") {
		all = append(all, mistake{"up -u eth0/16 -o 250 --mtu " + word, `"` + word + `" 576 65535`})
	}
	for word := range strings.FieldsSeq("0 -1 65536 8472x domain") {
		all = append(all, mistake{"up -u eth0/16 -o 250 --type vxlan --port " + word, `"` + word + `" 1 65535`})
	}
	return append(all,
		mistake{"up -u eth0/16 -o 250 --mtu ''", `"" 576 65535`},
		mistake{"up -u eth0/16 -o 250 --mtu 1481", "1481 eth0 1500 20 1480"},
		mistake{"up -u eth0/16 -o 250 --type vxlan --mtu 1451", "1451 eth0 1500 50 1450"},
		mistake{"up -u eth0/16 -o 250 --port 8472", "8472 ipip vxlan"},
		mistake{"up -u eth0/16 -o 250 --type gre", `"gre" ipip vxlan`},
		mistake{"up -u eth0/16 -o 250 --type ''", `"" ipip vxlan`},
		mistake{"up -u eth0/16 -o 250 --datapath magic", `"magic" auto device ebpf`},
		mistake{"up -u eth0/16 -o 250 --type vxlan --datapath ebpf", "ebpf ipip vxlan"})
}

func badBridges() []mistake {
	const up = "up -u eth0/16 -o 250 --bridge "
	var all []mistake
	for word := range strings.FieldsSeq("a/b fan:0 fan%d . .. all default ftun-250 ftun-ipip ftin-250 ftrm-250 ftun-9") {
		all = append(all, mistake{up + word, `"` + word + `" name`})
	}
	for word := range strings.FieldsSeq(`fan+ -x !x a\"b`) {
		all = append(all, mistake{up + word, strings.ReplaceAll(word, `\`, "") + " iptables letters"})
	}
	return append(all,
		mistake{up + "''", "empty fan-250"},
		mistake{up + "'a b'", `"a b" space`},
		mistake{up + "1234567890123456", "1234567890123456 16 15"},
		mistake{up + "eth0", "eth0 not a fan's --bridge"})
}
