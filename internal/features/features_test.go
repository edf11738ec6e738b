package features

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"golang.org/x/sys/unix"

	"github.com/fanctl/fanctl/internal/kernel"
	"github.com/fanctl/fanctl/tunnel/bpf"
)

// Only what is known to mean it is a no; whatever else went wrong is told.
func TestAnswers(t *testing.T) {
	wrapped := func(err error) error { return fmt.Errorf("make a device: %w", err) }
	file := &fs.PathError{Op: "open", Path: "/proc/x", Err: unix.EACCES}
	object, refused := bpf.Object{Name: "x", Programs: []string{"a", "b"}}, &ebpf.VerifierError{Cause: unix.EACCES}
	feature := func() kernel.Feature { return kernel.Feature{Config: "CONFIG_X"} }
	ofObject := func(err error) answer { return loaded{failed: map[string]error{"x": err}}.answer(object) }
	for name, test := range map[string]struct {
		got  answer
		want State
		says string
	}{
		"made":                     {yesOrNo(nil, unix.EOPNOTSUPP), Yes, ""},
		"not known":                {yesOrNo(wrapped(unix.EOPNOTSUPP), unix.EOPNOTSUPP), No, "not supported"},
		"another of several":       {yesOrNo(unix.ENOENT, unix.EOPNOTSUPP, unix.ENOENT), No, "no such file"},
		"no memory":                {yesOrNo(wrapped(unix.ENOMEM), unix.EOPNOTSUPP), Unknown, "make a device"},
		"not allowed":              {yesOrNo(wrapped(unix.EPERM), unix.EOPNOTSUPP), Unknown, "root"},
		"not allowed to read":      {unknown(wrapped(file)), Unknown, "root"},
		"helper":                   {supported(nil), Yes, ""},
		"no helper":                {supported(wrapped(ebpf.ErrNotSupported)), No, "does not know"},
		"helper, nobody knows":     {supported(wrapped(unix.EINVAL)), Unknown, "invalid argument"},
		"packet":                   {verdict(0, nil), Yes, ""},
		"packet refused":           {verdict(-int32(unix.EINVAL), nil), No, "refuses"},
		"packet, no memory":        {verdict(-int32(unix.ENOMEM), nil), Unknown, "memory"},
		"packet not sent":          {verdict(0, wrapped(unix.ENOMEM)), Unknown, "make a device"},
		"object":                   {ofObject(nil), Yes, "2 programs"},
		"object refused":           {ofObject(wrapped(refused)), No, "make a device"},
		"object, no memory":        {ofObject(wrapped(unix.ENOMEM)), Unknown, "memory"},
		"object, by whom":          {ofObject(wrapped(unix.EPERM)), Unknown, "root"},
		"tables of old":            {legacyTables(true, nil, false), Yes, ""},
		"tables, a module":         {legacyTables(false, nil, true), Unknown, "there is a module"},
		"tables, none":             {legacyTables(false, nil, false), Unknown, "no module"},
		"tables, not seen":         {legacyTables(false, wrapped(unix.EIO), true), Unknown, "make a device"},
		"inner first":              {innerFirst(yes(""), true), Yes, ""},
		"outer first":              {innerFirst(no(outerFirst), true), No, "outer header"},
		"order, no device":         {innerFirst(yesOrNo(unix.EOPNOTSUPP, unix.EOPNOTSUPP), false), Unknown, "no ipip device"},
		"order, no filters":        {innerFirst(yesOrNo(unix.ENOENT, unix.ENOENT), true), Unknown, "filter"},
		"order, by whom":           {innerFirst(unknown(unix.EPERM), false), Unknown, "root"},
		"there is a module":        {orModule(answer{Unknown, "needs root"}, "no-such-module", feature()), Unknown, "needs root; there seems to be no module"},
		"there is none, and needs": {orModule(no("x"), "no-such-module", feature()), No, "x; it needs CONFIG_X"},
	} {
		if test.got.state != test.want || !strings.Contains(test.got.detail, test.says) {
			t.Errorf("%s: %+v, want %s and %q", name, test.got, test.want, test.says)
		}
	}
}

func TestMeansWhatTheStateSays(t *testing.T) {
	for state, want := range map[State]string{Yes: "good", No: "bad", Unknown: "good"} {
		list := lab{}.run([]probe{{"g", "n", "good", "bad", func(lab) answer { return answer{state, "d"} }}})
		if want := (Feature{"g", "n", state, "d", want}); len(list) != 1 || list[0] != want {
			t.Errorf("%+v, want %+v", list, want)
		}
	}
}

// What is listed is tried, and only a clear no keeps it from being used.
func TestHasModule(t *testing.T) {
	for _, test := range []struct {
		loaded, listed bool
		tried          State
		want           bool
	}{
		{false, false, "must not be tried", false}, {true, false, "must not be tried", true}, {true, true, "must not be tried", true},
		{false, true, Yes, true}, {false, true, Unknown, true}, {false, true, No, false},
	} {
		got := hasModule(test.loaded, test.listed, func() State {
			if test.tried == "must not be tried" {
				t.Errorf("%+v: it was tried", test)
			}
			return test.tried
		})
		if got != test.want {
			t.Errorf("%+v: got %t", test, got)
		}
	}
}

func TestHelperName(t *testing.T) {
	for f, want := range map[asm.BuiltinFunc]string{asm.FnFibLookup: "bpf_fib_lookup", asm.FnSkbSetTunnelKey: "bpf_skb_set_tunnel_key",
		asm.FnJiffies64: "bpf_jiffies64", asm.FnRedirectNeigh: "bpf_redirect_neigh"} {
		if got := helperName(f); got != want {
			t.Errorf("%s is called %s, want %s", f, got, want)
		}
	}
}

// What is asked of a report that has nothing is not known.
func TestFeatureNotThere(t *testing.T) {
	if got := (Report{}).State(IPIPDevice); got != Unknown {
		t.Errorf("the state of nothing is %q", got)
	}
}

// Every name that others ask for is one of a probe, and no two probes have one name.
func TestNames(t *testing.T) {
	var names []string
	for _, list := range [][]probe{deviceProbes(), filterProbes(), ebpfProbes(), objectProbes(), firewallProbes(), hostProbes()} {
		for _, p := range list {
			if slices.Contains(names, p.name) || p.yes == "" || p.no == "" {
				t.Errorf("%s is there twice, or means nothing", p.name)
			}
			names = append(names, p.name)
		}
	}
	for _, name := range []string{IPIPDevice, VXLANDevice, Veth, Bridge, Clsact, ClsBPF, FixedGSO, IPTables, NFTables, LegacyTables, ObjectIPIP, ObjectVXLAN, "bpf_redirect_neigh"} {
		if !slices.Contains(names, name) {
			t.Errorf("nothing tries %s", name)
		}
	}
}

// What is done inside of the lab is not done to the caller's network, and the lab's
// loopback device is another.
func TestInside(t *testing.T) {
	number := func() string {
		name, err := os.Readlink("/proc/thread-self/ns/net")
		if err != nil {
			t.Error(err)
		}
		return name
	}
	before, ran := number(), false
	inside(func(l lab) {
		ran = true
		if os.Geteuid() != 0 {
			if !errors.Is(l.err, unix.EPERM) {
				t.Errorf("without privilege: %v", l.err)
			}
			return
		}
		if l.err != nil || number() == before {
			t.Errorf("the lab is in %s, as its caller is, %v", number(), l.err)
		}
	})
	if !ran || number() != before {
		t.Errorf("ran: %t; the caller was in %s and is in %s", ran, before, number())
	}
}

// A packet that is wrapped has checksums that a receiver takes.
func TestPacket(t *testing.T) {
	p := ipv4Packet(unix.IPPROTO_IPIP, make([]byte, 50))
	var sum uint32
	for i := 0; i < 20; i += 2 {
		sum += uint32(p[i])<<8 | uint32(p[i+1])
	}
	if sum = sum>>16 + sum&0xffff; len(p) != 70 || sum != 0xffff || p[9] != 4 {
		t.Errorf("%d bytes that sum up to %#x: % x", len(p), sum, p)
	}
}
