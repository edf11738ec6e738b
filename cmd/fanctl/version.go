package main

import (
	"fmt"
	"runtime/debug"
	"strings"

	"github.com/urfave/cli/v2"
)

// version is what the linker sets (Makefile); it stays empty where "go build" or
// "go install" is called without it.
var version string

// versionText is the version that this program was built as.
func versionText() string {
	if version != "" {
		return version
	}
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" && info.Main.Version != "(devel)" {
		return strings.TrimPrefix(info.Main.Version, "v")
	}
	return "of unknown version"
}

// versionFlag has no short form: -v is for more words.
func versionFlag() cli.Flag {
	return &cli.BoolFlag{Name: "version", Usage: "print the version", DisableDefaultText: true}
}

func versionCommand(usage cli.OnUsageErrorFunc) *cli.Command {
	return &cli.Command{
		Name:         "version",
		Usage:        "print the version",
		UsageText:    "fanctl version",
		OnUsageError: usage,
		Action: func(c *cli.Context) error {
			if err := noWords(c); err != nil {
				return err
			}
			return printVersion(c)
		},
	}
}

func printVersion(c *cli.Context) error {
	_, err := fmt.Fprintf(c.App.Writer, "%s %s\n", c.App.Name, versionText())
	return err
}
