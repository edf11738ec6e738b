package command

import "github.com/urfave/cli/v2"

// attachedFlag is an option whose value may be left out. So one is only ever in the
// same word, --name=value, and the word behind it is another.
type attachedFlag struct{ cli.GenericFlag }

// newAttachedFlag returns an option that means bare where it has no value.
func newAttachedFlag(name, usage, bare string) *attachedFlag {
	return &attachedFlag{cli.GenericFlag{Name: name, Usage: usage, Value: &attachedValue{bare: bare}}}
}

// TakesValue keeps the library, and what else asks, from taking the next word.
func (f *attachedFlag) TakesValue() bool { return false }

// AttachesValue tells completion that there can be a value all the same.
func (f *attachedFlag) AttachesValue() bool { return true }

// String is the option as help shows it.
func (f *attachedFlag) String() string { return cli.FlagStringer(f) }

// attachedValue is the value of an attachedFlag. Whether it is right is for its
// parser to say, which is fan's.
type attachedValue struct{ bare, text string }

// Set takes the value, and "true" for none: that is what the library says of a
// switch.
func (v *attachedValue) Set(s string) error {
	if v.text = s; s == "true" {
		v.text = v.bare
	}
	return nil
}

// String is the value.
func (v *attachedValue) String() string { return v.text }

// IsBoolFlag has the library take the option for a switch, which needs no value.
func (v *attachedValue) IsBoolFlag() bool { return true }
