package kernel

import (
	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
)

// lookTCX adds the programs that are attached by tcx. A kernel before 6.6 does not
// know the question, and without privilege there is no answer; both have none.
func (s *State) lookTCX() {
	names := map[ebpf.ProgramID]string{} // one program may be at a thousand devices
	for _, l := range s.Links {
		for _, egress := range []bool{false, true} {
			attached, err := link.QueryPrograms(link.QueryOptions{Target: l.Index, Attach: TCXType(egress)})
			if err != nil {
				continue
			}
			s.TCX = true
			for _, p := range attached.Programs {
				name, known := names[p.ID]
				if !known {
					name = programName(p.ID)
					names[p.ID] = name
				}
				s.Filters = append(s.Filters, Filter{Link: l.Index, Egress: egress, TCX: true, Name: name, Program: int(p.ID)})
			}
		}
	}
}

// TCXType is the way in or out of a device in the words of the library.
func TCXType(egress bool) ebpf.AttachType {
	if egress {
		return ebpf.AttachTCXEgress
	}
	return ebpf.AttachTCXIngress
}

// programName returns the name that a program was loaded with, or "".
func programName(id ebpf.ProgramID) string {
	program, err := ebpf.NewProgramFromID(id)
	if err != nil {
		return ""
	}
	defer program.Close()
	info, err := program.Info()
	if err != nil {
		return ""
	}
	return info.Name
}
