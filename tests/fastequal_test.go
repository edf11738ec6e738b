package tests

import (
	"fmt"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/fanctl/fanctl/tests/bed"
)

const (
	// seedVariable is the environment variable that has the seed of the parcels.
	seedVariable = "FANCTL_SEED"
	// enough parcels are sent in each twin, and then strange ones.
	enough, strange = 10000, 1000
)

func seed(t *testing.T) uint64 {
	t.Helper()
	word := os.Getenv(seedVariable)
	if word == "" {
		return 7
	}
	n, err := strconv.ParseUint(word, 10, 64)
	if err != nil {
		t.Fatalf("%s: %v", seedVariable, err)
	}
	return n
}

// Two fans of the same kind do the same to the same packets: what the comparison with a
// fast one finds is the fast one's.
func TestEquivalenceOfTwins(t *testing.T) {
	eachPath(t, func(t *testing.T, p path) {
		equivalent(t, newTwin(t, p), newTwin(t, p))
	})
}

// equivalent sends the same parcels in both twins, and fails the test unless the same
// comes out everywhere and all counters grow by the same.
func equivalent(t *testing.T, first, second *twin) {
	t.Helper()
	twins := []*twin{first, second}
	number := seed(t)
	t.Logf("%s=%d", seedVariable, number)
	m := newPost(number, first)
	for _, w := range twins {
		w.collect()
		clear(w.seen.by) // of pings
	}
	before := [][]map[string]uint64{first.counters(t), second.counters(t)}
	sent := deliver(t, twins, m.rounds(enough, m.any))
	for i := range first.fans {
		a, b := grown(before[0][i], first.counters(t)[i]), grown(before[1][i], second.counters(t)[i])
		t.Logf("counters of host %d: %v", i, a)
		if !maps.Equal(a, b) {
			t.Errorf("counters of host %d have grown\nin the first twin by  %v\nin the second twin by %v", i, a, b)
		}
	}
	// Where somebody has to be asked for, counters depend on when: one question does for
	// many packets.
	m.strangers = true
	sent += deliver(t, twins, m.rounds(strange, m.any))
	for _, w := range twins {
		w.resolved(t)
	}
	if err := bed.OnOneCPU(func() error { return throughBoth(twins) }); err != nil {
		t.Fatal(err)
	}
	tell(t, differences(first.seen, second.seen, m.text), sent)
	first.travelled(t, sent)
	for at, frames := range first.seen.by {
		if _, ours := m.texts[at.mark]; !ours && at.mark != 0 {
			t.Errorf("at %s: frames of parcel %d, which was not sent: %s", at.place, at.mark, frameText(frames, 0))
		}
	}
}

func throughBoth(twins []*twin) error {
	for _, w := range twins {
		if err := w.through(); err != nil {
			return fmt.Errorf("%s: %w", w.bed.Hosts[0].Name, err)
		}
	}
	return nil
}

// deliver sends rounds of parcels, each in both twins before the next.
func deliver(t *testing.T, twins []*twin, rounds [][]parcel) int {
	t.Helper()
	sent := 0
	err := bed.OnOneCPU(func() error {
		if err := throughBoth(twins); err != nil {
			return err
		}
		for i, round := range rounds {
			for _, w := range twins {
				if err := w.send(round); err != nil {
					return fmt.Errorf("%s, round %d: %w", w.bed.Hosts[0].Name, i, err)
				}
			}
			sent += len(round)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return sent
}

// counters are those of both hosts.
func (w *twin) counters(t *testing.T) []map[string]uint64 {
	t.Helper()
	var all []map[string]uint64
	for _, f := range w.fans {
		all = append(all, f.counters(t))
	}
	return all
}

// grown is by how much counters have grown, without those that say which way packets went.
func grown(before, after map[string]uint64) map[string]uint64 {
	all := map[string]uint64{}
	for name, n := range after {
		if !strings.HasSuffix(name, "_fast") {
			all[name] = n - before[name]
		}
	}
	return all
}

// tell fails the test if there are differences, and shows the first.
func tell(t *testing.T, found []string, sent int) {
	t.Helper()
	if len(found) == 0 {
		return
	}
	const shown = 15
	t.Errorf("%d differences among %d parcels:\n%s", len(found), sent, strings.Join(found[:min(shown, len(found))], "\n"))
}

// travelled fails the test unless parcels have come through in numbers: two twins in which
// nothing does are alike, too.
func (w *twin) travelled(t *testing.T, sent int) {
	t.Helper()
	count := map[string]int{}
	for at, frames := range w.seen.by {
		count[at.place] += len(frames)
	}
	for _, name := range slices.Sorted(maps.Keys(count)) {
		t.Logf("of %d parcels, frames at %s: %d", sent, name, count[name])
	}
	for _, name := range []string{"talker 0", "talker 1"} {
		if count[name] < sent/5 {
			t.Errorf("only %d frames at %s of %d parcels", count[name], name, sent)
		}
	}
	for _, name := range []string{"idler 0", "idler 1", "world", "host 0's port of the switch", "host 1's port of the switch"} {
		if count[name] == 0 {
			t.Errorf("no frame at %s", name)
		}
	}
}
