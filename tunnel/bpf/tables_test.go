package bpf_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"
)

// tableSize is how many entries a hash map of the processor has at most: it forgets
// none, so a story may not need more.
const tableSize = 64

// table is a hash map: by key, at which place of the map's values its value is.
type table struct {
	keySize int
	places  map[string]int
}

func isTable(m *ebpf.MapSpec) bool { return m.Type == ebpf.Hash || m.Type == ebpf.LRUHash }

// find returns where the value of a key is, or 0.
func (p *processor) find(i int, key []byte) uint64 {
	place, there := p.tables[i].places[string(key)]
	if !there {
		return 0
	}
	return mapsAt + uint64(i)*mapApart + uint64(place)*uint64(p.valueSize[i])
}

func (p *processor) put(i int, key, value []byte) error {
	t := p.tables[i]
	place, there := t.places[string(key)]
	if !there {
		taken := make([]bool, tableSize)
		for _, n := range t.places {
			taken[n] = true
		}
		if place = slices.Index(taken, false); place < 0 {
			return errors.New("a full table")
		}
		t.places[string(key)] = place
	}
	copy(p.values(i)[place*int(p.valueSize[i]):], value)
	return nil
}

// keyAt reads the key that a helper gets for a hash map.
func (p *processor) keyAt(at uint64, i int) ([]byte, error) {
	key, err := p.part(at, p.tables[i].keySize)
	return slices.Clone(key), err
}

// entry is what a map knows before a story begins, in a processor's byte order.
type entry struct {
	table      string
	key, value func(order binary.ByteOrder) []byte
}

// plainBytes are the same in both byte orders.
func plainBytes(b []byte) func(binary.ByteOrder) []byte {
	return func(binary.ByteOrder) []byte { return b }
}

// numbersOf are bytes, and then numbers of 32 bits.
func numbersOf(first []byte, numbers ...uint32) func(binary.ByteOrder) []byte {
	return func(order binary.ByteOrder) []byte {
		b := slices.Clone(first)
		for _, n := range numbers {
			b = append(b, make([]byte, 4)...)
			order.PutUint32(b[len(b)-4:], n)
		}
		return b
	}
}

// learn puts what a story knows before it begins into the tables that the program has.
func (s *stage) learn(t testing.TB, all []entry) {
	t.Helper()
	for _, e := range all {
		i := slices.Index(s.maps, e.table)
		if i < 0 {
			continue
		}
		if err := s.put(i, e.key(s.order), e.value(s.order)); err != nil {
			t.Fatal(err)
		}
	}
}

// meaning is what a key or value means, whatever the byte order.
func (s *stage) meaning(t testing.TB, of btf.Type, b []byte) string {
	t.Helper()
	if _, isStruct := btf.UnderlyingType(of).(*btf.Struct); isStruct {
		return fmt.Sprint(read(t, s.spec.ByteOrder, of, b))
	}
	return fmt.Sprint(s.spec.ByteOrder.Uint32(b))
}

// tell says what is in a map by a key.
func (s *stage) tell(t testing.TB, i int, key, value []byte) string {
	t.Helper()
	m := s.spec.Maps[s.maps[i]]
	words := []string{s.maps[i], s.meaning(t, m.Key, key)}
	if value != nil {
		words = append(words, s.meaning(t, m.Value, value))
	}
	return strings.Join(words, " ")
}

// entries says what is in a hash map.
func (s *stage) entries(t testing.TB, i int) []string {
	t.Helper()
	var all []string
	size := int(s.valueSize[i])
	for key, place := range s.tables[i].places {
		all = append(all, s.tell(t, i, []byte(key), s.values(i)[place*size:][:size]))
	}
	slices.Sort(all)
	return all
}

// tableOf returns the hash map that a helper gets as its first argument, and the key.
func (p *processor) tableOf() (i int, key []byte, err error) {
	handle := p.r[1] - handlesAt
	if handle >= uint64(len(p.maps)) || p.tables[handle] == nil {
		return 0, nil, errors.New("no table")
	}
	key, err = p.keyAt(p.r[2], int(handle))
	return int(handle), key, err
}

func (h *host) updateTable(p *processor) (uint64, error) {
	i, key, err := p.tableOf()
	if err != nil {
		return 0, err
	}
	value, err := p.part(p.r[3], int(p.valueSize[i]))
	if err != nil {
		return 0, err
	}
	h.say("put %s flags %#x", h.tell(i, key, value), p.r[4])
	return 0, p.put(i, key, value)
}

func (h *host) deleteFromTable(p *processor) (uint64, error) {
	i, key, err := p.tableOf()
	if err != nil {
		return 0, err
	}
	h.say("delete %s", h.tell(i, key, nil))
	delete(p.tables[i].places, string(key))
	return 0, nil
}
