package selftest

import (
	"bufio"
	"bytes"
	"errors"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"unicode"

	"github.com/fanctl/fanctl/internal/probe"
	"github.com/fanctl/fanctl/tunnel"
)

func messages() map[string]message {
	return map[string]message{
		"hello": {Hello: &Hello{Program: "1.0", Label: "docker", Fan: ends[0], Container: netip.MustParseAddr("250.0.8.130"), Data: 7, Ticket: "x"}},
		"wait":  {Wait: "10.0.0.8 is testing with another host"}, "refused": {Refused: "no"}, "ticket": {Ticket: "ABC"},
		"ask": {Ask: &ask{Do: doPing, Count: 5}},
		"answer": {Answer: &answer{Facts: &Facts{Counters: &tunnel.Counters{TxPackets: 1}, Seen: 2, Drops: []Drop{{"filter", "FORWARD", "-P FORWARD DROP", 3}}},
			Pings: &probe.Answers{Sent: 1, Unresolved: netip.MustParseAddr("250.0.45.2"), Refusals: []probe.Refusal{{From: ends[0].Host, What: "x"}}}}},
		"start": {Start: &Result{Test: TestPing, Side: Slave, From: ends[0].Host, To: ends[1].Host}},
		"done":  {Done: &Result{Test: TestPing, Side: Master, From: ends[0].Host, To: ends[1].Host, Cause: &Cause{Forward, "x"}}},
		"bye":   {Bye: &Score{Master: 1}},
	}
}

func TestMessagesComeBack(t *testing.T) {
	for name, m := range messages() {
		t.Run(name, func(t *testing.T) {
			var b bytes.Buffer
			if err := write(&b, m); err != nil {
				t.Fatal(err)
			}
			got, err := read(newReader(&b))
			m.Version = version
			if err != nil || !reflect.DeepEqual(got, m) {
				t.Errorf("%+v, %v, want %+v", got, err, m)
			}
		})
	}
}

func TestMessagesRefused(t *testing.T) {
	hello := func(change func(*Hello)) string {
		h := *messages()["hello"].Hello
		change(&h)
		var b bytes.Buffer
		if err := write(&b, message{Hello: &h}); err != nil {
			t.Fatal(err)
		}
		return b.String()
	}
	for name, line := range map[string]string{
		"garbage":            "GET / HTTP/1.1\r\n",
		"nothing":            "{}\n",
		"only the version":   `{"fanatic":1}` + "\n",
		"two things":         `{"fanatic":1,"wait":"x","refused":"y"}` + "\n",
		"unknown field":      `{"fanatic":1,"wait":"x","run":"rm"}` + "\n",
		"something follows":  `{"fanatic":1,"wait":"x"} {}` + "\n",
		"negative size":      `{"fanatic":1,"ask":{"do":"long","bytes":-1}}` + "\n",
		"no such side":       `{"fanatic":1,"done":{"test":"ping","side":"both"}}` + "\n",
		"too long":           `{"fanatic":1,"wait":"` + strings.Repeat("x", maxLine) + `"}` + "\n",
		"another version":    `{"fanatic":2,"news":1}` + "\n",
		"slice of another":   hello(func(h *Hello) { h.Fan.Slice = ends[1].Slice }),
		"MTU too small":      hello(func(h *Hello) { h.Fan.MTU = 5 }),
		"no such type":       hello(func(h *Hello) { h.Fan.Type = "gre" }),
		"IPv6 container":     hello(func(h *Hello) { h.Container = netip.MustParseAddr("fd00::1") }),
		"no mapping":         hello(func(h *Hello) { h.Fan.Overlay = h.Fan.Underlay }),
		"host with a zone":   `{"fanatic":1,"hello":{"fan":{"host":"fe80::1%eth0"}}}` + "\n",
		"cut":                `{"fanatic":1,"wa`,
		"a number as a text": `{"fanatic":1,"wait":5}` + "\n",
	} {
		t.Run(name, func(t *testing.T) {
			if m, err := read(newReader(strings.NewReader(line))); err == nil {
				t.Errorf("was read as %+v", m)
			}
		})
	}
	var other otherVersion
	if _, err := parse([]byte(`{"fanatic":2,"news":1}`)); !errors.As(err, &other) || other != 2 {
		t.Errorf("another version: %v", err)
	}
}

// What another host says must not move the cursor or fill the screen.
func TestClean(t *testing.T) {
	for in, want := range map[string]string{
		"plain":                                 "plain",
		"\x1b[2Jgone\r\nnext":                   "[2Jgonenext",
		"\xff\xfebad":                           "bad",
		strings.Repeat("y", 2*maxText):          strings.Repeat("y", maxText),
		strings.Repeat("ä", maxText) + "\u202e": strings.Repeat("ä", maxText/2),
	} {
		if got := clean(in); got != want {
			t.Errorf("%q became %q, want %q", in, got, want)
		}
	}
}

// An address, too, can hold a text for the terminal: the zone of one of IPv6. Every
// address of every message is tried.
func TestForeignAddressesRefused(t *testing.T) {
	odd := netip.MustParseAddr("fe80::1").WithZone("\x1b]0;gone\a")
	answers := messages()["answer"]
	answers.Answer.Passed = &probe.Passed{Refusals: []probe.Refusal{{From: ends[1].Host, What: "x"}}}
	all := messages()
	all["answer"] = answers
	tried := 0
	for name, m := range all {
		for i, a := range addressesIn(reflect.ValueOf(&m).Elem()) {
			was := *a
			for _, bad := range []netip.Addr{odd, netip.MustParseAddr("fd00::1"), netip.AddrFrom16(ends[0].Host.As16())} {
				*a = bad
				var b bytes.Buffer
				if err := write(&b, m); err != nil {
					t.Fatal(err)
				}
				_, err := read(newReader(&b))
				if !errors.Is(err, errMessage) || strings.ContainsFunc(err.Error(), unicode.IsControl) {
					t.Errorf("%s, address %d is %q: %v", name, i, bad, err)
				}
				tried++
			}
			*a = was
		}
	}
	if tried == 0 {
		t.Error("no message has an address")
	}
}

// addressesIn returns where the addresses of a value are, at whatever depth.
func addressesIn(v reflect.Value) (all []*netip.Addr) {
	if a, ok := v.Addr().Interface().(*netip.Addr); ok {
		return []*netip.Addr{a}
	}
	switch v.Kind() {
	case reflect.Pointer:
		if !v.IsNil() {
			all = addressesIn(v.Elem())
		}
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() {
				all = append(all, addressesIn(v.Field(i))...)
			}
		}
	case reflect.Slice:
		for i := range v.Len() {
			all = append(all, addressesIn(v.Index(i))...)
		}
	}
	return all
}

func FuzzRead(f *testing.F) {
	for _, m := range messages() {
		var b bytes.Buffer
		if err := write(&b, m); err != nil {
			f.Fatal(err)
		}
		f.Add(b.Bytes())
	}
	f.Add([]byte(`{"fanatic":1,"done":{"side":"master","from":"fe80::1%\u001b[2J"}}` + "\n"))
	f.Add([]byte(`{"fanatic":1,"answer":{"pings":null,"passed":{"refusals":[{}]}}}` + "\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := read(bufio.NewReaderSize(bytes.NewReader(data), maxLine))
		if err != nil {
			return
		}
		for _, a := range m.addresses() {
			if a.IsValid() && !a.Is4() {
				t.Errorf("an address of another kind: %q", a)
			}
		}
		if m.Done != nil {
			if line := m.Done.String(); strings.ContainsFunc(line, unicode.IsControl) {
				t.Errorf("a result with control characters: %q", line)
			}
		}
		var b bytes.Buffer
		if err := write(&b, m); err != nil {
			t.Fatalf("what was read can't be written: %v", err)
		}
	})
}
