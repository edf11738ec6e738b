package dnsmasq

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"strconv"
	"strings"
)

// CheckLeases returns in one line what is wrong with a lease file, or "". dnsmasq
// leaves out lines that it does not understand, so a container may get another
// address; that is no reason for none to get any.
func CheckLeases(path string) string {
	text, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return ""
	}
	if err != nil {
		return fmt.Sprintf("read leases: %v", err)
	}
	wrong, first := 0, 0
	number := 0
	for line := range strings.Lines(string(text)) {
		if number++; !isLease(strings.TrimSuffix(line, "\n")) {
			if wrong++; first == 0 {
				first = number
			}
		}
	}
	if wrong == 0 {
		return ""
	}
	return fmt.Sprintf("%s:%d: the lease is damaged and left out (%d such lines); its container may get another address", path, first, wrong)
}

// isLease says whether dnsmasq takes a line: its end of time in seconds, hardware
// address, address, name and client identifier (dnsmasq, src/lease.c: read_leases).
func isLease(line string) bool {
	words := strings.Fields(line)
	if len(words) == 2 && words[0] == "duid" {
		return true
	}
	if len(words) != 5 {
		return false
	}
	_, timeErr := strconv.ParseInt(words[0], 10, 64)
	_, addressErr := netip.ParseAddr(words[2])
	return timeErr == nil && addressErr == nil
}
