package tests

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	dhcp "github.com/fanctl/fanctl/internal/lease"
	"github.com/fanctl/fanctl/internal/selftest"
	"github.com/fanctl/fanctl/tests/bed"
)

// say sends bytes to the control port of a host that serves, and returns the first
// line that comes back once it is our turn, or what it ended with.
func say(t *testing.T, from *bed.NS, to netip.Addr, bytes string) string {
	t.Helper()
	c := calling(t, from, to)
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(30 * time.Second)); err != nil {
		t.Fatal(err)
	}
	_, _ = io.WriteString(c, bytes) // the other end may have had enough already
	for r := bufio.NewReader(c); ; {
		answer, err := r.ReadString('\n')
		if err != nil {
			return err.Error()
		}
		if !strings.Contains(answer, `"wait"`) {
			return answer
		}
	}
}

// calling opens a connection to the control port of a host that serves.
func calling(t *testing.T, from *bed.NS, to netip.Addr) (c net.Conn) {
	t.Helper()
	err := from.Do(func() (err error) {
		c, err = net.DialTimeout("tcp4", netip.AddrPortFrom(to, selftest.DefaultPort).String(), 5*time.Second)
		return err
	})
	if err != nil {
		t.Fatalf("in %s: call %s: %v", from.Name, to, err)
	}
	return c
}

// helloOf is what 10.0.0.11 says of itself.
func helloOf(container netip.Addr) string {
	return fmt.Sprintf(`{"fanatic":1,"hello":{"program":"x","label":"docker","container":"%s","fan":{"host":"10.0.0.11","underlay":"10.0.0.0/16",`+
		`"overlay":"250.0.0.0/8","type":"ipip","mtu":1480,"slice":"250.0.11.0/24"}}}`+"\n", container)
}

// Whatever comes to the control port, it does no harm.
func TestSelfTestGarbage(t *testing.T) {
	d := newDuel(t, ipipEBPF(), bed.Options{Routed: true})
	stop := d.b.serve(t)
	for name, test := range map[string]struct{ bytes, answer string }{
		"another protocol":  {"GET / HTTP/1.1\r\n\r\n", "refused"},
		"binary":            {"\x16\x03\x01\x00\xff\x00\n", "refused"},
		"a long line":       {strings.Repeat("x", 1<<16), "refused"},
		"another version":   {`{"fanatic":9,"hello":{}}` + "\n", "version 9"},
		"no hello":          {`{"fanatic":1,"ask":{"do":"ping"}}` + "\n", "a hello was expected"},
		"a ticket":          {`{"fanatic":1,"ticket":"GUESSED"}` + "\n" + "fan-probe pour 1000\n", "EOF"},
		"foreign container": {helloOf(netip.MustParseAddr("250.0.9.5")), "hello"},
		"nothing but hello": {helloOf(d.a.Addr), "hello"},
		"an odd request":    {helloOf(d.a.Addr) + `{"fanatic":1,"ask":{"do":"reboot"}}` + "\n", "hello"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := say(t, d.a.fan.host.NS, d.b.Fan.Host, test.bytes); !strings.Contains(got, test.answer) {
				t.Errorf("the answer is %q, want in it %q", got, test.answer)
			}
		})
	}
	t.Run("from outside", func(t *testing.T) {
		if got := say(t, d.bed.World, d.b.Fan.Host, helloOf(d.a.Addr)); !strings.Contains(got, "203.0.113.2 is not in the underlay 10.0.0.0/16") {
			t.Errorf("the answer is %q", got)
		}
	})
	o, err := d.a.Against(context.Background(), d.b.Fan.Host)
	if err != nil || !o.Score.Pass() {
		t.Errorf("afterwards: %v, %v", o.Results, err)
	}
	stop()
	if o, err := d.a.Against(context.Background(), d.b.Fan.Host); err != nil || o.Results[0].Pass {
		t.Errorf("it still answers: %v, %v", o.Results, err)
	}
}

// A host that says hello and then nothing more has the test container for a while only,
// though it keeps its connection open.
func TestSelfTestSilentClient(t *testing.T) {
	d := newDuel(t, ipipEBPF(), bed.Options{})
	d.b.Effort.Stall = 200 * time.Millisecond
	d.b.Effort.Long = 1 << 10
	d.b.serve(t)
	c := calling(t, d.a.fan.host.NS, d.b.Fan.Host)
	defer c.Close()
	if _, err := io.WriteString(c, helloOf(d.a.Addr)); err != nil {
		t.Fatal(err)
	}
	if !eventually(func() bool { return strings.Contains(d.b.told.String(), "control test") }) {
		t.Fatal("it does not begin")
	}
	o, err := d.a.Against(context.Background(), d.b.Fan.Host)
	if err != nil || !o.Score.Pass() {
		t.Errorf("another test: %v, %v", o.Results, err)
	}
	for what, told := range map[string]string{"FAIL: 10.0.0.11 does not answer any more": d.b.told.String(), "is testing with another host": d.a.told.String()} {
		if !strings.Contains(told, what) {
			t.Errorf("%q is not told:\n%s", what, told)
		}
	}
}

// Two hosts call the same one at once: one after the other is served.
func TestSelfTestTwoClients(t *testing.T) {
	b := bed.New(t, bed.Options{Hosts: []string{"10.0.0.11", "10.0.3.4", "10.0.9.9"}})
	var all []*tester
	for _, f := range upAll(t, b, ipipEBPF(), overlay) {
		all = append(all, newTester(t, f, bed.ContainerOptions{}))
	}
	all[1].serve(t)
	var both sync.WaitGroup
	for _, x := range []*tester{all[0], all[2]} {
		both.Go(func() {
			o, err := x.Against(context.Background(), all[1].Fan.Host)
			if err != nil || !o.Score.Pass() || len(o.Results) != 11 {
				t.Errorf("%s: %d results, %+v, %v", x.fan.host, len(o.Results), o.Score, err)
			}
		})
	}
	both.Wait()
	if told := all[0].told.String() + all[2].told.String(); strings.Count(told, "is testing with another host") != 1 {
		t.Error("one of them should have been told to wait")
	}
	if !eventually(func() bool { return strings.Count(all[1].told.String(), "test complete PASS") == 2 }) {
		t.Error("the one that serves should report two tests")
	}
}

// inThroughput waits until a host is in the middle of a throughput test.
func inThroughput(t *testing.T, x *tester) {
	t.Helper()
	if !eventually(func() bool { return strings.Contains(x.told.String(), "throughput test") }) {
		t.Error("it does not come to the throughput test")
	}
}

// One of the two ends in the middle: the other says so, and lives on.
func TestSelfTestVanishes(t *testing.T) {
	type result struct {
		o   selftest.Outcome
		err error
	}
	begin := func(t *testing.T) (d duel, stop func(), cancel context.CancelCauseFunc, done chan result) {
		t.Helper()
		d = newDuel(t, ipipEBPF(), bed.Options{Routed: true})
		d.a.Effort.Throughput, d.b.Effort.Throughput = 3*time.Second, 3*time.Second
		stop = d.b.serve(t)
		ctx, cancel := context.WithCancelCause(context.Background())
		t.Cleanup(func() { cancel(nil) })
		done = make(chan result, 1)
		go func() {
			o, err := d.a.Against(ctx, d.b.Fan.Host)
			done <- result{o, err}
		}()
		inThroughput(t, d.a)
		return d, stop, cancel, done
	}
	vanished := func(t *testing.T, r result) {
		t.Helper()
		if r.err != nil || r.o.Score.Pass() || r.o.Results[len(r.o.Results)-1].Cause.Kind != selftest.Vanished {
			t.Errorf("results %v, %v", r.o.Results, r.err)
		}
	}
	t.Run("the one that serves", func(t *testing.T) {
		_, stop, _, done := begin(t)
		stop()
		vanished(t, <-done)
	})
	t.Run("the one that has called", func(t *testing.T) {
		d, _, cancel, done := begin(t)
		ended := errors.New("enough")
		cancel(ended)
		if r := <-done; !errors.Is(r.err, ended) {
			t.Errorf("ended with %v", r.err)
		}
		if !eventually(func() bool { return strings.Contains(d.b.told.String(), "FAIL: 10.0.0.11 has ended the test") }) {
			t.Error("the one that serves does not say so")
		}
		d.a.Effort.Throughput = 100 * time.Millisecond
		if o, err := d.a.Against(context.Background(), d.b.Fan.Host); err != nil || !o.Score.Pass() {
			t.Errorf("afterwards: %v, %v", o.Results, err)
		}
	})
	t.Run("the way between them", func(t *testing.T) {
		d, _, _, done := begin(t)
		d.bed.Router.Must(t, "iptables", "-I", "FORWARD", "-j", "DROP")
		r := <-done
		vanished(t, r)
		if !slices.ContainsFunc(r.o.Results, func(r selftest.Result) bool { return r.Pass && r.Test == selftest.TestLong }) {
			t.Error("what had passed before is not told")
		}
	})
}

// Addresses that can't be a peer's.
func TestSelfTestBadPeer(t *testing.T) {
	d := newDuel(t, ipipEBPF(), bed.Options{})
	for peer, words := range map[string]string{
		"10.0.0.11": "is this host", "250.3.4.2": "give the host's own, 10.0.3.4", "10.9.0.1": "10.9.0.1", "10.0.255.255": "10.0.255.255",
	} {
		for name, try := range map[string]func(context.Context, netip.Addr) (selftest.Outcome, error){"against": d.a.Against, "meet": d.a.Meet} {
			if _, err := try(context.Background(), netip.MustParseAddr(peer)); err == nil || !strings.Contains(err.Error(), words) {
				t.Errorf("%s %s: %v, want %q", name, peer, err, words)
			}
		}
	}
	d.a.serve(t)
	if err := d.a.Serve(context.Background()); err == nil || !strings.Contains(err.Error(), "port 7250 of 10.0.0.11 is taken") {
		t.Errorf("a second one that serves: %v", err)
	}
}

// A firewall that lets pings through and nothing else.
func TestSelfTestOnlyTCPBlocked(t *testing.T) {
	eachPath(t, func(t *testing.T, p path) {
		d := newDuel(t, p, bed.Options{NoIPv6: true})
		d.b.fan.host.Must(t, "iptables", "-I", "FORWARD", "-p", "tcp", "-j", "DROP")
		o := d.against(t)
		r := o.Results[slices.IndexFunc(o.Results, func(r selftest.Result) bool { return !r.Pass })]
		if r.Test != selftest.TestShort || r.Cause.Kind != selftest.Firewall || !strings.Contains(r.Cause.Text, `on 10.0.3.4 rule "-A FORWARD -p tcp -j DROP"`) {
			t.Errorf("result: %s", r)
		}
	})
}

// A container whose init does nothing gets its address by DHCP, and passes.
func TestSelfTestDHCP(t *testing.T) {
	eachPath(t, func(t *testing.T, p path) {
		b := bed.New(t, bed.Options{})
		f := dhcpOn(t, b, b.Hosts[0], p).fan
		c := f.container(t, bed.ContainerOptions{MTU: 1500})
		c.IP(t, "addr flush dev eth0", "link set eth0 down", "link set lo down")
		x := testerOf(t, f, c)
		got, err := dhcp.Get(context.Background(), dhcp.Request{Namespace: x.Container, Name: "fanatic-test"})
		if err != nil {
			t.Fatal(err)
		}
		first, last := x.Fan.Leases()
		if a := got.Address.Addr(); a.Less(first) || last.Less(a) || got.MTU != int(x.Fan.MTU) || got.Router != x.Fan.BridgeAddr() || got.Address.Bits() != x.Fan.BridgePrefix().Bits() {
			t.Errorf("lease %+v of a fan that gives %s to %s", got, first, last)
		}
		if mtu := c.Device(t, "eth0").MTU; mtu != int(x.Fan.MTU) {
			t.Errorf("MTU of eth0 is %d", mtu)
		}
		x.Addr, x.Label = got.Address.Addr(), "lxd"
		o, err := x.Local(context.Background())
		if err != nil || !o.Score.Pass() {
			t.Errorf("%v, %v", o.Results, err)
		}
		if again, err := dhcp.Get(context.Background(), dhcp.Request{Namespace: x.Container, Name: "fanatic-test"}); err != nil || again != got {
			t.Errorf("a second time: %+v, %v, want %+v", again, err, got)
		}
	})
}

// A fan without DHCP, and what the user is told.
func TestSelfTestNoDHCP(t *testing.T) {
	b := bed.New(t, bed.Options{})
	x := newTester(t, upOn(t, b, b.Hosts[0], ipipEBPF(), overlay), bed.ContainerOptions{})
	_, err := dhcp.Get(context.Background(), dhcp.Request{Namespace: x.Container, Name: "fanatic-test", Patience: time.Second})
	if !errors.Is(err, dhcp.ErrNoAnswer) || !strings.Contains(err.Error(), "eth0 of fanatic-test") {
		t.Errorf("error: %v", err)
	}
	_, err = dhcp.Get(context.Background(), dhcp.Request{Namespace: x.Container, Name: "fanatic-test", Device: "eth7"})
	if err == nil || errors.Is(err, dhcp.ErrNoAnswer) || !strings.Contains(err.Error(), "eth7") {
		t.Errorf("error of a device that is not there: %v", err)
	}
}
