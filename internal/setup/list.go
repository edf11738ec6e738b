package setup

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"github.com/fanctl/fanctl/fan"
	"github.com/fanctl/fanctl/ifupdown"
	"github.com/fanctl/fanctl/internal/plan"
)

// The comment of a line that we have written, and what it says beside that: it is what
// tells our lines from other people's, and what to leave when they go.
const (
	ours    = "by fanatic"
	newList = "which made this file"
	wasUp   = "up before as: " // words of a fan that was not in the list
	wasLine = "before: "       // a line of somebody else's

	// oldNewList is newList as the first versions wrote it.
	oldNewList = "with this file"
)

// mark is what the comment of a line says.
type mark struct {
	ours, newList bool
	// up are the words of a fan that was up, and line is the line, before us.
	up, line string
}

func (m mark) String() string {
	comment := ours
	if m.newList {
		comment += ", " + newList
	}
	switch { // what runs to the end comes last
	case m.up != "":
		comment += ", " + wasUp + m.up
	case m.line != "":
		comment += ", " + wasLine + m.line
	}
	return comment
}

func markOf(e ifupdown.Entry) (m mark) {
	rest, found := strings.CutPrefix(e.Comment, ours)
	if !found || rest != "" && !strings.HasPrefix(rest, ", ") {
		return mark{}
	}
	m.ours = true
	for _, words := range []string{newList, oldNewList} {
		if next, found := strings.CutPrefix(rest, ", "+words); found {
			m.newList, rest = true, next
			break
		}
	}
	if up, found := strings.CutPrefix(rest, ", "+wasUp); found {
		m.up = up
	} else if line, found := strings.CutPrefix(rest, ", "+wasLine); found {
		m.line = line
	}
	return m
}

// before is the fan that was there before us, up or in the list.
func (m mark) before() (spec fan.Spec, there bool) {
	words, _, _ := strings.Cut(m.up+m.line, "#")
	if strings.TrimSpace(words) == "" {
		return fan.Spec{}, false
	}
	spec, err := fan.ParseSpec(strings.Fields(words))
	return spec, err == nil
}

// entryOf returns the line of an overlay that is not switched off.
func entryOf(list *ifupdown.File, spec fan.Spec) (ifupdown.Entry, bool) {
	for _, e := range list.Entries() {
		if e.Err == nil && !e.Spec.Off && e.Spec.Overlay == spec.Overlay {
			return e, true
		}
	}
	return ifupdown.Entry{}, false
}

// planListed returns the step that writes a fan into the list, if it is not there as
// it should be. was is the fan if it is up already, nil if not.
func (s *Setup) planListed(spec fan.Spec, was *fan.Fan) (plan.Plan, error) {
	spec.Auto = false // no word says so
	list, err := ifupdown.Load(s.List)
	if err != nil {
		return nil, err
	}
	before, listed := entryOf(list, spec)
	if changed, err := list.Set(spec); err != nil || !changed {
		return nil, err
	}
	m := markOf(before)
	switch {
	case m.ours:
	case listed:
		m = mark{ours: true, line: before.Text}
	default:
		_, err := os.Stat(s.List)
		m = mark{ours: true, newList: errors.Is(err, fs.ErrNotExist)}
		if was != nil {
			m.up = strings.Join(was.Spec().Words(), " ")
		}
	}
	return plan.Plan{{
		Text: "fanctl config set " + named(spec) + s.fileWords(),
		Do: func() error {
			_, err := ifupdown.Change(s.List, func(list *ifupdown.File) (bool, error) {
				changed, err := list.Set(spec)
				return list.Mark(spec.Underlay, spec.Overlay, m.String()) || changed, err
			})
			return err
		},
		Undo: func() error {
			if !listed {
				return s.unlist(spec, m.newList)
			}
			return s.relist(spec, before.Text)
		},
	}}, nil
}

// relist writes a line as it was.
func (s *Setup) relist(now fan.Spec, text string) error {
	_, err := ifupdown.Change(s.List, func(list *ifupdown.File) (bool, error) {
		return list.Restore(now.Underlay, now.Overlay, text), nil
	})
	return err
}

// planUnlisted returns the step that takes our line out of the list, or makes it the
// one that was there before.
func (s *Setup) planUnlisted(e ifupdown.Entry) plan.Plan {
	m := markOf(e)
	if m.line != "" {
		before, _ := m.before()
		return plan.Plan{{
			Text: "edit " + s.List + " # the line is again: " + m.line,
			Do:   func() error { return s.relist(e.Spec, m.line) },
			Undo: func() error { return s.relist(before, e.Text) },
		}}
	}
	return plan.Plan{{
		Text: "fanctl config delete " + named(fan.Spec{Underlay: e.Spec.Underlay, Overlay: e.Spec.Overlay}) + s.fileWords(),
		Do:   func() error { return s.unlist(e.Spec, m.newList) },
		Undo: func() error {
			_, err := ifupdown.Change(s.List, func(list *ifupdown.File) (bool, error) {
				changed, err := list.Set(e.Spec)
				return list.Restore(e.Spec.Underlay, e.Spec.Overlay, e.Text) || changed, err
			})
			return err
		},
	}}
}

// unlist takes a fan's line out of the list, and the file with it if that was ours and
// has no other line.
func (s *Setup) unlist(spec fan.Spec, file bool) error {
	empty := false
	_, err := ifupdown.Change(s.List, func(list *ifupdown.File) (bool, error) {
		changed := list.Delete(spec.Underlay, spec.Overlay)
		empty = list.String() == ""
		return changed, nil
	})
	if err != nil || !file || !empty {
		return err
	}
	if err := os.Remove(s.List); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove the list of fans: %w", err)
	}
	return nil
}

// named names a fan by options, as fanctl takes them.
func named(spec fan.Spec) string {
	words := spec.Words()
	return strings.Join(append([]string{"-u", words[0], "-o", words[1]}, words[2:]...), " ")
}

func (s *Setup) fileWords() string {
	if s.List == ifupdown.Path {
		return ""
	}
	return " --file " + s.List
}
