package manual

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"unicode"

	"github.com/urfave/cli/v2"
)

// forms prints the lines of a usage text up to an empty line; the examples that
// come behind it are returned.
func (p *page) forms(usage string) (examples string) {
	forms, examples, _ := strings.Cut(usage, "\n\n")
	p.paragraph()
	p.line(".nf")
	for l := range strings.SplitSeq(forms, "\n") {
		p.line("%s", typed(l, escape))
	}
	p.line(".fi")
	return examples
}

// commands prints every command below one, and those below them.
func (p *page) commands(list []*cli.Command, above string) {
	for _, c := range list {
		if c.Hidden {
			continue
		}
		name := above + " " + c.Name
		p.heading(".SS", literal(name))
		examples := p.forms(cmp.Or(c.UsageText, strings.TrimSpace(name+" "+c.ArgsUsage)))
		p.paragraph()
		p.line("%s", sentence(c.Usage))
		if len(c.Aliases) > 0 {
			p.line("Also %s.", bold(strings.Join(c.Aliases, ", ")))
		}
		for part := range strings.SplitSeq(c.Description, "\n\n") {
			if part != "" {
				p.paragraph()
				p.line("%s", join(strings.Split(part, "\n")))
			}
		}
		p.options(c.VisibleFlags(), name)
		if examples != "" {
			p.paragraph()
			p.line("For example:")
			p.example(strings.Split(examples, "\n"))
		}
		p.commands(c.Subcommands, name)
	}
}

// options prints a command's options; those that another command has had in the
// same words by their names only.
func (p *page) options(flags []cli.Flag, command string) {
	if p.told == nil {
		p.told = map[string]string{}
	}
	again := map[string][]string{}
	var commands []string
	for _, f := range flags {
		o, ok := optionOf(f)
		if !ok {
			continue
		}
		if before, told := p.told[o.term()+o.text]; told {
			if !slices.Contains(commands, before) {
				commands = append(commands, before)
			}
			again[before] = append(again[before], bold("--"+f.Names()[0]))
			continue
		}
		p.told[o.term()+o.text] = command
		p.item(o.term(), o.text)
	}
	for _, before := range commands {
		p.paragraph()
		p.line("%s: as for %s.", strings.Join(again[before], ", "), bold(before))
	}
}

// optionsOf prints the options of the command that words name, without some.
func (p *page) optionsOf(words []string) error {
	path, without := words, []string(nil)
	if i := slices.Index(words, "without"); i >= 0 {
		path, without = words[:i], words[i+1:]
	}
	flags, commands := p.app.VisibleFlags(), p.app.Commands
	for _, word := range path {
		i := slices.IndexFunc(commands, func(c *cli.Command) bool { return c.HasName(word) })
		if i < 0 {
			return fmt.Errorf("@options %s: %s has no command %q", strings.Join(words, " "), p.app.Name, word)
		}
		flags, commands = commands[i].VisibleFlags(), commands[i].Subcommands
	}
	for _, name := range without {
		if !slices.ContainsFunc(flags, func(f cli.Flag) bool { return f.Names()[0] == name }) {
			return fmt.Errorf("@options %s: there is no option %q to leave out", strings.Join(words, " "), name)
		}
	}
	p.told = nil
	p.options(slices.DeleteFunc(slices.Clone(flags), func(f cli.Flag) bool { return slices.Contains(without, f.Names()[0]) }), "")
	return nil
}

// option is one as a manual shows it.
type option struct {
	names []string // short ones first
	value string   // the word that stands for it, or ""
	text  string
}

func optionOf(f cli.Flag) (option, bool) {
	doc, ok := f.(cli.DocGenerationFlag)
	if !ok {
		return option{}, false
	}
	var o option
	for _, name := range f.Names() {
		if len(name) == 1 {
			o.names = slices.Insert(o.names, 0, "-"+name)
		} else {
			o.names = append(o.names, "--"+name)
		}
	}
	usage := doc.GetUsage()
	if found := regexp.MustCompile("`(.*?)`").FindStringSubmatch(usage); found != nil {
		o.value = found[1]
	} else if doc.TakesValue() {
		o.value = "VALUE"
	}
	if value := doc.GetDefaultText(); value != "" && doc.TakesValue() {
		usage += " (default: " + strings.Trim(value, `"`) + ")"
	}
	o.text = sentence(usage)
	return o, true
}

// term is what stands before an option's text: its names, with the value.
func (o option) term() string {
	var list []string
	for _, name := range o.names {
		if o.value != "" {
			list = append(list, bold(name)+" "+italic(o.value))
		} else {
			list = append(list, bold(name))
		}
	}
	return strings.Join(list, ", ")
}

// sentence makes one of a help text, which has neither a capital nor a full stop.
func sentence(usage string) string {
	if usage == "" {
		return ""
	}
	runes := []rune(usage)
	if len(runes) < 2 || !unicode.IsUpper(runes[1]) {
		runes[0] = unicode.ToUpper(runes[0])
	}
	return inline(string(runes) + ".")
}
