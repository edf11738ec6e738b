// Package completion completes a program's command line in a shell. What can stand
// at the cursor is worked out here, by the program itself, from its commands and
// their options; the scripts for the shells only ask it and show the answer.
package completion

import (
	"slices"
	"strings"

	"github.com/urfave/cli/v2"
)

// Candidate is a word that can stand at the cursor.
type Candidate struct {
	Word string
	Help string // what it means, or ""
	// Path says that any file can stand here; the shell knows them. Word is what
	// stands before the file's name.
	Path bool
}

// Line is what is written already of a command line.
type Line struct {
	// Command is the names of the command and those above it, "config set".
	Command string
	// Option is the name of the option whose value is at the cursor, "" for a word.
	Option string
	// Given are the options that were given, by their first names, with their values.
	Given map[string]string
	// Words are the words that were given.
	Words []string
}

// Source tells what can stand at the cursor, other than commands and options.
type Source func(Line) []Candidate

// Complete returns what can stand in place of the last of the words of a command
// line, which are those behind the program's name; that one may be half written, or
// empty.
func Complete(app *cli.App, words []string, source Source) []Candidate {
	if len(words) == 0 {
		return nil
	}
	before, word := words[:len(words)-1], words[len(words)-1]
	s := read(app, before)
	var list []Candidate
	switch name, value, attached := strings.Cut(word, "="); {
	case s.Option != "":
		list = source(s.Line)
	case attached && strings.HasPrefix(name, "-") && !s.onlyWords:
		o, ok := optionOf(s.flags, name)
		if !ok || !o.value && !o.attached {
			return nil
		}
		s.Option = o.names[0]
		for _, c := range starting(value, source(s.Line)) {
			c.Word = name + "=" + c.Word
			list = append(list, c)
		}
	case strings.HasPrefix(word, "-") && !s.onlyWords:
		list = s.options()
	case len(s.commands) > 0:
		list = names(s.commands)
	case s.Command == "help": // the library's own
		if len(s.Words) == 0 {
			list = names(app.Commands)
		}
	default:
		if list = source(s.Line); len(list) == 0 && word == "" && s.Command != "" && !s.onlyWords {
			list = s.options()
		}
	}
	return starting(word, list)
}

// starting returns those that the word is the beginning of, and that can be shown.
func starting(word string, list []Candidate) []Candidate {
	return slices.DeleteFunc(slices.Clone(list), func(c Candidate) bool {
		odd := strings.ContainsFunc(c.Word+c.Help, func(r rune) bool { return r < ' ' || r == 0x7f })
		return odd || !c.Path && !strings.HasPrefix(c.Word, word)
	})
}

// state is where the cursor is.
type state struct {
	Line
	commands  []*cli.Command // that can come next
	flags     []cli.Flag
	onlyWords bool // "--" was before
}

// read goes through the words before the cursor.
func read(app *cli.App, words []string) state {
	s := state{Line: Line{Given: map[string]string{}}, commands: app.Commands, flags: app.Flags}
	for _, word := range words {
		switch name, value, attached := strings.Cut(word, "="); {
		case s.Option != "":
			s.Given[s.Option], s.Option = word, ""
		case s.onlyWords:
			s.Words = append(s.Words, word)
		case word == "--":
			s.onlyWords = true
		case strings.HasPrefix(word, "-"):
			o, ok := optionOf(s.flags, name)
			if !ok {
				continue // wrong, which the program says when it is run
			}
			s.Given[o.names[0]] = value
			if o.value && !attached {
				s.Option = o.names[0]
			}
		default:
			s.word(word)
		}
	}
	return s
}

func (s *state) word(word string) {
	i := slices.IndexFunc(s.commands, func(c *cli.Command) bool { return c.HasName(word) })
	if i < 0 {
		s.Words, s.commands = append(s.Words, word), nil
		return
	}
	c := s.commands[i]
	s.Command = strings.TrimSpace(s.Command + " " + c.Name)
	s.commands, s.flags = c.Subcommands, c.Flags
	if c.Name == "help" {
		s.commands = nil // the library's is a command of its own
	}
}

// options are those that were not given yet.
func (s *state) options() []Candidate {
	var list []Candidate
	for _, f := range s.flags {
		o, ok := optionFrom(f)
		_, given := s.Given[f.Names()[0]]
		if visible, can := f.(cli.VisibleFlag); !ok || given || can && !visible.IsVisible() {
			continue
		}
		for _, name := range o.names {
			list = append(list, Candidate{Word: dashed(name), Help: o.help})
		}
	}
	if _, known := optionOf(s.flags, "--help"); !known {
		list = append(list, Candidate{Word: "--help", Help: "show help"})
	}
	return list
}

func names(commands []*cli.Command) []Candidate {
	var list []Candidate
	for _, c := range commands {
		if !c.Hidden {
			list = append(list, Candidate{Word: c.Name, Help: c.Usage})
		}
	}
	return list
}

// option is what completion needs to know of one.
type option struct {
	names    []string
	value    bool // takes one
	attached bool // can have one, in the same word only
	help     string
}

func optionFrom(f cli.Flag) (option, bool) {
	doc, ok := f.(cli.DocGenerationFlag)
	if !ok {
		return option{}, false
	}
	can, has := f.(interface{ AttachesValue() bool })
	return option{names: f.Names(), value: doc.TakesValue(), attached: has && can.AttachesValue(), help: strings.ReplaceAll(doc.GetUsage(), "`", "")}, true
}

// optionOf returns the option that a word is.
func optionOf(flags []cli.Flag, word string) (option, bool) {
	for _, f := range flags {
		if slices.Contains(f.Names(), strings.TrimLeft(word, "-")) {
			return optionFrom(f)
		}
	}
	return option{}, false
}

func dashed(name string) string {
	if len(name) == 1 {
		return "-" + name
	}
	return "--" + name
}
