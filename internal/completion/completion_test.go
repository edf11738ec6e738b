package completion

import (
	"strings"
	"testing"

	"github.com/urfave/cli/v2"
)

// attached is an option whose value may be left out.
type attached struct{ cli.BoolFlag }

func (*attached) AttachesValue() bool { return true }

func program() *cli.App {
	flags := []cli.Flag{&cli.StringFlag{Name: "net", Aliases: []string{"n"}, Usage: "the `NET`"}, &cli.BoolFlag{Name: "dry"}, &cli.StringFlag{Name: "file"}, &attached{cli.BoolFlag{Name: "when"}},
		&cli.BoolFlag{Name: "old", Hidden: true}}
	return &cli.App{Name: "demo", Commands: []*cli.Command{
		{Name: "up", Usage: "bring up", Flags: flags},
		{Name: "more", Aliases: []string{"m"}, Subcommands: []*cli.Command{{Name: "less", Flags: flags[:1]}, {Name: "odd"}}},
		{Name: "secret", Hidden: true},
	}}
}

// source offers what it was told, so that a test sees it.
func source(l Line) []Candidate {
	if l.Option == "file" {
		return []Candidate{{Path: true}}
	}
	if l.Option == "" && l.Command == "more odd" {
		return nil
	}
	return []Candidate{{Word: "a:" + l.Command + ":" + l.Option + ":" + strings.Join(l.Words, ",")}, {Word: "b" + l.Given["net"]}, {Word: "b\x1b"}, {Word: "b", Help: "c\td"}}
}

func TestComplete(t *testing.T) {
	for line, want := range map[string]string{
		"":                     "up more help",
		"u":                    "up",
		"x":                    "",
		"x|":                   "a:::x b",
		"se":                   "",
		"-":                    "--help -h",
		"up|-":                 "--net -n --dry --file --when --help",
		"up|--":                "--net --dry --file --when --help",
		"up|--d":               "--dry",
		"up|--dry|--d":         "",
		"up|-n|1|--":           "--dry --file --when --help",
		"up|-n|":               "a:up:net: b",
		"up|--net|b":           "b",
		"up|--net=":            "--net=a:up:net: --net=b",
		"up|-net=b":            "-net=b",
		"up|--net=x":           "",
		"up|--dry=":            "",
		"up|--unknown=":        "",
		"up|--when=":           "--when=a:up:when: --when=b",
		"up|--when=b":          "--when=b",
		"up|--when|":           "a:up:: b", // the next word is no value
		"up|--when=b|--w":      "",
		"up|--unknown|w|":      "a:up::w b",
		"up|":                  "a:up:: b",
		"up|w|--net=1|b":       "b1",
		"up|w|--dry|":          "a:up::w b",
		"up|--|--":             "",
		"up|--|--net|":         "a:up::--net b",
		"up|--file|":           "PATH",
		"up|--file|x":          "PATH",
		"up|--file=x":          "--file=PATH",
		"up|up|":               "a:up::up b",
		"more|":                "less odd",
		"m|l":                  "less",
		"m|less|":              "a:more less:: b",
		"more|odd|":            "--help",
		"more|odd|x":           "",
		"more|odd|--|":         "",
		"help|":                "up more help",
		"help|m":               "more",
		"help|more|":           "",
		"more|less|--file|-":   "--net -n --help",
		"up|--net|--file|--ne": "",
	} {
		app := program()
		app.Setup() // as when it runs, with the library's command for help
		var got []string
		for _, c := range Complete(app, strings.Split(line, "|"), source) {
			word := c.Word
			if c.Path {
				word += "PATH"
			}
			got = append(got, word)
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%q is completed by %q, want %q", line, got, want)
		}
	}
	if got := Complete(program(), nil, source); got != nil {
		t.Errorf("no word is completed by %v", got)
	}
}

func TestPrint(t *testing.T) {
	var text strings.Builder
	if err := Print(&text, []Candidate{{Word: "a", Help: "b c"}, {Word: "d"}, {Word: "--x=", Path: true}}); err != nil || text.String() != "a\tb c\nd\n:path\n" {
		t.Errorf("printed is %q, %v", text.String(), err)
	}
}

func TestScript(t *testing.T) {
	for _, shell := range Shells() {
		text, err := Script(shell, "demo")
		if err != nil || !strings.Contains(text, "demo complete -- ") || strings.Contains(text, "PROGRAM") {
			t.Errorf("%s: %v\n%s", shell, err, text)
		}
	}
	if _, err := Script("tcsh", "demo"); err == nil || !strings.Contains(err.Error(), "tcsh") {
		t.Errorf("tcsh: %v", err)
	}
}
