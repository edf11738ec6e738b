package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// The list as people change it, command by command.
func TestConfig(t *testing.T) {
	file := filepath.Join(t.TempDir(), "fan")
	call := func(line string) (code int, out, errs string) {
		t.Helper()
		var o, e bytes.Buffer
		args := append([]string{"fanctl", "config"}, strings.Fields(line)...)
		code = run(append(args, "--file", file), &o, &e)
		return code, strings.ReplaceAll(o.String(), file, "FILE"), strings.ReplaceAll(e.String(), file, "FILE")
	}
	const written = "FILE is written; fanctl up -a --file FILE brings up what it lists\n"
	const header = "Underlay             Overlay              Flags\n"
	for _, step := range []struct {
		line, out, text string
	}{
		{"list", header, ""},
		{"set -u eth0/16 -o 250", written, "eth0/16 250.0.0.0/8\n"},
		{"set 250.0.0.0/8 eth0/16", "FILE stays as it is\n", "eth0/16 250.0.0.0/8\n"},
		{"set 240 eth1/24 --type vxlan --disable", written, "eth0/16 250.0.0.0/8\neth1/24 240.0.0.0/8 --type vxlan --disable\n"},
		{"ls", header + "eth0/16              250.0.0.0/8\neth1/24              240.0.0.0/8          --type vxlan --disable\n",
			"eth0/16 250.0.0.0/8\neth1/24 240.0.0.0/8 --type vxlan --disable\n"},
		{"set 240 eth1/24 --type vxlan --enable", written + "line 2 was: eth1/24 240.0.0.0/8 --type vxlan --disable\n", "eth0/16 250.0.0.0/8\neth1/24 240.0.0.0/8 --type vxlan\n"},
		{"delete -o 250 -u eth1", "FILE stays as it is: no line has eth1/16 250.0.0.0/8; line 1 has eth0/16 250.0.0.0/8\n", "eth0/16 250.0.0.0/8\neth1/24 240.0.0.0/8 --type vxlan\n"},
		{"delete -o 249 -u eth0", "FILE stays as it is: no line has eth0/16 249.0.0.0/8\n", "eth0/16 250.0.0.0/8\neth1/24 240.0.0.0/8 --type vxlan\n"},
		{"delete -o 250 -u eth0", written, "eth1/24 240.0.0.0/8 --type vxlan\n"},
		{"show", "eth1/24 240.0.0.0/8 --type vxlan\n", "eth1/24 240.0.0.0/8 --type vxlan\n"},
		{"show --json", `{"file":"FILE","text":"eth1/24 240.0.0.0/8 --type vxlan\n"}`, "eth1/24 240.0.0.0/8 --type vxlan\n"},
		{"list --json", `{"errors":[],"fans":[{"line":1,"underlay":"eth1/24","overlay":"240.0.0.0/8","options":["--type","vxlan"],"enabled":true}]}`,
			"eth1/24 240.0.0.0/8 --type vxlan\n"},
		{"delete eth1/24 240 --json", `{"changed":true,"file":"FILE"}`, ""},
		{"list --json", `{"errors":[],"fans":[]}`, ""},
		{"set eth1/24 240 --type vxlan", written, "eth1/24 240.0.0.0/8 --type vxlan\n"},
		{"set eth0/16 240", written + "line 1 was: eth1/24 240.0.0.0/8 --type vxlan\n", "eth0/16 240.0.0.0/8\n"},
		{"set --fast eth0/16 240", written + "line 1 was: eth0/16 240.0.0.0/8\n", "eth0/16 240.0.0.0/8 --fast\n"},
		{"set eth0/16 240 fast", "FILE stays as it is\n", "eth0/16 240.0.0.0/8 --fast\n"},
		{"set eth0/16 240 --fast=force", written + "line 1 was: eth0/16 240.0.0.0/8 --fast\n", "eth0/16 240.0.0.0/8 --fast=force\n"},
		{"list", header + "eth0/16              240.0.0.0/8          --fast=force\n", "eth0/16 240.0.0.0/8 --fast=force\n"},
	} {
		code, out, errs := call(step.line)
		text, _ := os.ReadFile(file)
		var compact bytes.Buffer
		if strings.Contains(step.line, "--json") && json.Compact(&compact, []byte(out)) == nil {
			out = compact.String()
		}
		if code != 0 || out != step.out || errs != "" || string(text) != step.text {
			t.Errorf("config %s: exit code %d, %s\n%sfile:\n%s\nwant\n%sfile:\n%s", step.line, code, errs, out, text, step.out, step.text)
		}
	}
	before, _ := os.ReadFile(file)
	for line, words := range map[string]string{
		"frob": `"frob" list show set delete`, "list x": `"x" see fanctl config list --help`, "show x": `"x"`, "set": "--underlay", "set 250": `"250" underlay`,
		"set 250 eth0 --type gre": `"gre"`, "set 250 eth0 --mtu 1": `"1" 576`, "set 250 eth0 --frob": "frob", "set 250 eth0 --fast=of": `"of" on force`, "delete": "--underlay",
		"delete 250 eth0 --mtu 1400": "mtu", "set 250 eth0/16 eth1/16": `"eth1/16" many`,
	} {
		code, out, errs := call(line)
		if code != 2 || out != "" || !strings.HasPrefix(errs, "fanctl: ") || strings.Count(errs, "\n") != 1 {
			t.Errorf("config %s: exit code %d, out %q, error %q; want 2 and one line", line, code, out, errs)
		}
		for word := range strings.FieldsSeq(words) {
			if !strings.Contains(errs, word) {
				t.Errorf("config %s: %q does not name %s", line, errs, word)
			}
		}
	}
	if after, _ := os.ReadFile(file); !bytes.Equal(before, after) {
		t.Errorf("bad input has changed the list to\n%s", after)
	}
}

// A wrong line is told, the others are listed, and the file stays as it is.
func TestConfigWithWrongLine(t *testing.T) {
	file := filepath.Join(t.TempDir(), "fan")
	if err := os.WriteFile(file, []byte("eth0/16 250.0.0.0/8\nfrob\neth0/16 240.0.0.0/8\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	var out, errs bytes.Buffer
	code := run([]string{"fanctl", "config", "list", "--file", file}, &out, &errs)
	if code != 2 || strings.Count(out.String(), "\n") != 3 || !strings.HasPrefix(errs.String(), "fanctl: "+file+":2: ") {
		t.Errorf("exit code %d, %s\n%s", code, errs.String(), out.String())
	}
	out.Reset()
	code = run([]string{"fanctl", "config", "list", "--json", "--file", file}, &out, &errs)
	var listed struct {
		Fans   []struct{ Line int }
		Errors []struct {
			Line  int
			Error string
		}
	}
	if err := json.Unmarshal(out.Bytes(), &listed); err != nil || code != 2 || len(listed.Fans) != 2 || listed.Fans[1].Line != 3 ||
		len(listed.Errors) != 1 || listed.Errors[0].Line != 2 || !strings.HasPrefix(listed.Errors[0].Error, file+":2: ") {
		t.Errorf("exit code %d, %v: %s", code, err, out.String())
	}
}

// A list that has no fan to bring up is told of to who asks, and one that is not there
// and is named to all.
func TestListWithoutFans(t *testing.T) {
	ownNetwork(t)
	file := filepath.Join(t.TempDir(), "fan")
	for _, test := range []struct {
		text, line, want string
		code             int
	}{
		{"", "up -a --file " + file, "fanctl: " + file + " is not there; name a list of fans, or leave --file out for /etc/network/fan\n", 2},
		{"# none\n", "up -a --file " + file, "", 0},
		{"# none\n", "up -a -v --file " + file, "fanctl: " + file + " lists no fan to bring up; fanctl config set --file " + file + " adds one\n", 0},
		{"eth0 250 off\n", "up -a -v --file " + file, "fanctl: " + file + " lists no fan to bring up; fanctl config set --file " + file + " adds one\n", 0},
		{"eth0 250\n", "up -a -v --dry-run --file " + file, "fanctl: " + file + ":1: underlay eth0/16: there is no device eth0; this host has none but the loopback device\n", 2},
	} {
		if test.text != "" {
			if err := os.WriteFile(file, []byte(test.text), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		var out, errs bytes.Buffer
		code := run(append([]string{"fanctl"}, strings.Fields(test.line)...), &out, &errs)
		if code != test.code || out.Len() > 0 || errs.String() != test.want {
			t.Errorf("%s with %q: exit code %d, out %q, errors %q; want %d, %q", test.line, test.text, code, out.String(), errs.String(), test.code, test.want)
		}
	}
}
