package command

import (
	"net/netip"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/fanctl/fanctl/fan"
)

// SpecOf reads the fan that a command names, by options, by words or by both.
func SpecOf(c *cli.Context) (fan.Spec, error) {
	return fan.ParseSpec(append(optionWords(c), c.Args().Slice()...))
}

// SpecWith reads the options of a fan whose networks are known.
func SpecWith(c *cli.Context, underlay fan.UnderlaySpec, overlay netip.Prefix) (fan.Spec, error) {
	words := slices.DeleteFunc(optionWords(c), func(word string) bool {
		return strings.HasPrefix(word, "--underlay=") || strings.HasPrefix(word, "--overlay=")
	})
	return fan.ParseSpec(append(words, underlay.String(), overlay.String()))
}

// optionWords are the options of a fan that were given.
func optionWords(c *cli.Context) (words []string) {
	for _, o := range fan.Options() {
		switch {
		case !c.IsSet(o.Name):
		case o.Value:
			words = append(words, "--"+o.Name+"="+c.String(o.Name))
		case c.Bool(o.Name):
			words = append(words, "--"+o.Name)
		}
	}
	return words
}

// wordsLast finds the command in the arguments and moves its options before its
// words.
func wordsLast(args []string, commands []*cli.Command) []string {
	for i := 1; i < len(args); i++ {
		at := slices.IndexFunc(commands, func(c *cli.Command) bool { return c.HasName(args[i]) })
		if at < 0 {
			return args
		}
		if commands[at].Subcommands == nil {
			return slices.Concat(args[:i+1], optionsFirst(args[i+1:], commands[at]))
		}
		commands = commands[at].Subcommands
	}
	return args
}

// optionsFirst moves a command's options before its words: the library takes
// everything behind the first word for words. What stands behind "--" is words.
func optionsFirst(args []string, command *cli.Command) []string {
	var options, words []string
	for len(args) > 0 {
		arg := args[0]
		args = args[1:]
		switch {
		case arg == "--":
			words, args = append(words, args...), nil
		case !strings.HasPrefix(arg, "-"):
			words = append(words, arg)
		case takesNext(arg, command) && len(args) == 0:
			return append(options, arg) // the library says that its value is missing
		case takesNext(arg, command):
			options, args = append(options, arg, args[0]), args[1:]
		default:
			options = append(options, arg)
		}
	}
	if len(words) == 0 {
		return options
	}
	return append(append(options, "--"), words...)
}

// takesNext says whether an option's value is the next argument.
func takesNext(arg string, command *cli.Command) bool {
	name, _, attached := strings.Cut(strings.TrimLeft(arg, "-"), "=")
	if attached {
		return false
	}
	return slices.ContainsFunc(command.Flags, func(f cli.Flag) bool {
		option, ok := f.(cli.DocGenerationFlag)
		return ok && option.TakesValue() && slices.Contains(f.Names(), name)
	})
}
