package main

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/fanctl/fanctl/fan"
	"github.com/fanctl/fanctl/ifupdown"
	"github.com/fanctl/fanctl/internal/command"
)

func configCommand(usage cli.OnUsageErrorFunc) *cli.Command {
	sub := func(name, networks, text string, flags []cli.Flag, action cli.ActionFunc) *cli.Command {
		return &cli.Command{Name: name, Usage: text, Flags: append(flags, command.FileFlag(), command.JSONFlag()), OnUsageError: usage, Action: action,
			UsageText: "fanctl config " + name + networks + " [OPTION...]"}
	}
	const named = " -u UNDERLAY -o OVERLAY"
	list := sub("list", "", "print the fans of the list in columns", nil, configList)
	list.Aliases = []string{"ls"}
	return &cli.Command{
		Name:  "config",
		Usage: "read and change the list of fans that up -a brings up",
		UsageText: "fanctl config list\nfanctl config show\nfanctl config set -u UNDERLAY -o OVERLAY [OPTION...]\n" +
			"fanctl config delete -u UNDERLAY -o OVERLAY",
		Description:  "The list is /etc/network/fan; see fan(5). set and delete leave other lines and all comments as they are.",
		OnUsageError: usage,
		Subcommands: []*cli.Command{
			list,
			sub("show", "", "print the list as it stands, comments included", nil, configShow),
			sub("set", named, "add a fan to the list, or change it there", slices.Concat(command.NetworkFlags(), command.FanFlags(), []cli.Flag{
				&cli.BoolFlag{Name: "disable", Usage: "keep it in the list, but down"},
				&cli.BoolFlag{Name: "enable", Usage: "bring it up with the list, the default"}}), configSet),
			sub("delete", named, "take a fan off the list; one that is up stays up", command.NetworkFlags(), configDelete),
		},
		Action: func(c *cli.Context) error {
			if c.Args().Present() {
				return fan.Usagef("config %q is unknown; use list, show, set or delete", c.Args().First())
			}
			return cli.ShowSubcommandHelp(c)
		},
	}
}

// configList prints the list in the columns of show. Wrong lines go to the errors.
func configList(c *cli.Context) error {
	list, err := loadFor(c)
	if err != nil {
		return err
	}
	var last error
	var fans, wrong []ifupdown.Entry
	for _, e := range list.Entries() {
		if e.Err != nil {
			command.PrintError(c.App, e.Err)
			last = command.ReportedError{Err: e.Err}
			wrong = append(wrong, e)
			continue
		}
		fans = append(fans, e)
	}
	if c.Bool("json") {
		err = listJSON(c.App.Writer, fans, wrong)
	} else {
		err = listTable(c.App.Writer, fans)
	}
	if err != nil {
		return err
	}
	return last
}

func listTable(out io.Writer, fans []ifupdown.Entry) error {
	const row = "%-20s %-20s %s"
	var text strings.Builder
	fmt.Fprintln(&text, command.PainterOf(out).Bold(fmt.Sprintf(row, "Underlay", "Overlay", "Flags")))
	for _, e := range fans {
		words := e.Spec.Words()
		fmt.Fprintln(&text, strings.TrimRight(fmt.Sprintf(row, words[0], words[1], strings.Join(words[2:], " ")), " "))
	}
	_, err := io.WriteString(out, text.String())
	return err
}

// entryJSON is a line of the list as config list --json prints it; its fields are a
// promise to scripts.
type entryJSON struct {
	Line     int      `json:"line"`
	Underlay string   `json:"underlay"`
	Overlay  string   `json:"overlay"`
	Options  []string `json:"options"`
	Enabled  bool     `json:"enabled"`
}

// lineErrorJSON is a wrong line there.
type lineErrorJSON struct {
	Line  int    `json:"line"`
	Error string `json:"error"`
}

func listJSON(out io.Writer, fans, wrong []ifupdown.Entry) error {
	list, errors := []entryJSON{}, []lineErrorJSON{}
	for _, e := range fans {
		words := e.Spec.Words()
		list = append(list, entryJSON{e.Line, e.Spec.Underlay.String(), words[1], words[2:], !e.Spec.Off})
	}
	for _, e := range wrong {
		errors = append(errors, lineErrorJSON{e.Line, command.OneLine(e.Err)})
	}
	return command.PrintJSON(out, map[string]any{"fans": list, "errors": errors})
}

func loadFor(c *cli.Context) (*ifupdown.File, error) {
	if err := command.NoWords(c); err != nil {
		return nil, err
	}
	return ifupdown.Load(c.String("file"))
}

func configShow(c *cli.Context) error {
	list, err := loadFor(c)
	if err != nil {
		return err
	}
	if c.Bool("json") {
		return command.PrintJSON(c.App.Writer, map[string]string{"file": c.String("file"), "text": list.String()})
	}
	_, err = io.WriteString(c.App.Writer, list.String())
	return err
}

func configSet(c *cli.Context) error {
	return changeList(c, func(list *ifupdown.File, spec fan.Spec) (edit, error) {
		before := list.Entries()
		changed, err := list.Set(spec)
		return edit{changed: changed, replaced: replaced(before, list.Entries())}, err
	})
}

// replaced says what stood in the line that a fan was written into, "" if that is new.
func replaced(before, after []ifupdown.Entry) string {
	for i, e := range before {
		if i < len(after) && after[i].Text != e.Text {
			return fmt.Sprintf("line %d was: %s", e.Line, e.Text)
		}
	}
	return ""
}

func configDelete(c *cli.Context) error {
	return changeList(c, func(list *ifupdown.File, spec fan.Spec) (edit, error) {
		if list.Delete(spec.Underlay, spec.Overlay) {
			return edit{changed: true}, nil
		}
		return edit{missing: missing(list.Entries(), spec)}, nil
	})
}

// missing says that no line has the networks, and which lines have their overlay.
func missing(entries []ifupdown.Entry, spec fan.Spec) string {
	text := fmt.Sprintf("no line has %s %s", spec.Underlay, spec.Overlay)
	for _, e := range entries {
		if e.Spec.Overlay == spec.Overlay {
			text += fmt.Sprintf("; line %d has %s %s", e.Line, e.Spec.Underlay, e.Spec.Overlay)
		}
	}
	return text
}

// edit is what a change has done to the list.
type edit struct {
	changed  bool
	replaced string // what was there before, if anything
	missing  string // why nothing is changed, where somebody may wonder
}

// changeList changes the list and writes it back if that made a difference.
func changeList(c *cli.Context, change func(*ifupdown.File, fan.Spec) (edit, error)) error {
	spec, err := command.SpecOf(c)
	if err != nil {
		return err
	}
	file := c.String("file")
	var done edit
	changed, err := ifupdown.Change(file, func(list *ifupdown.File) (_ bool, err error) {
		done, err = change(list, spec)
		return done.changed, err
	})
	if err != nil {
		return err
	}
	if c.Bool("json") {
		return command.PrintJSON(c.App.Writer, map[string]any{"file": file, "changed": changed})
	}
	_, err = io.WriteString(c.App.Writer, done.text(c))
	return err
}

func (e edit) text(c *cli.Context) string {
	file := c.String("file")
	if !e.changed {
		if e.missing != "" {
			return fmt.Sprintf("%s stays as it is: %s\n", file, e.missing)
		}
		return file + " stays as it is\n"
	}
	text := fmt.Sprintf("%s is written; %s brings up what it lists\n", file, onList(c, "fanctl up -a"))
	if e.replaced != "" {
		text += e.replaced + "\n"
	}
	return text
}

// onList returns a command to run next, for the list of this one.
func onList(c *cli.Context, command string) string {
	if c.IsSet("file") {
		return command + " --file " + c.String("file")
	}
	return command
}
