// Package manual writes manual pages, man(7), from a text and the help of a
// program, so that the two never differ.
//
// The text's first line is the page's name, section and date, "fanctl(8)
// 2026-11-24". Then come blocks with empty lines between them:
//
//	# SECTION             ## Part of a section
//
//	A paragraph. `Quoted` is what is typed, and words in capitals in it, as in
//	`-u UNDERLAY`, stand for something else. Other pages are found: fan(5).
//
//	`term`
//	:   What it is; such blocks make a list.
//
//	    Lines indented by four stand as they are.
//
//	@synopsis             the forms of the program
//	@commands             every command: its forms, text, options and examples
//	@options up           the options of a command ...
//	@options up without file wait
package manual

import (
	"fmt"
	"regexp"
	"strings"

	"github.com/urfave/cli/v2"
)

// Render returns the page of a text, with what it takes from a program's help.
func Render(app *cli.App, text string) (string, error) {
	title, body, _ := strings.Cut(text, "\n")
	head := regexp.MustCompile(`^([a-z0-9-]+)\((\d)\) (\d{4}-\d\d-\d\d)$`).FindStringSubmatch(title)
	if head == nil {
		return "", fmt.Errorf("first line %q of a manual is not like fanctl(8) 2026-11-24", title)
	}
	p := page{app: app}
	p.line(`.\" Made from the .text beside this and the help of %s; see the package manual.`, app.Name)
	p.line(`.TH %s %s %s "" "%s"`, strings.ToUpper(head[1]), head[2], head[3], volume(head[2]))
	p.line(".ad l") // commands and addresses read badly when they are stretched
	for _, block := range blocks(body) {
		if err := p.block(block); err != nil {
			return "", fmt.Errorf("manual %s(%s): %w", head[1], head[2], err)
		}
	}
	return p.out.String(), nil
}

// volume is what readers print above pages of a section.
func volume(section string) string {
	switch section {
	case "5":
		return "File Formats Manual"
	case "8":
		return "System Manager's Manual"
	}
	return "General Commands Manual"
}

// blocks cuts a text at its empty lines. Indented blocks in a row are one.
func blocks(text string) [][]string {
	var list [][]string
	for part := range strings.SplitSeq(text, "\n\n") {
		lines := strings.Split(strings.Trim(part, "\n"), "\n")
		last := len(list) - 1
		switch {
		case len(lines) == 1 && lines[0] == "":
		case last >= 0 && indented(lines) && indented(list[last]):
			list[last] = append(append(list[last], ""), lines...)
		default:
			list = append(list, lines)
		}
	}
	return list
}

const indent = "    "

func indented(lines []string) bool { return strings.HasPrefix(lines[0], indent) }

// page is a page that is being written.
type page struct {
	app  *cli.App
	out  strings.Builder
	told map[string]string // options that were told, and of which command
	// headed says that a heading is the last thing; it is one paragraph with what follows.
	headed bool
}

func (p *page) line(format string, a ...any) { fmt.Fprintf(&p.out, format+"\n", a...) }

func (p *page) block(lines []string) error {
	first := lines[0]
	directive, words, _ := strings.Cut(first, " ")
	switch {
	case directive == "#" || directive == "##":
		p.heading(map[string]string{"#": ".SH", "##": ".SS"}[directive], escape(words))
	case directive == "@synopsis":
		p.forms(p.app.UsageText)
	case directive == "@commands":
		p.commands(p.app.Commands, p.app.Name)
	case directive == "@options":
		return p.optionsOf(strings.Fields(words))
	case strings.HasPrefix(first, "@"):
		return fmt.Errorf("%q is unknown; use @synopsis, @commands or @options COMMAND", first)
	case indented(lines):
		p.example(lines)
	case len(lines) > 1 && strings.HasPrefix(lines[1], ":"):
		lines[1] = lines[1][1:]
		p.item(inline(first), join(lines[1:]))
	default:
		p.paragraph()
		p.line("%s", join(lines))
	}
	return nil
}

func (p *page) heading(macro, text string) {
	p.line("%s %s", macro, text)
	p.headed = true
}

// paragraph begins one.
func (p *page) paragraph() {
	if !p.headed {
		p.line(".PP")
	}
	p.headed = false
}

func (p *page) item(term, text string) {
	p.line(".TP\n%s\n%s", term, text)
	p.headed = false
}

func (p *page) example(lines []string) {
	p.paragraph()
	p.line(".RS 4\n.EX")
	for _, l := range lines {
		p.line("%s", literal(strings.TrimPrefix(l, indent)))
	}
	p.line(".EE\n.RE")
}

// join makes running text of lines.
func join(lines []string) string {
	var trimmed []string
	for _, l := range lines {
		trimmed = append(trimmed, strings.TrimSpace(l))
	}
	return inline(strings.Join(trimmed, "\n"))
}
