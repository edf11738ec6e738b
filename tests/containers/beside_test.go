//go:build containers

package containers

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/netip"
	"testing"
	"time"

	"github.com/fanctl/fanctl/tests/bed"
	"github.com/fanctl/fanctl/tests/bed/engine"
)

// web is the words of a container that serves one page on port 80.
func web(page string) []string {
	return []string{engine.BusyboxImage, "sh", "-c", "mkdir /w; echo " + page + " >/w/index.html; exec httpd -f -h /w"}
}

// fetch gets a page from inside a namespace; it goes on trying while nobody listens.
func fetch(n *bed.NS, a netip.Addr, port uint16) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 15*time.Second)
	defer cancel()
	at := netip.AddrPortFrom(a, port).String()
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (c net.Conn, err error) {
		for {
			doErr := n.Do(func() error {
				c, err = new(net.Dialer).DialContext(ctx, "tcp4", at)
				return nil
			})
			if doErr != nil || err == nil || ctx.Err() != nil {
				return c, err
			}
			time.Sleep(50 * time.Millisecond)
		}
	}}}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+at+"/", nil)
	if err != nil {
		return "", err
	}
	response, err := client.Do(request)
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	page, err := io.ReadAll(response.Body)
	return string(page), err
}

// What Docker does beside the fan goes on working, on the generations of it that
// filter differently, and in both modes.
func TestDockerBesideTheFan(t *testing.T) {
	t.Parallel()
	for name, start := range map[string]func(testing.TB, *bed.Host) *engine.Dockerd{"Docker 20": engine.Docker20, "Docker 28": engine.Docker28} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := bed.New(t, bed.Options{})
			d := start(t, b.Hosts[0])
			d.Busybox(t)
			m, far := newMachine(t, b.Hosts[0], d, nil), b.Hosts[1]
			far.MustFanctl(t, append([]string{"up"}, networks()...)...)
			remote := far.Container(t, bed.Network{Bridge: bridge, Overlay: netip.MustParsePrefix(overlay), Slice: bed.Slice(b.Underlay, netip.MustParsePrefix(overlay), far.Addr)}, bed.ContainerOptions{})

			world := b.World.Serve(t, b.WorldAddr)
			m.configure(t, "--docker-mode", "network")
			besideTheFan(t, b, m, remote, world, "--network", bridge)
			m.deconfigure(t)
			m.configure(t)
			besideTheFan(t, b, m, remote, world)
		})
	}
}

// besideTheFan starts a container with the words that bring it onto the fan, and others
// beside it, and tries what they reach and who reaches them.
func besideTheFan(t *testing.T, b *bed.Bed, m *machine, remote *bed.Container, world netip.AddrPort, onFan ...string) {
	t.Helper()
	d := m.docker
	d.MustDocker(t, append(append([]string{"run", "--detach", "--init", "--name", "web", "--publish", "8080:80"}, onFan...), web("fan")...)...)
	d.MustDocker(t, "network", "create", "own")
	d.MustDocker(t, append([]string{"run", "--detach", "--init", "--name", "other", "--network", "own", "--publish", "8081:80"}, web("own")...)...)
	inFan, inOwn, second := d.Container(t, "web"), d.Container(t, "other"), d.Run(t, "second", "--network", "own")
	defer func() {
		d.MustDocker(t, "rm", "--force", "web", "other", "second")
		d.MustDocker(t, "network", "rm", "own")
	}()
	own := inOwn.Address(t, "eth0").Addr()
	for _, try := range []struct {
		what string
		from *bed.NS
		at   netip.Addr
		port uint16
		want string
	}{
		{"the world, by the published port", b.World, m.Addr, 8080, "fan\n"},
		{"another host, by the published port", b.Hosts[1].NS, m.Addr, 8080, "fan\n"},
		{"a container of another host, by the published port", remote.NS, m.Addr, 8080, "fan\n"},
		{"a container of another host, without a published port", remote.NS, eth0(t, inFan), 80, "fan\n"},
		{"the world, by the port published of Docker's own network", b.World, m.Addr, 8081, "own\n"},
		{"a container of Docker's own network, of its neighbour", second.NS, own, 80, "own\n"},
	} {
		if got, err := fetch(try.from, try.at, try.port); err != nil || got != try.want {
			t.Errorf("%s: got %q (%v), want %q", try.what, got, err, try.want)
		}
	}
	for _, c := range []*engine.Container{inFan, inOwn} {
		if seen, err := c.SeenBy("tcp4", world); err != nil || seen != m.Addr {
			t.Errorf("the world sees %s (%v) when %s calls, want the host %s", seen, err, c.Name, m.Addr)
		}
	}
	if got := inFan.Ping(remote.Addr, 2); got != 2 {
		t.Errorf("%d of 2 pings answered from a container of Docker to one of another host", got)
	}
	if names := d.MustDocker(t, "exec", "second", "ping", "-c", "1", "-W", "2", "other"); bed.Answered(names) != 1 {
		t.Errorf("Docker's own network does not know its names:\n%s", names)
	}
}
