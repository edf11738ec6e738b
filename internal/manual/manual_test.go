package manual

import (
	"os/exec"
	"strings"
	"testing"

	"github.com/urfave/cli/v2"
)

// program has what help can have.
func program() *cli.App {
	up := &cli.Command{Name: "up", Usage: "bring it up", UsageText: "demo up -u NET [OPTION...]\n\ndemo up -u 'a'", Description: "First.\n\nSecond.",
		Flags: []cli.Flag{&cli.StringFlag{Name: "net", Aliases: []string{"u"}, Usage: "the `NET` to use"},
			&cli.IntFlag{Name: "wait", Usage: "wait", DefaultText: "not"}, &cli.BoolFlag{Name: "dry-run", Usage: "MTU only"}}}
	down := &cli.Command{Name: "down", Aliases: []string{"d"}, Usage: "take it down", Flags: []cli.Flag{up.Flags[0]}}
	hidden := &cli.Command{Name: "secret", Hidden: true}
	return &cli.App{Name: "demo", UsageText: "demo up|down", Commands: []*cli.Command{
		up, {Name: "more", Usage: "more", Subcommands: []*cli.Command{down, hidden}}}}
}

func TestRender(t *testing.T) {
	for text, want := range map[string]string{
		"# NAME\n\ndemo - it": ".SH NAME\ndemo - it\n",
		"# A\n\n## B c":       ".SH A\n.SS B c\n",
		"one\n\ntwo\nthree":   ".PP\none\n.PP\ntwo\nthree\n",
		".start\n'quote\na.b": ".PP\n\\&.start\n\\&'quote\na.b\n",
		`a\b "c" ~^ é`:        ".PP\na\\eb \\(dqc\\(dq \\(ti\\(ha \\[u00E9]\n",
		"see fan(5) or f(x)":  ".PP\nsee \\fBfan\\fR(5) or f(x)\n",
		"`up -u NET [X] $A_B`, `'`, `.`": ".PP\n\\fBup\\fR \\fB\\-u\\fR \\fINET\\fR\\fB [\\fR\\fIX\\fR\\fB] \\fR\\fB$A_B\\fR, " +
			"\\fB\\(aq\\fR, \\fB\\&.\\fR\n",
		"    a -b\n    .c\n\n    `d`":  ".PP\n.RS 4\n.EX\na \\-b\n\\&.c\n\n\\(gad\\(ga\n.EE\n.RE\n",
		"`x`\n:   one\n    two":        ".TP\n\\fBx\\fR\none\ntwo\n",
		"@synopsis":                    ".PP\n.nf\n\\fBdemo\\fR \\fBup\\fR|\\fBdown\\fR\n.fi\n",
		"@options up without net wait": ".TP\n\\fB\\-\\-dry\\-run\\fR\nMTU only.\n",
		"@options more down":           ".TP\n\\fB\\-u\\fR \\fINET\\fR, \\fB\\-\\-net\\fR \\fINET\\fR\nThe \\fINET\\fR to use.\n",
		"@commands": `.SS demo up
.nf
\fBdemo\fR \fBup\fR \fB\-u\fR \fINET\fR [\fIOPTION\fR\&...]
.fi
.PP
Bring it up.
.PP
First.
.PP
Second.
.TP
\fB\-u\fR \fINET\fR, \fB\-\-net\fR \fINET\fR
The \fINET\fR to use.
.TP
\fB\-\-wait\fR \fIVALUE\fR
Wait (default: not).
.TP
\fB\-\-dry\-run\fR
MTU only.
.PP
For example:
.PP
.RS 4
.EX
demo up \-u \(aqa\(aq
.EE
.RE
.SS demo more
.nf
\fBdemo\fR \fBmore\fR
.fi
.PP
More.
.SS demo more down
.nf
\fBdemo\fR \fBmore\fR \fBdown\fR
.fi
.PP
Take it down.
Also \fBd\fR.
.PP
\fB\-\-net\fR: as for \fBdemo up\fR.
`,
	} {
		page, err := Render(program(), "demo(8) 2026-01-02\n\n"+text)
		_, got, _ := strings.Cut(page, "\n.ad l\n")
		if err != nil || got != want {
			t.Errorf("%q gives, with %v,\n%s\nwant\n%s", text, err, got, want)
		}
		if !strings.Contains(page, "\n.TH DEMO 8 2026-01-02 \"\" \"System Manager's Manual\"\n") {
			t.Errorf("%q begins with\n%s", text, page)
		}
	}
}

func TestRenderRefuses(t *testing.T) {
	for text, word := range map[string]string{
		"":                                 `""`,
		"demo 8\n":                         `"demo 8"`,
		"demo(8) today\n":                  `"demo(8) today"`,
		"demo(8) 2026-01-02\n\n@comands":   `"@comands"`,
		"demo(8) 2026-01-02\n\n@options x": `"x"`,
		"demo(8) 2026-01-02\n\n@options up without force": `"force"`,
	} {
		if page, err := Render(program(), text); err == nil || !strings.Contains(err.Error(), word) {
			t.Errorf("%q gives %v and %q; want an error that names %s", text, err, page, word)
		}
	}
}

// Whatever a text has, the page is one that readers take without a warning, and
// they show it.
func TestReadersTakeIt(t *testing.T) {
	if _, err := exec.LookPath("mandoc"); err != nil {
		t.Fatal("needs Debian's package mandoc; make deps installs it")
	}
	const odd = `.x 'y' \z \fB "q" a-b -- ~/.x ^ é €`
	page, err := Render(program(), "demo(8) 2026-01-02\n\n# NAME\n\ndemo - it\n\n# TEXT\n\n"+odd+"\n\n# CODE\n\n    "+odd+"\n\n@synopsis\n\n@commands")
	if err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"-Tlint", "-Wwarning"}, {"-Tutf8", "-Wwarning"}} {
		cmd := exec.Command("mandoc", args...)
		cmd.Stdin = strings.NewReader(page)
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Errorf("mandoc %v: %v\n%s", args, err, out)
		}
		if args[0] == "-Tutf8" && !strings.Contains(string(out), odd+"\n") {
			t.Errorf("%s is not in\n%s", odd, out)
		}
	}
}
