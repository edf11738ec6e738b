package dnsmasq

import (
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/fanctl/fanctl/fan"
)

func sampleConfig(t *testing.T) Config {
	t.Helper()
	m, err := fan.NewMapping(netip.MustParsePrefix("10.0.0.0/16"), netip.MustParsePrefix("250.0.0.0/8"))
	if err != nil {
		t.Fatal(err)
	}
	f := fan.Fan{Mapping: m, Host: netip.MustParseAddr("10.0.0.45"), Device: "eth0", Type: fan.IPIP, Bridge: "fan-250", MTU: 1480, DHCP: true}
	return Config{Fan: f, Leases: "/x/fan-250.leases", User: "nobody"}
}

func TestArgs(t *testing.T) {
	const common = "--interface=fan-250 --conf-file=/dev/null --pid-file= --user=nobody --bind-interfaces --except-interface=lo " +
		"--dhcp-authoritative --dhcp-no-override --no-ping --dhcp-leasefile=/x/fan-250.leases "
	for name, test := range map[string]struct {
		change func(*Config)
		want   string
	}{
		"ipip": {func(*Config) {}, common + "--dhcp-range=250.0.45.2,250.0.45.127,255.255.255.0,1h --dhcp-lease-max=1252 " +
			"--dhcp-option=option:router,250.0.45.1 --dhcp-option-force=option:mtu,1480 --dhcp-option=option:dns-server,250.0.45.1 --no-hosts --domain-needed"},
		"vxlan beside a DNS server": {func(c *Config) {
			c.Fan.Type, c.Fan.Port, c.Fan.MTU, c.Fan.Reserve, c.NoDNS = fan.VXLAN, fan.DefaultPort, 1450, 10, true
		}, common + "--dhcp-range=250.0.45.11,250.0.45.127,255.0.0.0,1h --dhcp-lease-max=1234 " +
			"--dhcp-option=option:router,250.0.45.1 --dhcp-option-force=option:mtu,1450 --dhcp-option=option:dns-server,250.0.45.1 --port=0"},
	} {
		c := sampleConfig(t)
		test.change(&c)
		if got := strings.Join(c.Args(), " "); got != test.want {
			t.Errorf("%s: %s\nwant %s", name, got, test.want)
		}
	}
}

func TestPlan(t *testing.T) {
	if _, err := Program(); err != nil {
		t.Fatal("needs Debian's package dnsmasq-base; make deps installs it")
	}
	c := sampleConfig(t)
	c.Leases = filepath.Join(t.TempDir(), "new", "leases")
	as := Process{PID: 1 << 22, Args: c.Args()}
	other := Process{PID: 1<<22 + 1, Args: append(slices.Clone(c.Args()), "--port=0")}
	for name, test := range map[string]struct {
		running []Process
		want    string
	}{
		"none":              {nil, "mkdir dnsmasq"},
		"as wanted":         {[]Process{as}, ""},
		"with other words":  {[]Process{other}, "kill mkdir dnsmasq"},
		"two, one as it is": {[]Process{as, other}, "kill kill mkdir dnsmasq"},
	} {
		p, err := Plan(c, nil, test.running)
		if err != nil {
			t.Fatal(err)
		}
		var words []string
		for _, step := range p {
			words = append(words, strings.Fields(step.Text)[0])
		}
		if got := strings.Join(words, " "); got != test.want {
			t.Errorf("%s: %s, want %s", name, got, test.want)
		}
	}
}

// A process that is ended is started again, to undo it, only with what the fan before
// says of it: somebody else may have given it a script to run.
func TestUndoRunsNoStrangersWords(t *testing.T) {
	c := sampleConfig(t)
	c.Leases = filepath.Join(t.TempDir(), "leases")
	before := c
	before.Fan.MTU = 1400
	alone := before
	alone.NoDNS = true
	evil := append(slices.Clone(before.Args()), "--conf-script=/tmp/evil")
	for name, test := range map[string]struct {
		before *Config
		args   []string
		undone bool
	}{
		"the fan's own":              {&before, before.Args(), true},
		"its own without DNS":        {&before, alone.Args(), true},
		"a stranger's":               {&before, evil, false},
		"another fan's":              {&before, c.Args(), false},
		"nobody knows of what":       {nil, before.Args(), false},
		"a stranger's, nobody knows": {nil, evil, false},
	} {
		p := PlanStop(test.before, []Process{{PID: 1 << 22, Bridge: "fan-250", Args: test.args}})
		if undone := p[0].Undo != nil; len(p) != 1 || undone != test.undone {
			t.Errorf("%s: it is started again: %t, want %t", name, undone, test.undone)
		}
		if strings.Contains(p[0].Text, "evil") {
			t.Errorf("%s: %s", name, p[0].Text)
		}
	}
}

func TestUserOf(t *testing.T) {
	if uid, err := userOf(os.Getpid()); err != nil || int(uid) != os.Getuid() {
		t.Errorf("this process is of user %d, %v", uid, err)
	}
	if _, err := userOf(1 << 22); err == nil {
		t.Error("a process that is not there has a user")
	}
	if root, nobody := idOf("root"), idOf("nobody"); root != 0 || nobody == 0 {
		t.Errorf("root is %d, nobody %d", root, nobody)
	}
}

func TestCheckLeases(t *testing.T) {
	const good = "1795523185 52:f3:33:ec:b7:95 250.0.11.36 web 01:52:f3:33:ec:b7:95\n0 06-52:f3:33:ec:b7:95 250.0.11.37 * *\nduid 00:01\n"
	for text, words := range map[string]string{
		"": "", good: "",
		good + "1795523185 52:f3":                        ":4: 1",
		"\x00\x00\n" + good:                              ":1: 1",
		"x 52:f3 250.0.11.3 * *\n1 52:f3 250.0.11 * *\n": ":1: 2",
	} {
		path := filepath.Join(t.TempDir(), "leases")
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		got := CheckLeases(path)
		if (got == "") != (words == "") {
			t.Errorf("%q: %q", text, got)
		}
		for word := range strings.FieldsSeq(words) {
			if !strings.Contains(got, word) {
				t.Errorf("%q: %q does not name %s", text, got, word)
			}
		}
	}
	if got := CheckLeases(filepath.Join(t.TempDir(), "none")); got != "" {
		t.Errorf("no leases: %q", got)
	}
}

// A process that has ended is stopped already, and so is one that another has
// followed under its number.
func TestStopOther(t *testing.T) {
	for _, p := range []Process{{PID: 1 << 22}, {PID: os.Getpid(), Args: []string{"--interface=fan-250"}}} {
		if err := Stop(p); err != nil {
			t.Errorf("%+v: %v", p, err)
		}
	}
}

// Whatever a lease file has in it, at most one line says what is wrong.
func FuzzCheckLeases(f *testing.F) {
	for _, seed := range []string{"", "1795523185 52:f3:33:ec:b7:95 250.0.11.36 web *\n", "duid 00:01\n", "x\n\n1 2 3 4 5", "\x00\xff\n"} {
		f.Add([]byte(seed))
	}
	path := filepath.Join(f.TempDir(), "leases")
	f.Fuzz(func(t *testing.T, text []byte) {
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
		note := CheckLeases(path)
		if strings.Contains(note, "\n") || note != "" && !strings.HasPrefix(note, path+":") {
			t.Errorf("%q: %q", text, note)
		}
		good := append(slices.Clone(text), "\n0 06-52:f3:33:ec:b7:95 250.0.11.37 * *\n"...)
		if err := os.WriteFile(path, good, 0o600); err != nil {
			t.Fatal(err)
		}
		if again := CheckLeases(path); note != "" && again == "" {
			t.Errorf("%q: %q, but with a good lease behind nothing is wrong", text, note)
		}
	})
}

// A terminal sends Ctrl-C to the whole group of processes: what we start has one of its
// own, and so is not ended half way.
func TestStartOutOfCtrlC(t *testing.T) {
	absent := filepath.Join(t.TempDir(), "absent") // what a program that fails has said is in the error
	err := Start("cat", []string{"/proc/self/stat", absent})
	if err == nil {
		t.Fatal("a program that fails is said to run")
	}
	// PID (NAME) STATE PARENT GROUP
	if words := strings.Fields(err.Error()); len(words) < 5 || words[4] != words[0] {
		t.Errorf("the process is in a group of others: %v", err)
	}
}
