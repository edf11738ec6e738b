package tests

import (
	"bytes"
	"fmt"
	"slices"
	"strings"

	"github.com/fanctl/fanctl/tests/bed/wire"
)

// differences compares what was seen in two twins; one text for each parcel and place
// that differ. what tells the parcels.
func differences(a, b *sightings, what func(mark uint16) string) []string {
	spots := map[spot]bool{}
	for at := range a.by {
		spots[at] = true
	}
	for at := range b.by {
		spots[at] = true
	}
	var all []string
	for at := range spots {
		left, right := a.by[at], b.by[at]
		if at.mark == 0 { // they do not say what they came of: their order means nothing
			left, right = slices.SortedFunc(slices.Values(left), bytes.Compare), slices.SortedFunc(slices.Values(right), bytes.Compare)
		}
		if !slices.EqualFunc(left, right, bytes.Equal) {
			all = append(all, fmt.Sprintf("parcel %05d, %s\n   at %s\n%s", at.mark, what(at.mark), at.place, sideBySideText(left, right)))
		}
	}
	slices.Sort(all)
	return all
}

// sideBySideText shows what differs between two lists of frames.
func sideBySideText(a, b [][]byte) string {
	var lines []string
	for i := range max(len(a), len(b)) {
		left, right := frameText(a, i), frameText(b, i)
		if left != right {
			lines = append(lines, fmt.Sprintf("   %d: first   %s\n      second  %s", i, left, right))
		}
		if i < len(a) && i < len(b) && !bytes.Equal(a[i], b[i]) {
			lines = append(lines, "      "+bytesText(a[i], b[i]))
		}
		if len(lines) > 6 {
			lines = append(lines, "   …")
			break
		}
	}
	return strings.Join(lines, "\n")
}

func frameText(frames [][]byte, i int) string {
	if i >= len(frames) {
		return "nothing"
	}
	return fmt.Sprintf("%d bytes, %s", len(frames[i]), wire.Decode(frames[i]))
}

// bytesText names the bytes in which two frames differ.
func bytesText(a, b []byte) string {
	var words []string
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			words = append(words, fmt.Sprintf("[%d] %02x %02x", i, a[i], b[i]))
		}
		if len(words) == 12 {
			words = append(words, "…")
			break
		}
	}
	return "bytes that differ: " + strings.Join(words, ", ")
}
