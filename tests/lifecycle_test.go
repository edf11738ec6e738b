package tests

import (
	"fmt"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/fanctl/fanctl/tests/bed"
)

// up brings the fan up once more.
func (f fan) up(t *testing.T) {
	t.Helper()
	f.host.MustFanctl(t, slices.Concat([]string{"up"}, f.args)...)
}

// dryRun returns the steps that a command would take.
func (f fan) dryRun(t *testing.T, command string) []string {
	t.Helper()
	words := f.args
	if command == "down" {
		words = f.args[:4]
	}
	out := f.host.MustFanctl(t, slices.Concat([]string{command, "--dry-run"}, words)...)
	return strings.FieldsFunc(out, func(r rune) bool { return r == '\n' })
}

// life is one host and its states before and after a clean up of one fan.
type life struct {
	fan            fan
	before, wanted string
}

// newLife brings a fan up and down once to learn what is right.
func newLife(t *testing.T, p path, more ...string) life {
	t.Helper()
	b := bed.New(t, bed.Options{})
	before := b.Hosts[0].Settled(t)
	f := upOn(t, b, b.Hosts[0], p, overlay, more...)
	l := life{fan: f, before: before, wanted: f.host.Settled(t)}
	f.down(t)
	l.is(t, l.before, "after up and down")
	return l
}

// is fails the test unless the host's snapshot is as wanted.
func (l life) is(t *testing.T, want, when string) {
	t.Helper()
	if difference := l.fan.host.Becomes(t, want); difference != "" {
		t.Fatalf("%s: %s", when, difference)
	}
}

func TestUpAndDownLeaveNothing(t *testing.T) {
	eachPath(t, func(t *testing.T, p path) {
		l := newLife(t, p)
		if bed.Diff(l.before, l.wanted) == "" {
			t.Error("a fan that is up does not show in the snapshot")
		}
		if r := l.fan.host.Fanctl("down", "-u", l.fan.args[1], "-o", overlay); r.Code != 0 {
			t.Errorf("down of a fan that is not up: %s", r)
		}
		l.is(t, l.before, "after a second down")
	})
}

// What was on the host before is as it was when the fan has gone, although it has
// to do with what a fan uses.
func TestDownKeepsWhatOthersHave(t *testing.T) {
	setups := map[string]string{
		"forwarding on":     "echo 1 >/proc/sys/net/ipv4/ip_forward",
		"forwarding off":    "echo 0 >/proc/sys/net/ipv4/ip_forward",
		"a clsact qdisc":    "tc qdisc add dev eth0 clsact",
		"somebody's filter": "tc qdisc add dev eth0 clsact; tc filter add dev eth0 ingress pref 250 bpf da bytecode '1,6 0 0 4294967295'",
		"firewall rules": "iptables -P FORWARD DROP; iptables -A FORWARD -i eth0 -j ACCEPT; iptables -t nat -A POSTROUTING -s 10.9.0.0/16 -j MASQUERADE; " +
			"iptables -t raw -A PREROUTING -i nobody -j ACCEPT; iptables -t mangle -A FORWARD -i nobody -j ACCEPT",
		"DOCKER-USER":     "iptables -N DOCKER-USER; iptables -A DOCKER-USER -j RETURN; iptables -A FORWARD -j DOCKER-USER",
		"settings of all": "echo 1 >/proc/sys/net/ipv4/conf/all/rp_filter; echo 1 >/proc/sys/net/ipv4/conf/default/proxy_arp; echo 0 >/proc/sys/net/ipv4/conf/all/send_redirects",
		"another bridge":  "ip link add name other type bridge; ip addr add 192.0.2.1/24 dev other; ip link set other up",
	}
	for name, setup := range setups {
		t.Run(name, func(t *testing.T) {
			eachPath(t, func(t *testing.T, p path) {
				b := bed.New(t, bed.Options{})
				h := b.Hosts[0]
				h.Must(t, "sh", "-c", setup)
				before := h.Settled(t)
				f := upOn(t, b, h, p, overlay)
				f.down(t)
				if difference := h.Becomes(t, before); difference != "" {
					t.Error(difference)
				}
			})
		})
	}
}

func TestUpTwiceChangesNothing(t *testing.T) {
	eachPath(t, func(t *testing.T, p path) {
		b := bed.New(t, bed.Options{})
		f := upOn(t, b, b.Hosts[0], p, overlay)
		before := f.host.Settled(t)
		changes := f.host.Watch(t)
		f.up(t)
		if made := changes(); len(made) > 0 {
			t.Errorf("the second up has changed: %s", strings.Join(made, ", "))
		}
		if difference := f.host.Becomes(t, before); difference != "" {
			t.Error(difference)
		}
		if steps := f.dryRun(t, "up"); len(steps) > 0 {
			t.Errorf("the second up would take steps: %q", steps)
		}
	})
}

// A dry run prints steps, as many as there are, and takes none.
func TestDryRunChangesNothing(t *testing.T) {
	eachPath(t, func(t *testing.T, p path) {
		b := bed.New(t, bed.Options{})
		h := b.Hosts[0]
		f := upOn(t, b, h, p, overlay)
		for _, command := range []string{"down", "up"} {
			before := h.Settled(t)
			changes := h.Watch(t)
			if steps := f.dryRun(t, command); len(steps) < 3 {
				t.Errorf("%s --dry-run prints only %q", command, steps)
			}
			if made := changes(); len(made) > 0 {
				t.Errorf("%s --dry-run has changed: %s", command, strings.Join(made, ", "))
			}
			if difference := h.Becomes(t, before); difference != "" {
				t.Errorf("%s --dry-run: %s", command, difference)
			}
			f.down(t) // for the dry run of up
		}
	})
}

// up over and over again, on both hosts, while containers talk: no packet is lost.
func TestUpLosesNoPacket(t *testing.T) {
	eachPath(t, func(t *testing.T, p path) {
		b := bed.New(t, bed.Options{})
		fans := upAll(t, b, p, overlay)
		one, two := fans[0].container(t, bed.ContainerOptions{}), fans[1].container(t, bed.ContainerOptions{})
		reaches(t, one.NS, two.Addr, "before")
		count := 2000
		if testing.Short() {
			count = 200
		}
		wait, ended := one.StartPing(t, two.Addr, count, "-i", "0.002")
		ups := 0
		for running := true; running; ups++ {
			fans[ups%2].up(t)
			select {
			case <-ended:
				running = false
			default:
			}
		}
		if sent, answered := wait(); sent != count || answered != count {
			t.Errorf("%d of %d pings answered during %d ups", answered, sent, ups)
		}
	})
}

// A container that is attached keeps a fan from going down, unless that is forced.
func TestDownOfAFanInUse(t *testing.T) {
	eachPath(t, func(t *testing.T, p path) {
		b := bed.New(t, bed.Options{})
		h := b.Hosts[0]
		before := h.Settled(t)
		f := upOn(t, b, h, p, overlay)
		c := f.container(t, bed.ContainerOptions{})
		inUse := h.Settled(t)
		down := slices.Concat([]string{"down"}, f.args[:4])
		r := h.Fanctl(down...)
		if r.Code != 1 || !oneLine(r.Stderr, f.net.Bridge, c.Port) {
			t.Errorf("down with a container: %s\nwant exit code 1 and a line with %s and %s", r, f.net.Bridge, c.Port)
		}
		if difference := h.Becomes(t, inUse); difference != "" {
			t.Errorf("a down that was refused: %s", difference)
		}
		h.MustFanctl(t, append(down, "--force")...)
		c.Remove(t)
		if difference := h.Becomes(t, before); difference != "" {
			t.Errorf("a down that was forced: %s", difference)
		}
	})
}

// oneLine says whether text is exactly one line that has all of the words.
func oneLine(text string, words ...string) bool {
	ok := strings.Count(text, "\n") == 1 && strings.HasSuffix(text, "\n")
	for _, word := range words {
		ok = ok && strings.Contains(text, word)
	}
	return ok
}

// eachStep runs a story for step 1, 2, 3 … until the story says that there was no
// such step any more. It fails if there never was one. Short: for every fourth.
func eachStep(t *testing.T, story func(t *testing.T, step int) (more bool)) {
	t.Helper()
	const tooMany = 200
	stride := 1
	if testing.Short() {
		stride = 4
	}
	for step, more := 1, true; more; step += stride {
		if step > tooMany {
			t.Fatalf("more than %d steps", tooMany)
		}
		t.Run(fmt.Sprintf("step %d", step), func(t *testing.T) {
			more = story(t, step)
			if !more && step < 4 {
				t.Errorf("only %d steps: were they made to fail at all?", step-1)
			}
		})
		if t.Failed() {
			return
		}
	}
}

// An up that fails after any of its steps takes back what it has done.
func TestUpFailsAfterEveryStep(t *testing.T) {
	eachPath(t, func(t *testing.T, p path) {
		l := newLife(t, p)
		eachStep(t, func(t *testing.T, step int) bool {
			r := l.fan.host.FanctlEnv([]string{fmt.Sprintf("FANCTL_FAIL_AFTER=%d", step)}, slices.Concat([]string{"up"}, l.fan.args)...)
			switch {
			case r.Code == 0:
				l.fan.down(t)
				l.is(t, l.before, "at the end")
				return false
			case r.Code != 1 || !oneLine(r.Stderr):
				t.Errorf("want exit code 1 and one line, got: %s", r)
			}
			l.is(t, l.before, strings.TrimSpace(r.Stderr))
			return true
		})
	})
}

// After an up that was killed at any step, the next up makes the state that a
// clean one makes, and down brings back the first.
func TestUpIsKilledAfterEveryStep(t *testing.T) {
	eachPath(t, func(t *testing.T, p path) {
		l := newLife(t, p)
		eachStep(t, func(t *testing.T, step int) bool {
			r := l.kill(t, step, slices.Concat([]string{"up"}, l.fan.args))
			l.fan.up(t)
			l.is(t, l.wanted, fmt.Sprintf("up after an up that was killed after step %d", step))
			if steps := l.fan.dryRun(t, "up"); len(steps) > 0 {
				t.Errorf("up has left steps undone: %q", steps)
			}
			l.fan.down(t)
			l.is(t, l.before, fmt.Sprintf("down after an up that was killed after step %d", step))
			return r
		})
	})
}

// After an up that was killed at any step, down alone takes the leftovers away.
func TestDownAfterAKilledUp(t *testing.T) {
	eachPath(t, func(t *testing.T, p path) {
		l := newLife(t, p)
		eachStep(t, func(t *testing.T, step int) bool {
			more := l.kill(t, step, slices.Concat([]string{"up"}, l.fan.args))
			l.fan.down(t)
			l.is(t, l.before, fmt.Sprintf("down after an up that was killed after step %d", step))
			return more
		})
	})
}

// kill runs a command that kills itself after a step; false if it came to its end.
func (l life) kill(t *testing.T, step int, args []string) bool {
	t.Helper()
	r := l.fan.host.FanctlEnv([]string{fmt.Sprintf("FANCTL_KILL_AFTER=%d", step)}, args...)
	if r.Code != 0 && r.Signal != syscall.SIGKILL {
		t.Fatalf("should have been killed after step %d: %s", step, r)
	}
	return r.Signal == syscall.SIGKILL
}

// After a down that failed or was killed at any step, the next down ends it, and
// so does the next up with a fan that works.
func TestDownIsCutShortAfterEveryStep(t *testing.T) {
	for _, how := range []string{"FANCTL_FAIL_AFTER", "FANCTL_KILL_AFTER"} {
		t.Run(how, func(t *testing.T) {
			eachPath(t, func(t *testing.T, p path) {
				l := newLife(t, p)
				down := slices.Concat([]string{"down"}, l.fan.args[:4])
				eachStep(t, func(t *testing.T, step int) bool {
					when := fmt.Sprintf("after a down that was cut short after step %d", step)
					fault := []string{fmt.Sprintf("%s=%d", how, step)}
					l.fan.up(t)
					r := l.fan.host.FanctlEnv(fault, down...)
					l.fan.down(t)
					l.is(t, l.before, "down "+when)
					if r.Code == 0 {
						return false
					}
					l.fan.up(t)
					l.fan.host.FanctlEnv(fault, down...)
					l.fan.up(t)
					l.is(t, l.wanted, "up "+when)
					l.fan.down(t)
					l.is(t, l.before, "up and down "+when)
					return true
				})
			})
		})
	}
}

// Two runs at once are as one after the other.
func TestConcurrentRuns(t *testing.T) {
	eachPath(t, func(t *testing.T, p path) {
		l := newLife(t, p)
		up := slices.Concat([]string{"up"}, l.fan.args)
		rounds := 5
		if testing.Short() {
			rounds = 2
		}
		for range rounds {
			first, second := l.fan.host.StartFanctl(up...), l.fan.host.StartFanctl(up...)
			for _, r := range []bed.Result{<-first, <-second} {
				if r.Code != 0 {
					t.Errorf("one of two concurrent ups: %s", r)
				}
			}
			l.is(t, l.wanted, "after two concurrent ups")
			down := slices.Concat([]string{"down"}, l.fan.args[:4])
			first, second = l.fan.host.StartFanctl(down...), l.fan.host.StartFanctl(down...)
			for _, r := range []bed.Result{<-first, <-second} {
				if r.Code != 0 {
					t.Errorf("one of two concurrent downs: %s", r)
				}
			}
			l.is(t, l.before, "after two concurrent downs")
		}
	})
}

// Many ups and downs leave nothing, and no eBPF object stays in the kernel.
func TestManyCycles(t *testing.T) {
	cycles := 100
	if testing.Short() {
		cycles = 10
	}
	eachPath(t, func(t *testing.T, p path) {
		l := newLife(t, p)
		programs, maps := bed.EBPFObjects(t)
		for range cycles {
			l.fan.up(t)
			l.fan.down(t)
		}
		l.is(t, l.before, fmt.Sprintf("after %d cycles", cycles))
		// Others on this machine may load programs meanwhile, but what every cycle
		// leaves adds up to as many as there are cycles. The kernel frees late.
		var morePrograms, moreMaps int
		eventually(func() bool {
			p, m := bed.EBPFObjects(t)
			morePrograms, moreMaps = p-programs, m-maps
			return morePrograms <= 0 && moreMaps <= 0
		})
		if morePrograms >= cycles || moreMaps >= cycles {
			t.Errorf("%d cycles leave %d eBPF programs and %d maps", cycles, morePrograms, moreMaps)
		}
	})
}
