package bed

import (
	"errors"
	"fmt"
	"net"
	"slices"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"
)

// Attached is a program that is attached to a device by tcx.
type Attached struct {
	Device string
	Way    ebpf.AttachType
	ID     ebpf.ProgramID
}

// TCX lists the programs that are attached in the namespace; none on kernels before
// 6.6.
func (n *NS) TCX() ([]Attached, error) {
	var all []Attached
	err := n.Do(func() error {
		devices, err := net.Interfaces()
		if err != nil {
			return err
		}
		for _, d := range devices {
			for _, way := range []ebpf.AttachType{ebpf.AttachTCXIngress, ebpf.AttachTCXEgress} {
				found, err := link.QueryPrograms(link.QueryOptions{Target: d.Index, Attach: way})
				if errors.Is(err, unix.EINVAL) || errors.Is(err, ebpf.ErrNotSupported) || errors.Is(err, unix.ENODEV) {
					continue
				}
				if err != nil {
					return fmt.Errorf("programs of %s: %w", d.Name, err)
				}
				for _, p := range found.Programs {
					all = append(all, Attached{d.Name, way, p.ID})
				}
			}
		}
		return nil
	})
	return all, err
}

// tcx is TCX as lines of a snapshot, with the tag of each program: the hash of its
// instructions.
func (n *NS) tcx() ([]string, error) {
	attached, err := n.TCX()
	var lines []string
	for _, a := range attached {
		program, err := ebpf.NewProgramFromID(a.ID)
		if err != nil {
			continue // it went while we looked
		}
		info, err := program.Info()
		program.Close()
		if err != nil {
			return nil, err
		}
		lines = append(lines, fmt.Sprintf("tcx %s %s %s", a.Device, a.Way, info.Tag))
	}
	slices.Sort(lines)
	return lines, err
}
