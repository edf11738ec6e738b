package docker

import (
	"bytes"
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"

	"github.com/fanctl/fanctl/fan"
)

func testSettings() []setting {
	return []setting{{"bridge", `"fan-250"`}, {"fixed-cidr", `"250.0.8.128/25"`}, {"mtu", "1480"}, {"ip-masq", "false"}}
}

func TestEdit(t *testing.T) {
	const fresh = "{\n  \"bridge\": \"fan-250\",\n  \"fixed-cidr\": \"250.0.8.128/25\",\n  \"mtu\": 1480,\n  \"ip-masq\": false\n}\n"
	for _, c := range []struct{ name, before, after string }{
		{"nothing", "", fresh},
		{"white space", " \n", fresh},
		{"empty, one line", "{}\n", `{"bridge": "fan-250", "fixed-cidr": "250.0.8.128/25", "mtu": 1480, "ip-masq": false}` + "\n"},
		{"empty, two lines", "{\n}\n", fresh},
		{"one line", `{"debug": true}`, `{"debug": true, "bridge": "fan-250", "fixed-cidr": "250.0.8.128/25", "mtu": 1480, "ip-masq": false}`},
		{"dense", `{"debug":true,"a":[1, 2]}`, `{"debug":true,"a":[1, 2],"bridge":"fan-250","fixed-cidr":"250.0.8.128/25","mtu":1480,"ip-masq":false}`},
		{"four spaces", "{\n    \"b\": 1,\n\n    \"a\": {\"x\":   1}\n}", "{\n    \"b\": 1,\n\n    \"a\": {\"x\":   1},\n    \"bridge\": \"fan-250\",\n    \"fixed-cidr\": \"250.0.8.128/25\",\n    \"mtu\": 1480,\n    \"ip-masq\": false\n}"},
		{"tabs and CR LF", "{\r\n\t\"b\" : 1\r\n}\r\n", "{\r\n\t\"b\" : 1,\r\n\t\"bridge\" : \"fan-250\",\r\n\t\"fixed-cidr\" : \"250.0.8.128/25\",\r\n\t\"mtu\" : 1480,\r\n\t\"ip-masq\" : false\r\n}\r\n"},
		{"other values", "{\n \"mtu\": 1400 ,\n \"ip-masq\": false,\n \"x\": 1e400000000\n}", "{\n \"mtu\": 1480 ,\n \"ip-masq\": false,\n \"x\": 1e400000000,\n \"bridge\": \"fan-250\",\n \"fixed-cidr\": \"250.0.8.128/25\"\n}"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, _, err := edit([]byte(c.before), testSettings())
			if err != nil || string(got) != c.after {
				t.Errorf("edit(%q) = %q, %v\nwant %q", c.before, got, err, c.after)
			}
		})
	}
}

func TestEditTellsWhatItReplaces(t *testing.T) {
	_, replaced, err := edit([]byte(`{"mtu": 1400, "bridge": "none", "ip-masq": false}`), testSettings())
	want := []setting{{"bridge", `"none"`}, {"mtu", "1400"}}
	if err != nil || !reflect.DeepEqual(replaced, want) {
		t.Errorf("replaced %v, %v; want %v", replaced, err, want)
	}
}

func TestEditRefuses(t *testing.T) {
	for name, text := range map[string]string{
		"half":           `{"a": `,
		"comment":        "{\n // no\n \"a\": 1}",
		"comma":          `{"a": 1,}`,
		"mark":           "\xef\xbb\xbf{}",
		"array":          `[]`,
		"string":         `"bridge"`,
		"twice":          `{"mtu": 1, "a": 2, "mtu": 1}`,
		"twice, escaped": `{"mtu": 1, "\u006dtu": 1}`,
		"two objects":    `{} {}`,
		"long":           `{"a": "` + strings.Repeat("a", tooLong) + `"}`,
	} {
		if got, _, err := edit([]byte(text), testSettings()); !errors.Is(err, fan.ErrUsage) {
			t.Errorf("%s: %q, %v; want bad input", name, got, err)
		} else if strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: the error has several lines: %v", name, err)
		}
	}
}

func TestUneditAfterOthers(t *testing.T) {
	const before = "{\n  \"mtu\": 1400,\n  \"debug\": true\n}\n"
	edited, _, err := edit([]byte(before), testSettings())
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ name, from, to, want string }{
		{"a value", `"debug": true`, `"debug": false`, "{\n  \"mtu\": 1400,\n  \"debug\": false\n}\n"},
		{"one more at the end", "false\n}", "false,\n  \"ipv6\": true\n}", "{\n  \"mtu\": 1400,\n  \"debug\": true,\n  \"ipv6\": true\n}\n"},
		{"ours away", `"bridge": "fan-250",`, ``, before},
		{"first away", "\n  \"mtu\": 1480,", "", "{\n  \"debug\": true\n}\n"},
	} {
		now := strings.Replace(string(edited), c.from, c.to, 1)
		got, changed, err := unedit([]byte(now), []byte(before))
		if err != nil || !changed {
			t.Errorf("%s: changed %v, %v", c.name, changed, err)
		}
		if compact(t, got) != compact(t, []byte(c.want)) {
			t.Errorf("%s: got %q, want %q", c.name, got, c.want)
		}
	}
}

func compact(t testing.TB, text []byte) string {
	t.Helper()
	var b bytes.Buffer
	if err := json.Compact(&b, text); err != nil {
		t.Fatalf("%q: %v", text, err)
	}
	return b.String()
}

func TestRefuse(t *testing.T) {
	for _, text := range []string{`{"bip": "10.1.0.1/16"}`, `{"default-gateway": "172.17.0.9"}`} {
		if err := refuse([]byte(text)); !errors.Is(err, fan.ErrUsage) {
			t.Errorf("%s: %v, want bad input", text, err)
		}
	}
	if err := refuse([]byte(`{"debug": true, "live-restore": true}`)); err != nil {
		t.Error(err)
	}
}

// members returns the values of all members but ours.
func members(t testing.TB, text []byte) map[string]json.RawMessage {
	t.Helper()
	m := map[string]json.RawMessage{}
	if len(bytes.TrimSpace(text)) == 0 {
		return m
	}
	if err := json.Unmarshal(text, &m); err != nil {
		t.Fatalf("%q: %v", text, err)
	}
	for _, k := range keys() {
		delete(m, k)
	}
	return m
}

// FuzzEdit: editing changes no other member, twice is as good as once, and both
// ways back give the same bytes.
func FuzzEdit(f *testing.F) {
	for _, s := range []string{"", "{}", " {\n}\n", `{"a":1}`, "{\r\n\t\"a\" : [ 1 ,2 ]\r\n}", `{"mtu" :"x" , "bip":null}`, `{"a":{"mtu":1}}`, `{"":0 ,"\u0062ridge":{}}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, before []byte) {
		after, _, err := edit(before, testSettings())
		if err != nil {
			if !errors.Is(err, fan.ErrUsage) {
				t.Fatalf("%q: %v is not bad input", before, err)
			}
			return
		}
		have, err := values(after)
		if err != nil || !reflect.DeepEqual(have, testSettings()) && !meansSame(have) {
			t.Fatalf("%q became %q, which has %v, %v", before, after, have, err)
		}
		if got, want := members(t, after), members(t, before); !reflect.DeepEqual(got, want) {
			t.Fatalf("%q became %q: other members changed", before, after)
		}
		again, replaced, err := edit(after, testSettings())
		if err != nil || len(replaced) > 0 || !bytes.Equal(again, after) {
			t.Fatalf("%q became %q, and then %q", before, after, again)
		}
		back, changed, err := unedit(after, before)
		if err != nil || changed || !bytes.Equal(back, before) {
			t.Fatalf("%q became %q, and back %q (changed %v, %v)", before, after, back, changed, err)
		}
		if len(bytes.TrimSpace(before)) == 0 {
			return
		}
		// One byte more that means nothing sends it the other way.
		back, changed, err = unedit(append(bytes.Clone(after), '\n'), before)
		if want := append(bytes.Clone(before), '\n'); err != nil || !changed || !bytes.Equal(back, want) {
			t.Fatalf("%q became %q, and taken out %q (changed %v, %v)", before, after, back, changed, err)
		}
	})
}

func meansSame(have []setting) bool {
	for _, w := range testSettings() {
		if !same(valueOf(have, w.Key), w.Value) {
			return false
		}
	}
	return true
}
