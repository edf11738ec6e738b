package selftest

import (
	"bytes"
	"encoding/json"
	"flag"
	"net/netip"
	"os"
	"path/filepath"
	"testing"

	"github.com/fanctl/fanctl/internal/probe"
)

var update = flag.Bool("update", false, "write the golden files anew")

func addr(s string) netip.Addr { return netip.MustParseAddr(s) }

// Every line that a user can see, with the texts of the causes.
func TestText(t *testing.T) {
	var out bytes.Buffer
	text := Text{&out}
	host, container, peer := addr("250.0.8.1"), addr("250.0.8.130"), addr("250.0.45.130")
	text.Note("local docker test: creating test container ...")
	local := []Result{
		{Test: TestPing, Side: Master, From: host, To: container, Sent: 5, Answered: 5, Pass: true},
		{Test: TestPing, Side: Slave, From: container, To: host, Sent: 5, Answered: 5, Pass: true},
		{Test: TestShort, Side: Master, From: host, To: container, Bytes: 64, Pass: true},
		{Test: TestLong, Side: Slave, From: container, To: host, Bytes: 4 << 20, Pass: true},
	}
	for _, r := range local {
		text.Start(r)
		text.Done(r)
	}
	text.Note(Complete("local docker", Score{}))
	for _, r := range []Result{
		{Test: TestControl, Side: Master, From: addr("10.0.0.8"), To: addr("10.0.0.45"), Pass: true},
		{Test: TestMTU, Side: Master, From: container, To: peer, Bytes: 1480, Largest: 1480, Pass: true},
		{Test: TestThroughput, Side: Master, From: container, To: peer, Gbit: 9.812, HostGbit: 11.15, Pass: true},
		{Test: TestThroughput, Side: Slave, From: peer, To: container, Gbit: 0.0412, HostGbit: 0.0911, Pass: true},
		{Test: TestThroughput, Side: Slave, From: peer, To: container, Gbit: 123.4, Pass: true},
		{Test: TestShort, Side: Slave, From: peer, To: container, Bytes: 64, Cause: transferCause(&probe.Failure{Stage: probe.StageConnect, Reason: "no answer"}, place{About: ends[0]}, place{About: ends[1]})},
		{Test: TestLong, Side: Slave, From: peer, To: container},
	} {
		text.Done(r)
	}
	for _, c := range flows() {
		text.Done(Result{Test: TestPing, Side: Master, From: container, To: peer, Sent: burst, Cause: c.flow.cause()})
	}
	text.Note(Complete("host docker", Score{Master: 2, Slave: 1}))
	golden(t, "text.golden", out.Bytes())
}

// What --json can be made of.
func TestJSON(t *testing.T) {
	o := Outcome{Name: "host docker", Peer: Hello{Program: "1.2", Label: "docker", Fan: ends[1], Container: addr("250.0.45.130"), Ticket: "secret"}.peer()}
	o.add(Result{Test: TestPing, Side: Master, From: addr("250.0.8.130"), To: addr("250.0.45.130"), Sent: 5, Answered: 5, Pass: true})
	o.add(Result{Test: TestMTU, Side: Slave, From: addr("250.0.45.130"), To: addr("250.0.8.130"), Bytes: 1480, Largest: 1380,
		Cause: tooBig(ends[1], ends[0], probe.Passed{Largest: 1380})})
	text, err := json.MarshalIndent(o, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "json.golden", append(text, '\n'))
	if o.Score != (Score{Slave: 1}) || o.Score.Pass() {
		t.Errorf("score %+v", o.Score)
	}
}

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("got:\n%s\nwant %s (-update writes it anew):\n%s", got, path, want)
	}
}
