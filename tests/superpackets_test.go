package tests

import (
	"testing"

	"github.com/fanctl/fanctl/tests/bed"
)

// A stream reaches the container as its sender's kernel has packed it, in packets of up
// to 64 KB: nothing on the way cuts them to the size of the wire, whose device does that.
func TestSuperPackets(t *testing.T) {
	const bytes, large, share = 64 << 20, 16 << 10, 0.8
	eachPath(t, func(t *testing.T, p path) {
		for name, option := range map[string][]string{"normal": nil, "fast": {"--fast"}} {
			t.Run(name, func(t *testing.T) {
				b := bed.New(t, bed.Options{NoIPv6: true})
				fans := upAll(t, b, p, overlay, option...)
				o := bed.ContainerOptions{}
				if p.kind == "vxlan" {
					o.Bits = fans[0].net.Overlay.Bits()
				}
				one, two := fans[0].container(t, o), fans[1].container(t, o)
				for _, f := range fans {
					f.host.MustFanctl(t, "up", "-e") // for the containers' ports
				}
				reaches(t, one.NS, two.Addr, "container to container")
				lengths := two.Lengths(t, "eth0")
				transfer(t, one, two, bytes)
				of, above := 0, 0
				for length, n := range lengths() {
					switch {
					case length > large:
						above += n
						of += n
					case length > 100: // no acknowledgement
						of += n
					}
				}
				t.Logf("%d of %d packets with data are longer than %d bytes", above, of, large)
				if of == 0 || float64(above) < share*float64(of) {
					t.Errorf("%d of %d packets with data are longer than %d bytes, want a share of %.2f", above, of, large, share)
				}
			})
		}
	})
}
