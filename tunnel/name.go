package tunnel

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"

	"github.com/fanctl/fanctl/internal/kernel"
	"github.com/fanctl/fanctl/tunnel/bpf"
)

// guardOwner stands in the names of filters that belong to no single fan.
const guardOwner = "fan"

// A filter's name says whose it is, which program it is, and by the fingerprint
// whether it is this version of it with these constants. clsact has room for
// "fan-250/vxlan_send/0123abcd". By tcx there is only the program's own name, of 14
// characters that the kernel keeps and shows whole: "vs_0123ab_9f2c", with a hash in
// the owner's place.
func filterName(owner, program, fingerprint string) string {
	return owner + "/" + program + "/" + fingerprint
}

func programName(owner, program, fingerprint string) string {
	return codes()[program] + "_" + fingerprint[:6] + "_" + ownerHash(owner)
}

func ownerHash(owner string) string {
	sum := sha256.Sum256([]byte(owner))
	return hex.EncodeToString(sum[:2])
}

// codes are the programs' names in short.
func codes() map[string]string {
	return map[string]string{
		bpf.IPIPSend: "ds", bpf.IPIPPieces: "dp", bpf.IPIPReceive: "dr", bpf.IPIPWhole: "dw",
		bpf.IPIPDeliver: "dd", bpf.IPIPClose: "dc", bpf.Guard: "ig",
		bpf.IPIPPort: "dq", bpf.VXLANSend: "vs", bpf.VXLANReceive: "vr", bpf.VXLANPort: "vq", bpf.VXLANDirect: "vd", bpf.VXLANDeliver: "vb",
	}
}

// formerCodes are of programs that earlier versions had on the ipip device.
func formerCodes() map[string]string {
	return map[string]string{"ipip_send": "is", "ipip_receive": "ir"}
}

// isNamed says whether a filter has the name that those would give it.
func isNamed(f kernel.Filter, owner, program, fingerprint string) bool {
	if f.TCX {
		return f.Name == programName(owner, program, fingerprint)
	}
	return f.Name == filterName(owner, program, fingerprint)
}

// ownedBy says whether a filter is the owner's, and which program it is.
func ownedBy(owner string, f kernel.Filter) (program string, ok bool) {
	if !f.TCX {
		rest, ok := strings.CutPrefix(f.Name, owner+"/")
		if !ok {
			return "", false
		}
		program, _, ok = strings.Cut(rest, "/")
		return program, ok
	}
	words := strings.Split(f.Name, "_")
	if len(words) != 3 || words[2] != ownerHash(owner) {
		return "", false
	}
	for _, known := range []map[string]string{codes(), formerCodes()} {
		for program, code := range known {
			if code == words[0] {
				return program, true
			}
		}
	}
	return "", false
}
