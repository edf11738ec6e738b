package bed

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
)

// Replug takes the host's underlay device away and puts another one in its place,
// with the same name, hardware address and addresses.
func (h *Host) Replug(t testing.TB) {
	t.Helper()
	device := h.Device(t, "eth0")
	_, rest, _ := strings.Cut(h.bed.switches.Must(t, "ip", "-o", "link", "show", h.Port), " master ")
	bridge, _, _ := strings.Cut(rest, " ")
	bits := h.bed.hostBits()
	h.IP(t, "link del eth0")
	h.bed.switches.IP(t,
		fmt.Sprintf("link add %s mtu %d type veth peer name eth0 mtu %d address %s netns %s", h.Port, device.MTU, device.MTU, device.HardwareAddr, h.Name),
		fmt.Sprintf("link set %s master %s addrgenmode none up", h.Port, bridge))
	h.IP(t, fmt.Sprintf("addr add %s/%d brd + dev eth0", h.Addr, bits), "link set eth0 up")
	h.DefaultRoute(t)
}

// Renumber gives the host another address, as a renewal of its DHCP lease may.
func (h *Host) Renumber(t testing.TB, device string, address netip.Addr) {
	t.Helper()
	bits := h.bed.hostBits()
	h.IP(t, fmt.Sprintf("addr del %s/%d dev %s", h.Addr, bits, device), fmt.Sprintf("addr add %s/%d brd + dev %s", address, bits, device))
	h.Addr = address
	h.DefaultRoute(t)
}

// DefaultRoute gives the host its way out again, which goes with the device.
func (h *Host) DefaultRoute(t testing.TB) {
	t.Helper()
	subnet := netip.PrefixFrom(h.Addr, h.bed.hostBits()).Masked()
	h.IP(t, "route replace default via "+LastUsable(subnet).String())
}

// DetachPrograms takes away what is attached by tcx to a device, and returns how
// many programs that was; none on kernels before 6.6.
func (n *NS) DetachPrograms(t testing.TB, device string) int {
	t.Helper()
	attached, err := n.TCX()
	if err != nil {
		t.Fatalf("in %s: list programs: %v", n.Name, err)
	}
	count, index := 0, n.Device(t, device).Index
	for _, a := range attached {
		if a.Device != device {
			continue
		}
		err := n.Do(func() error {
			program, err := ebpf.NewProgramFromID(a.ID)
			if err != nil {
				return err
			}
			defer program.Close()
			return link.RawDetachProgram(link.RawDetachProgramOptions{Target: index, Program: program, Attach: a.Way})
		})
		if err != nil {
			t.Fatalf("in %s: detach a program from %s: %v", n.Name, device, err)
		}
		count++
	}
	return count
}
