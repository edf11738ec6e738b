//go:build containers

package containers

import (
	"fmt"
	"net/netip"
	"testing"

	"github.com/fanctl/fanctl/tests/bed"
	"github.com/fanctl/fanctl/tests/bed/engine"
)

// Docker and LXD on one bridge, with sixty containers each, give no address twice.
func TestNoAddressTwice(t *testing.T) {
	t.Parallel()
	const each = 60
	h := oneHost(t)
	d, l := engine.Docker28(t, h), engine.StartLXD(t, h)
	d.Busybox(t)
	l.Busybox(t)
	m := newMachine(t, h, d, l)
	m.configure(t)

	started := make(chan error, 2)
	go func() { started <- runMany(d, each) }()
	go func() { started <- launchMany(l, each) }()
	for range 2 {
		if err := <-started; err != nil {
			t.Error(err)
		}
	}
	if t.Failed() {
		return
	}
	owner := map[netip.Addr]string{}
	slice := bed.Slice(netip.MustParsePrefix(underlay), netip.MustParsePrefix(overlay), h.Addr)
	owner[bed.Nth(slice, 1)] = "the host"
	for i := range each {
		for _, c := range []*engine.Container{d.Container(t, name("docker", i)), l.Container(t, name("lxd", i))} {
			a := eth0(t, c)
			if other, taken := owner[a]; taken {
				t.Errorf("%s has the address %s of %s", c.Name, a, other)
			}
			owner[a] = c.Name
		}
	}
	if len(owner) != 2*each+1 {
		t.Errorf("there are %d addresses, want %d", len(owner), 2*each+1)
	}
}

func name(engine string, i int) string { return fmt.Sprintf("%s-%d", engine, i) }

func runMany(d *engine.Dockerd, count int) error {
	for i := range count {
		if r := d.Docker("run", "--detach", "--init", "--name", name("docker", i), engine.BusyboxImage, "sleep", "1000000"); r.Code != 0 {
			return fmt.Errorf("docker run, container %d: %s", i, r)
		}
	}
	return nil
}

func launchMany(l *engine.LXD, count int) error {
	for i := range count {
		if r := l.CLI("launch", engine.LXDImage, name("lxd", i), "--profile", "default", "--profile", bridge); r.Code != 0 {
			return fmt.Errorf("lxc launch, container %d: %s", i, r)
		}
	}
	return nil
}
