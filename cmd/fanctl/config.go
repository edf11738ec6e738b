package main

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/fanctl/fanctl/fan"
	"github.com/fanctl/fanctl/ifupdown"
)

func configCommand(usage cli.OnUsageErrorFunc) *cli.Command {
	command := func(name, networks, text string, flags []cli.Flag, action cli.ActionFunc) *cli.Command {
		return &cli.Command{Name: name, Usage: text, Flags: append(flags, fileFlag(), jsonFlag()), OnUsageError: usage, Action: action,
			UsageText: "fanctl config " + name + networks + " [OPTION...]"}
	}
	const named = " -u UNDERLAY -o OVERLAY"
	list := command("list", "", "print the fans of the list in columns", nil, configList)
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
			command("show", "", "print the list as it stands, comments included", nil, configShow),
			command("set", named, "add a fan to the list, or change it there", slices.Concat(networkFlags(), fanFlags(), []cli.Flag{
				&cli.BoolFlag{Name: "disable", Usage: "keep it in the list, but down"},
				&cli.BoolFlag{Name: "enable", Usage: "bring it up with the list, the default"}}), configSet),
			command("delete", named, "take a fan off the list; one that is up stays up", networkFlags(), configDelete),
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
			printError(c.App.ErrWriter, e.Err)
			last = reportedError{e.Err}
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
	fmt.Fprintln(&text, painterOf(out).bold(fmt.Sprintf(row, "Underlay", "Overlay", "Flags")))
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
		errors = append(errors, lineErrorJSON{e.Line, oneLine(e.Err)})
	}
	return printJSON(out, map[string]any{"fans": list, "errors": errors})
}

func loadFor(c *cli.Context) (*ifupdown.File, error) {
	if err := noWords(c); err != nil {
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
		return printJSON(c.App.Writer, map[string]string{"file": c.String("file"), "text": list.String()})
	}
	_, err = io.WriteString(c.App.Writer, list.String())
	return err
}

func configSet(c *cli.Context) error {
	return changeList(c, func(list *ifupdown.File, spec fan.Spec) (bool, error) { return list.Set(spec) })
}

func configDelete(c *cli.Context) error {
	return changeList(c, func(list *ifupdown.File, spec fan.Spec) (bool, error) {
		return list.Delete(spec.Underlay, spec.Overlay), nil
	})
}

// changeList changes the list and writes it back if that made a difference.
func changeList(c *cli.Context, change func(*ifupdown.File, fan.Spec) (changed bool, err error)) error {
	spec, err := specOf(c)
	if err != nil {
		return err
	}
	file := c.String("file")
	changed, err := ifupdown.Change(file, func(list *ifupdown.File) (bool, error) { return change(list, spec) })
	if err != nil {
		return err
	}
	text := "stays as it is"
	if changed {
		text = "is written; fanctl up -a brings up what it lists"
	}
	if c.Bool("json") {
		return printJSON(c.App.Writer, map[string]any{"file": file, "changed": changed})
	}
	_, err = fmt.Fprintf(c.App.Writer, "%s %s\n", file, text)
	return err
}
