package completion

import (
	"embed"
	"fmt"
	"io"
	"strings"
)

// scripts are those for the shells, each for a program named PROGRAM.
//
//go:embed scripts
var scripts embed.FS

// Shells are those that Script knows.
func Shells() []string { return []string{"bash", "zsh", "fish"} }

// Script returns what makes a shell complete a program's command lines, by calling
// "PROGRAM complete -- WORD..." each time. It is the program that is found by its
// name that is called, never a file that somebody is about to run.
func Script(shell, program string) (string, error) {
	text, err := scripts.ReadFile("scripts/" + shell)
	if err != nil {
		return "", fmt.Errorf("read the script for %s: %w", shell, err)
	}
	return strings.ReplaceAll(string(text), "PROGRAM", program), nil
}

// Print writes an answer as the scripts read it: a line each, the word and what it
// means with a tab between. Where files can stand, the word is ":path".
func Print(out io.Writer, list []Candidate) error {
	var text strings.Builder
	for _, c := range list {
		switch {
		case c.Path:
			text.WriteString(":path\n")
		case c.Help == "":
			fmt.Fprintf(&text, "%s\n", c.Word)
		default:
			fmt.Fprintf(&text, "%s\t%s\n", c.Word, c.Help)
		}
	}
	_, err := io.WriteString(out, text.String())
	return err
}
