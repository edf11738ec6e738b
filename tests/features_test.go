package tests

import (
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/link"

	"github.com/fanctl/fanctl/tests/bed"
)

// told is what a script reads of "fanctl features --json".
type told struct {
	Kernel   string
	Features []struct{ Group, Name, State, Detail, Means string }
	Programs []program
	Paths    []struct {
		Type, Datapath, State, Why string
		Lacks, Unsure              []string
	}
}

// program is one as the kernel has taken it.
type program struct {
	Object, Name string
	Instructions int
	Verified     *int // nil where the kernel does not say
	MachineCode  int  `json:"machine_code"`
}

// features runs "fanctl features --json", which never fails.
func features(t *testing.T, run func(line string) bed.Result) told {
	t.Helper()
	r := run("features --json")
	var f told
	if err := json.Unmarshal([]byte(r.Stdout), &f); err != nil || r.Code != 0 || r.Stderr != "" {
		t.Fatalf("fanctl features: %v: %s", err, r)
	}
	return f
}

func (f told) state(name string) string {
	for _, x := range f.Features {
		if x.Name == name {
			return x.State
		}
	}
	return "not told"
}

func (f told) detail(name string) string {
	for _, x := range f.Features {
		if x.Name == name {
			return x.Detail
		}
	}
	return ""
}

// datapath is what features says of the way of a type, with its state.
func (f told) datapath(kind string) string {
	for _, p := range f.Paths {
		if p.Type == kind {
			return p.Datapath + " " + p.State
		}
	}
	return "not told"
}

// is compares a feature with what is known otherwise.
func (f told) is(t *testing.T, name string, has bool) {
	t.Helper()
	want := map[bool]string{true: "yes", false: "no"}[has]
	if got := f.state(name); got != want {
		t.Errorf("%s is %s (%s), want %s", name, got, f.detail(name), want)
	}
}

// What features tells is so: it is found out here in other ways.
func TestFeatures(t *testing.T) {
	h := bed.New(t, bed.Options{NoIPv6: true}).Hosts[0]
	before := h.Settled(t)
	f := features(t, asRoot(h))
	for name, kind := range map[string]string{"ipip-device": ipipDevice, "vxlan-device": "vxlan external dstport 8472", "veth": "veth peer name other", "bridge": "bridge"} {
		has, err := bed.HasDevice(kind)
		if err != nil {
			t.Fatal(err)
		}
		f.is(t, name, has)
	}
	f.is(t, "vxlan-vnifilter", succeeds(h, "ip link add x0 type vxlan external vnifilter dstport 9999", "bridge vni add dev x0 vni 7"))
	f.is(t, "clsact", succeeds(h, "tc qdisc add dev lo clsact"))
	f.is(t, "tcx", takesTCX(t, h))
	f.is(t, "sched-cls", true)
	f.is(t, "cls-bpf", true)
	f.is(t, "fixed-gso", true)
	f.is(t, "nftables", succeeds(h, "nft list tables"))
	if got, old := f.state("legacy-tables"), succeeds(h, "test -e /proc/thread-self/net/ip_tables_names"); got == "no" || (got == "yes") != old {
		t.Errorf("legacy-tables is %s (%s), and the kernel has them: %t", got, f.detail("legacy-tables"), old)
	}
	f.is(t, "outer-source", bed.KernelAtLeast(t, 6, 0))
	f.is(t, "cgroup-memory", bed.KernelAtLeast(t, 5, 11))
	_, err := os.Stat("/sys/kernel/btf/vmlinux")
	f.is(t, "btf", err == nil)
	// Only a kernel that describes its types tells.
	if got := f.state("clear-gso"); (got == "unknown") != (err != nil) || got == "yes" && !bed.KernelAtLeast(t, 7, 0) {
		t.Errorf("clear-gso is %s (%s)", got, f.detail("clear-gso"))
	}
	if hasIPIP(t) {
		f.is(t, "inner-first", bed.KernelAtLeast(t, 5, 14))
	} else if got := f.state("inner-first"); got != "unknown" {
		t.Errorf("without an ipip device inner-first is %s", got)
	}
	if version := strings.TrimSpace(h.Must(t, "iptables", "--version")); "iptables "+f.detail("iptables") != version {
		t.Errorf("iptables is %q, and says %q of itself", f.detail("iptables"), version)
	}
	if got := h.Settled(t); got != before {
		t.Errorf("features leaves on the host\n%s", bed.Diff(before, got))
	}
	checkPrograms(t, f)
}

// Programs and maps that are made to be tried go. Others on this machine may make some
// meanwhile, but what each run leaves adds up to as many as there are runs.
func TestFeaturesLeaveNoPrograms(t *testing.T) {
	const runs = 5
	h := bed.New(t, bed.Options{NoIPv6: true}).Hosts[0]
	programs, maps := bed.EBPFObjects(t)
	for range runs {
		features(t, asRoot(h))
	}
	var morePrograms, moreMaps int
	eventually(func() bool {
		p, m := bed.EBPFObjects(t)
		morePrograms, moreMaps = p-programs, m-maps
		return morePrograms <= 0 && moreMaps <= 0
	})
	if morePrograms >= runs || moreMaps >= runs {
		t.Errorf("%d runs leave %d eBPF programs and %d maps", runs, morePrograms, moreMaps)
	}
}

// succeeds says whether all of the commands do, in a network namespace that is gone
// afterwards.
func succeeds(h *bed.Host, lines ...string) bool {
	return h.Exec("unshare", "-n", "sh", "-ec", "PATH=$PATH:/usr/sbin:/sbin; "+strings.Join(lines, "; ")).Code == 0
}

// takesTCX attaches a program by a link of tcx, which goes with the link.
func takesTCX(t *testing.T, h *bed.Host) bool {
	t.Helper()
	lo := h.Device(t, "lo").Index
	program, err := ebpf.NewProgram(&ebpf.ProgramSpec{Type: ebpf.SchedCLS, License: "GPL",
		Instructions: asm.Instructions{asm.Mov.Imm(asm.R0, -1), asm.Return()}})
	if err != nil {
		t.Fatal(err)
	}
	defer program.Close()
	err = h.Do(func() error {
		l, err := link.AttachTCX(link.TCXOptions{Interface: lo, Program: program, Attach: ebpf.AttachTCXEgress})
		if err != nil {
			return err
		}
		return l.Close()
	})
	return err == nil
}

// checkPrograms looks whether each of our programs was loaded and weighed, and prints
// them.
func checkPrograms(t *testing.T, f told) {
	t.Helper()
	for _, object := range []string{"ipip", "vxlan"} {
		f.is(t, "object-"+object, true)
		if !slices.ContainsFunc(f.Programs, func(p program) bool { return p.Object == object }) {
			t.Errorf("no program of %s was loaded", object)
		}
	}
	compiled := true
	for _, p := range f.Programs {
		verified := "?"
		if p.Verified != nil {
			verified = fmt.Sprint(*p.Verified)
		}
		t.Logf("%s: %d instructions, %s verified, %d bytes of machine code", p.Name, p.Instructions, verified, p.MachineCode)
		if p.Instructions < 2 || (p.Verified != nil) != bed.KernelAtLeast(t, 5, 16) {
			t.Errorf("%+v", p)
		}
		compiled = compiled && p.MachineCode > 0
	}
	f.is(t, "jit", compiled)
}

// The way that features says is the way that up goes, and what the fan changes on the
// host features sees.
func TestFeaturesSayWhatUpDoes(t *testing.T) {
	for _, kind := range []string{"ipip", "vxlan"} {
		b := bed.New(t, bed.Options{NoIPv6: true})
		h := b.Hosts[0]
		h.Sysctl(t, "ipv4/ip_forward", "0")
		f := features(t, asRoot(h))
		f.is(t, "forwarding", false)
		f.is(t, "firewall-rules", false)
		h.MustFanctl(t, "up", "-u", "10.0.0.0/16", "-o", overlay, "--type", kind)
		up := h.ShowOf(t, "fan-250")
		if got := f.datapath(kind); got != up.Datapath+" yes" {
			t.Errorf("%s: features says %s, and up takes %s: %+v", kind, got, up.Datapath, f.Paths)
		}
		f = features(t, asRoot(h))
		f.is(t, "forwarding", true)
		f.is(t, "firewall-rules", true)
		if got := f.detail("firewall-rules"); !strings.Contains(got, "nat") || !strings.Contains(got, "filter") {
			t.Errorf("%s: the fan's rules are in %q", kind, got)
		}
		if got := h.ShowOf(t, "fan-250"); got.Datapath != up.Datapath {
			t.Errorf("%s: after features the fan is %+v", kind, got)
		}
	}
}

// A host's switches are as they are for the host, not as in the namespace where
// things are tried.
func TestFeaturesOfHost(t *testing.T) {
	h := bed.New(t, bed.Options{NoIPv6: true}).Hosts[0]
	for _, value := range []string{"1", "0"} {
		h.Sysctl(t, "ipv4/ip_forward", value)
		h.Sysctl(t, "bridge/bridge-nf-call-iptables", value)
		f := features(t, asRoot(h))
		f.is(t, "forwarding", value == "1")
		bridged := strings.TrimSpace(h.Exec("cat", "/proc/sys/net/bridge/bridge-nf-call-iptables").Stdout)
		f.is(t, "bridge-firewall", bridged == "1")
	}
	for _, theirs := range []string{"tun9 type ipip external", "tun9 type ipip local 10.0.0.11 remote 10.0.3.4"} {
		if !hasIPIP(t) {
			break
		}
		h.IP(t, "link add "+theirs, "link set tun9 up")
		f := features(t, asRoot(h))
		if got := f.datapath("ipip"); got != "ebpf yes" {
			t.Errorf("beside %s features says %s: %+v", theirs, got, f.Paths)
		}
		h.IP(t, "link del tun9")
	}
}

// Who may not try is told what can be seen, and that the rest is not known.
func TestFeaturesWithoutPrivilege(t *testing.T) {
	h := bed.New(t, bed.Options{NoIPv6: true}).Hosts[0]
	runs := map[string]func(string) bed.Result{"needs root": asNobody(t, h)}
	if r := h.Exec("unshare", "-Ur", "true"); r.Code == 0 {
		runs["container"] = func(line string) bed.Result { return h.Exec("unshare", "-Ur", "sh", "-c", "exec $FANCTL "+line) }
	}
	for reason, run := range runs {
		f := features(t, run)
		for _, name := range []string{"tcx", "cls-bpf", "bpf_redirect_neigh", "object-vxlan", "nftables", "cgroup-memory"} {
			if got, why := f.state(name), f.detail(name); got != "unknown" || !strings.Contains(why, reason) {
				t.Errorf("%s is %s (%s), want unknown and %q", name, got, why, reason)
			}
		}
		f.is(t, "iptables", true)
		f.is(t, "forwarding", false)
		for _, p := range f.Paths {
			if p.State != "unknown" || len(p.Unsure) == 0 {
				t.Errorf("%s: %+v", reason, p)
			}
		}
	}
}
