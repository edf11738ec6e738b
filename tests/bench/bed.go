package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// path is one way from one end to the other, ready to be measured.
type path struct {
	name string
	ns   [2]string // namespaces of the two ends
	addr [2]string // their addresses
}

type bed struct {
	fanctl  string
	bridged string // bridge-nf-call-iptables, where the kernel has it
	docker  bool   // the hosts have Docker, or are to look so
	folder  string // of programs for the hosts

	mutex      sync.Mutex // what follows is also taken away when the program is interrupted
	gone       bool       // no more is made
	namespaces []string
	daemons    []*dockerd
	next       int
}

var errGone = errors.New("the bed is being taken away")

func newBed(fanctl, bridged string, docker bool) (*bed, error) {
	b := &bed{fanctl: fanctl, bridged: bridged, docker: docker}
	return b, b.folders()
}

// remove takes everything away, and nothing is made any more; close only the hosts.
func (b *bed) remove() error {
	b.mutex.Lock()
	b.gone = true
	b.mutex.Unlock()
	return errors.Join(b.close(), os.RemoveAll(b.folder))
}

func (b *bed) close() error {
	b.mutex.Lock()
	defer b.mutex.Unlock()
	var failed []error
	for _, d := range b.daemons {
		failed = append(failed, d.remove())
	}
	for _, ns := range b.namespaces {
		endWatchers(ns)
		_ = exec.Command("ip", "netns", "del", ns).Run() // one that was not made is fine
	}
	b.daemons, b.namespaces = nil, nil
	return errors.Join(failed...)
}

// endWatchers ends the processes that follow the ports of fast fans: they would keep the
// namespace, and all in it, for good.
func endWatchers(ns string) {
	for {
		// Without the namespace there is nobody in it.
		pids, err := exec.Command("ip", "netns", "pids", ns).Output()
		if err != nil || len(strings.Fields(string(pids))) == 0 {
			return
		}
		for word := range strings.FieldsSeq(string(pids)) {
			if pid, err := strconv.Atoi(word); err == nil {
				_ = unix.Kill(pid, unix.SIGTERM) // gone is fine
			}
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// name returns an unused name for a namespace, which close takes away.
func (b *bed) name(what string) (string, error) {
	b.mutex.Lock()
	defer b.mutex.Unlock()
	if b.gone {
		return "", errGone
	}
	b.next++
	name := fmt.Sprintf("fanbench%d-%d%s", os.Getpid(), b.next, what)
	b.namespaces = append(b.namespaces, name)
	return name, nil
}

func (b *bed) namespace(what string) (string, error) {
	name, err := b.name(what)
	if err != nil {
		return "", err
	}
	if err := command("ip", "netns", "add", name); err != nil {
		return "", err
	}
	return name, command("ip", "-n", name, "link", "set", "lo", "up")
}

// veth joins two namespaces.
func veth(ns [2]string, device [2]string) error {
	return command("ip", "link", "add", device[0], "netns", ns[0], "type", "veth", "peer", "name", device[1], "netns", ns[1])
}

func command(words ...string) error {
	out, err := exec.Command(words[0], words[1:]...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s: %w: %s", strings.Join(words, " "), err, strings.TrimSpace(string(out)))
	}
	return nil
}

// in runs a command line in a namespace.
func in(ns, line string) error {
	return command(append([]string{"nsenter", "--net=/run/netns/" + ns}, strings.Fields(line)...)...)
}

func all(ns string, lines ...string) error {
	for _, line := range lines {
		if err := in(ns, line); err != nil {
			return err
		}
	}
	return nil
}

// fanctlOfHost is the command for fanctl on a host with Docker or without, whatever this
// machine has: in a mount namespace where a file lies over dockerd, or a program of its
// name is on the search path.
func (b *bed) fanctlOfHost() string {
	dockerd, err := exec.LookPath("dockerd")
	switch {
	case err == nil && !b.docker:
		return "unshare -m sh " + b.folder + "/without " + dockerd + " " + b.fanctl
	case err != nil && b.docker:
		return "env PATH=" + os.Getenv("PATH") + ":" + b.folder + "/docker " + b.fanctl
	}
	return b.fanctl
}

// folders makes what fanctlOfHost needs.
func (b *bed) folders() (err error) {
	if b.folder, err = os.MkdirTemp("", "fanbench"); err != nil {
		return err
	}
	if err := os.Mkdir(b.folder+"/docker", 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(b.folder+"/docker/dockerd", nil, 0o755); err != nil {
		return err
	}
	return os.WriteFile(b.folder+"/without", []byte("mount --bind /dev/null $1 && shift && exec \"$@\"\n"), 0o755)
}

// build makes two hosts for each path, joined by a veth pair.
func (b *bed) build(setups []setup) ([]path, error) {
	var paths []path
	for _, s := range setups {
		p, err := b.buildPath(s)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", s.name, err)
		}
		paths = append(paths, p)
	}
	return paths, nil
}

func (b *bed) buildPath(s setup) (path, error) {
	p := path{name: s.name}
	hosts, err := b.hosts()
	switch {
	case err != nil:
		return p, err
	case s.swarm:
		return p, b.swarm(hosts, &p)
	case len(s.host) == 0:
		p.ns, p.addr = hosts, [2]string{"10.0.0.1", "10.0.0.2"}
		return p, nil
	}
	for i, host := range hosts {
		p.addr[i] = fmt.Sprintf("250.0.%d.2", i+1)
		if p.ns[i], err = b.buildEnd(s, host, i+1); err != nil {
			return p, err
		}
	}
	return p, nil
}

// hosts makes two hosts on an underlay, 10.0.0.1 and 10.0.0.2.
func (b *bed) hosts() (hosts [2]string, err error) {
	for i := range hosts {
		if hosts[i], err = b.namespace("h"); err != nil {
			return hosts, err
		}
		err = inside(hosts[i], func() error {
			return os.WriteFile("/proc/sys/net/bridge/bridge-nf-call-iptables", []byte(b.bridged), 0o644)
		})
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return hosts, err
		}
	}
	if err := veth(hosts, [2]string{"eth0", "eth0"}); err != nil {
		return hosts, err
	}
	for i, host := range hosts {
		if err := all(host, fmt.Sprintf("ip addr add 10.0.0.%d/16 dev eth0", i+1), "ip link set eth0 up"); err != nil {
			return hosts, err
		}
	}
	return hosts, nil
}

// buildEnd makes a container on a host and what leads from it to the other.
func (b *bed) buildEnd(s setup, host string, here int) (container string, err error) {
	if container, err = b.namespace("c"); err != nil {
		return "", err
	}
	if err := veth([2]string{container, host}, [2]string{"eth0", "c0"}); err != nil {
		return "", err
	}
	words := strings.NewReplacer("HERE", fmt.Sprint(here), "THERE", fmt.Sprint(3-here))
	for _, part := range []struct {
		ns    string
		lines []string
	}{{host, s.host}, {container, s.container}, {host, s.last}} {
		for _, line := range part.lines {
			if err := in(part.ns, words.Replace(line)); err != nil {
				return "", err
			}
		}
	}
	return container, nil
}
