package bpf

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"slices"
)

// Fingerprint identifies a program with its constants: 8 hex digits that change
// when either does.
func Fingerprint(program string, config Config) string {
	sum := sha256.New()
	for _, o := range objects() {
		if slices.Contains(o.programs, program) {
			sum.Write(o.code)
		}
	}
	for _, n := range numbers(config) {
		// Writing a number to a hash can't fail.
		_ = binary.Write(sum, binary.BigEndian, n)
	}
	return hex.EncodeToString(sum.Sum(nil)[:4])
}
