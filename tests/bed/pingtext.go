package bed

import (
	"regexp"
	"strconv"
)

// Answered reads how many echo requests were answered from what ping(8) prints
// at its end; -1 if it printed no such thing.
func Answered(output string) int { return numberBefore(output, `(\d+) (?:packets )?received`) }

// Sent is Answered for the requests that were sent.
func Sent(output string) int { return numberBefore(output, `(\d+) packets transmitted`) }

func numberBefore(text, pattern string) int {
	found := regexp.MustCompile(pattern).FindStringSubmatch(text)
	if found == nil {
		return -1
	}
	n, err := strconv.Atoi(found[1])
	if err != nil {
		return -1
	}
	return n
}
