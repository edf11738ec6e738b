// Package ifupdown is how fans survive a reboot: the file /etc/network/fan, which
// lists them, a line each.
package ifupdown

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"unicode"

	"github.com/fanctl/fanctl/fan"
)

// Path is where the file is.
const Path = "/etc/network/fan"

// File is the list of fans as it stands in its file, comments included.
type File struct {
	name  string
	lines []line
}

// line is one line of the file: a fan, or none.
type line struct {
	text  string // without its end
	words int    // how many bytes of the text come before a comment
	entry *Entry
}

// Entry is the line of one fan.
type Entry struct {
	Line int // counted from 1
	Spec fan.Spec
	// Comment is what stands behind the fan in its line, without # and blanks.
	Comment string
	// Text is the whole line, without its end.
	Text string
	// Err says what is wrong with the line (fan.ErrUsage), where it is wrong.
	Err error
}

// Parse reads a file's text. Each line has an underlay and an overlay, in either
// order, and options with or without dashes; # begins a comment, anywhere. name is
// for errors. A wrong line does not keep the others from being read.
func Parse(name, text string) *File {
	f := &File{name: name}
	for text := range strings.Lines(text) {
		f.lines = append(f.lines, parseLine(strings.TrimSuffix(text, "\n"), name, len(f.lines)+1))
	}
	f.refuseDoubles()
	return f
}

func parseLine(text, name string, number int) line {
	l := line{text: text, words: len(text)}
	if i := strings.IndexByte(text, '#'); i >= 0 {
		l.words = i
	}
	words := strings.FieldsFunc(text[:l.words], func(r rune) bool { return unicode.IsSpace(r) || r == '\ufeff' })
	if len(words) == 0 {
		return l
	}
	l.entry = &Entry{Line: number, Text: text, Comment: strings.TrimSpace(strings.TrimPrefix(text[l.words:], "#"))}
	if l.entry.Spec, l.entry.Err = fan.ParseSpec(words); l.entry.Err != nil {
		l.entry.Err = fmt.Errorf("%s:%d: %w", name, number, l.entry.Err)
	}
	return l
}

// refuseDoubles makes a line wrong whose overlay stands further up already.
func (f *File) refuseDoubles() {
	first := map[string]int{}
	for _, e := range f.Entries() {
		overlay := e.Spec.Overlay.String()
		if e.Err != nil || e.Spec.Off {
			continue
		}
		if number, there := first[overlay]; there {
			f.lines[e.Line-1].entry.Err = fmt.Errorf("%s:%d: %w", f.name, e.Line,
				fan.Usagef("overlay %s stands in line %d already; an overlay has one fan", overlay, number))
			continue
		}
		first[overlay] = e.Line
	}
}

// Entries returns the fans in the order of their lines, wrong lines included.
func (f *File) Entries() []Entry {
	var list []Entry
	for _, l := range f.lines {
		if l.entry != nil {
			list = append(list, *l.entry)
		}
	}
	return list
}

// Set writes a fan into the line of its networks, else into the one of its overlay
// that is not switched off, else into a new one, and says whether that changes the
// file. Comments stay. It refuses (fan.ErrUsage) a second fan of an overlay.
func (f *File) Set(spec fan.Spec) (changed bool, err error) {
	i := f.find(func(s fan.Spec) bool { return s.Overlay == spec.Overlay && s.Underlay == spec.Underlay })
	if i < 0 {
		i = f.find(func(s fan.Spec) bool { return s.Overlay == spec.Overlay && !s.Off })
	}
	if i >= 0 && f.lines[i].entry.Spec == spec {
		return false, nil
	}
	for j, l := range f.lines {
		if !spec.Off && j != i && l.entry != nil && l.entry.Spec.Overlay == spec.Overlay && !l.entry.Spec.Off {
			return false, fan.Usagef("%s:%d: overlay %s has a fan already, over %s; delete that line first", f.name, j+1, spec.Overlay, l.entry.Spec.Underlay)
		}
	}
	text := strings.Join(spec.Words(), " ")
	if i < 0 {
		i = len(f.lines)
		f.lines = append(f.lines, line{})
	} else if comment := f.lines[i].text[f.lines[i].words:]; comment != "" {
		text += " " + comment
	}
	f.lines[i] = parseLine(text, f.name, i+1)
	return true, nil
}

// Delete takes out the lines with these networks and says whether there were any.
func (f *File) Delete(underlay fan.UnderlaySpec, overlay netip.Prefix) (changed bool) {
	before := len(f.lines)
	f.lines = slices.DeleteFunc(f.lines, func(l line) bool {
		return l.entry != nil && l.entry.Spec.Overlay == overlay && l.entry.Spec.Underlay == underlay
	})
	for i, l := range f.lines {
		if l.entry != nil {
			l.entry.Line = i + 1
		}
	}
	return len(f.lines) < before
}

// Mark writes a comment behind the fan with these networks, in place of the one that
// is there, and says whether that changes the file.
func (f *File) Mark(underlay fan.UnderlaySpec, overlay netip.Prefix, comment string) (changed bool) {
	i := f.find(func(s fan.Spec) bool { return s.Overlay == overlay && s.Underlay == underlay })
	if i < 0 || f.lines[i].entry.Comment == comment {
		return false
	}
	text := strings.TrimRightFunc(f.lines[i].text[:f.lines[i].words], unicode.IsSpace)
	if comment != "" {
		text += " # " + comment
	}
	f.lines[i] = parseLine(text, f.name, i+1)
	return true
}

// Restore writes a text into the line of the fan with these networks, as it stood there
// before, and says whether that changes the file.
func (f *File) Restore(underlay fan.UnderlaySpec, overlay netip.Prefix, text string) (changed bool) {
	i := f.find(func(s fan.Spec) bool { return s.Overlay == overlay && s.Underlay == underlay })
	if i < 0 || f.lines[i].text == text || strings.Contains(text, "\n") {
		return false
	}
	f.lines[i] = parseLine(text, f.name, i+1)
	return true
}

func (f *File) find(wanted func(fan.Spec) bool) int {
	return slices.IndexFunc(f.lines, func(l line) bool { return l.entry != nil && wanted(l.entry.Spec) })
}

// String returns the file's text.
func (f *File) String() string {
	var text strings.Builder
	for _, l := range f.lines {
		text.WriteString(l.text + "\n")
	}
	return text.String()
}
