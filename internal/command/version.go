package command

import (
	"fmt"
	"runtime/debug"
	"strings"

	"github.com/urfave/cli/v2"
)

// Version is the version that a program was built as. linked is what the linker has
// set (Makefile); it is empty where "go build" or "go install" is called without it.
func Version(linked string) string {
	if linked != "" {
		return linked
	}
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" && info.Main.Version != "(devel)" {
		return strings.TrimPrefix(info.Main.Version, "v")
	}
	return "of unknown version"
}

// VersionFlag has no short form: -v is for more words.
func VersionFlag() cli.Flag {
	return &cli.BoolFlag{Name: "version", Usage: "print the version", DisableDefaultText: true}
}

// VersionCommand prints the version.
func VersionCommand(program, version string) *cli.Command {
	return &cli.Command{
		Name:         "version",
		Usage:        "print the version",
		UsageText:    program + " version",
		OnUsageError: UsageError(program),
		Action: func(c *cli.Context) error {
			if err := NoWords(c); err != nil {
				return err
			}
			return PrintVersion(c, version)
		},
	}
}

// PrintVersion prints a program's name and version.
func PrintVersion(c *cli.Context, version string) error {
	_, err := fmt.Fprintf(c.App.Writer, "%s %s\n", c.App.Name, version)
	return err
}
