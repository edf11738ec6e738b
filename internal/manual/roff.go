package manual

import (
	"fmt"
	"regexp"
	"strings"
)

// escape makes roff print a text as it is. Lines must not begin with what roff
// takes for a request.
func escape(text string) string {
	var out strings.Builder
	for i, r := range text {
		lineStart := i == 0 || text[i-1] == '\n'
		switch {
		case r == '\\':
			out.WriteString(`\e`)
		case r == '"':
			out.WriteString(`\(dq`)
		case r == '^':
			out.WriteString(`\(ha`)
		case r == '~':
			out.WriteString(`\(ti`)
		case r == '`':
			out.WriteString(`\(ga`)
		case lineStart && (r == '.' || r == '\''):
			out.WriteString(`\&` + string(r))
		case r > '~':
			fmt.Fprintf(&out, `\[u%04X]`, r)
		default:
			out.WriteRune(r)
		}
	}
	return out.String()
}

// literal is escape for what is typed: dashes and quotes must be those of ASCII,
// or what is copied from the page does not run.
func literal(text string) string {
	return strings.NewReplacer(`-`, `\-`, `\&'`, `\(aq`, `'`, `\(aq`).Replace(escape(text))
}

func bold(text string) string   { return `\fB` + literal(text) + `\fR` }
func italic(text string) string { return `\fI` + literal(text) + `\fR` }

// typed is a form or a part of one: words in capitals stand for something else.
// What is between the words is the form's, or is typed, too.
func typed(text string, between func(string) string) string {
	word := regexp.MustCompile(`[$/-]*\w+(?:[./:-]+\w+)*`)
	var out strings.Builder
	end := 0
	for _, at := range word.FindAllStringIndex(text, -1) {
		out.WriteString(spaced(text[end:at[0]], between))
		if w := text[at[0]:at[1]]; strings.Trim(w, "ABCDEFGHIJKLMNOPQRSTUVWXYZ") == "" {
			out.WriteString(italic(w))
		} else {
			out.WriteString(bold(w))
		}
		end = at[1]
	}
	return out.String() + spaced(text[end:], between)
}

// spaced leaves spaces alone, for a change of font between two spaces is noise.
func spaced(text string, between func(string) string) string {
	if strings.TrimSpace(text) == "" {
		return text
	}
	return between(text)
}

// inline is running text: `quoted` is typed, and page(5) is a reference.
func inline(text string) string {
	reference := regexp.MustCompile(`\b([a-z][a-z0-9.-]*)\((\d)\)`)
	var out strings.Builder
	for i, part := range strings.Split(text, "`") {
		if i%2 == 1 {
			out.WriteString(typed(part, bold))
			continue
		}
		end := 0
		for _, at := range reference.FindAllStringSubmatchIndex(part, -1) {
			out.WriteString(escape(part[end:at[0]]) + bold(part[at[2]:at[3]]) + escape(part[at[3]:at[1]]))
			end = at[1]
		}
		out.WriteString(escape(part[end:]))
	}
	return out.String()
}
