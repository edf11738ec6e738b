package docker

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/tailscale/hujson"

	"github.com/fanctl/fanctl/fan"
)

// setting is one member of Docker's configuration and its value as JSON.
type setting struct{ Key, Value string }

// keys are the members that make a fan bridge Docker's default bridge, in the
// order in which we write them.
func keys() []string { return []string{"bridge", "fixed-cidr", "mtu", "ip-masq"} }

// tooLong is more than any configuration has.
const tooLong = 1 << 20

// parseConfig reads a configuration as it stands, spaces and all. Errors are
// fan.ErrUsage and do not name the file.
func parseConfig(text []byte) (value hujson.Value, object *hujson.Object, err error) {
	if len(bytes.TrimSpace(text)) == 0 {
		object = &hujson.Object{}
		return hujson.Value{Value: object}, object, nil
	}
	if bytes.HasPrefix(text, []byte("\xef\xbb\xbf")) {
		return value, nil, fan.Usagef("it begins with a byte order mark, which Docker does not take; save it as plain UTF-8")
	}
	if len(text) > tooLong {
		return value, nil, fan.Usagef("it is longer than %d bytes, so it is no configuration of Docker", tooLong)
	}
	if value, err = hujson.Parse(text); err != nil {
		return value, nil, fan.Usagef("it is not valid JSON (%s); correct it first", strings.TrimPrefix(err.Error(), "hujson: "))
	}
	if !value.IsStandard() {
		return value, nil, fan.Usagef("it has comments or a comma after the last value, which JSON does not have; take them out first")
	}
	if !json.Valid(text) {
		return value, nil, fan.Usagef("it is not valid JSON; correct it first")
	}
	object, ok := value.Value.(*hujson.Object)
	if !ok {
		return value, nil, fan.Usagef("it is not a JSON object; it should be { and }, with settings between them")
	}
	for _, key := range keys() {
		if n := len(membersOf(object, key)); n > 1 {
			return value, nil, fan.Usagef("it has %q %d times; leave one of them", key, n)
		}
	}
	return value, object, nil
}

// membersOf returns the indexes of the members of that name.
func membersOf(o *hujson.Object, key string) (list []int) {
	for i, m := range o.Members {
		if name, ok := m.Name.Value.(hujson.Literal); ok && name.String() == key {
			list = append(list, i)
		}
	}
	return list
}

// memberOf returns the member's value as JSON without spaces around it, "" if
// there is none.
func memberOf(o *hujson.Object, key string) string {
	at := membersOf(o, key)
	if len(at) == 0 {
		return ""
	}
	v := o.Members[at[0]].Value
	return string(hujson.Value{Value: v.Value}.Pack())
}

// same says whether two values mean the same, whatever their spaces.
func same(a, b string) bool {
	var x, y any
	if json.Unmarshal([]byte(a), &x) != nil || json.Unmarshal([]byte(b), &y) != nil {
		return a == b
	}
	left, errLeft := json.Marshal(x)
	right, errRight := json.Marshal(y)
	return errors.Join(errLeft, errRight) == nil && bytes.Equal(left, right)
}

// values returns those of our members that a configuration has.
func values(text []byte) ([]setting, error) {
	_, object, err := parseConfig(text)
	if err != nil {
		return nil, err
	}
	var list []setting
	for _, key := range keys() {
		if v := memberOf(object, key); v != "" {
			list = append(list, setting{key, v})
		}
	}
	return list, nil
}

// valueOf returns the value of a setting, "" if it is not among them.
func valueOf(list []setting, key string) string {
	for _, s := range list {
		if s.Key == key {
			return s.Value
		}
	}
	return ""
}

// edit returns the configuration with the settings in it. Members that it has keep
// their place and get the value; the others come last, spaced as their neighbours.
// Nothing else changes. replaced has what had another value before. A value that
// means the same stays as it is written.
func edit(text []byte, wanted []setting) (edited []byte, replaced []setting, err error) {
	value, object, err := parseConfig(text)
	if err != nil {
		return nil, nil, err
	}
	if len(bytes.TrimSpace(text)) == 0 {
		return fresh(wanted), nil, nil
	}
	for _, w := range wanted {
		at := membersOf(object, w.Key)
		if len(at) == 0 {
			appendMember(object, w)
			continue
		}
		if old := memberOf(object, w.Key); !same(old, w.Value) {
			replaced = append(replaced, setting{w.Key, old})
			object.Members[at[0]].Value.Value = hujson.Literal(w.Value)
		}
	}
	return value.Pack(), replaced, nil
}

// fresh is a configuration with nothing but the settings.
func fresh(wanted []setting) []byte {
	var lines []string
	for _, w := range wanted {
		lines = append(lines, fmt.Sprintf("  %q: %s", w.Key, w.Value))
	}
	return []byte("{\n" + strings.Join(lines, ",\n") + "\n}\n")
}

// appendMember puts a member behind the last one.
func appendMember(o *hujson.Object, w setting) {
	m := hujson.ObjectMember{
		Name:  hujson.Value{Value: hujson.String(w.Key)},
		Value: hujson.Value{BeforeExtra: hujson.Extra(" "), Value: hujson.Literal(w.Value)},
	}
	if len(o.Members) == 0 {
		if i := lastLine(o.AfterExtra); i >= 0 {
			m.Name.BeforeExtra = append(bytes.Clone(o.AfterExtra[i:]), "  "...)
		}
		o.Members = append(o.Members, m)
		return
	}
	last := o.Members[len(o.Members)-1]
	m.Name.AfterExtra = bytes.Clone(last.Name.AfterExtra)
	m.Value.BeforeExtra = bytes.Clone(last.Value.BeforeExtra)
	m.Name.BeforeExtra = bytes.Clone(last.Name.BeforeExtra)
	if i := lastLine(m.Name.BeforeExtra); i >= 0 {
		m.Name.BeforeExtra = m.Name.BeforeExtra[i:] // an empty line before one member is not for all
	} else if len(o.Members) == 1 {
		m.Name.BeforeExtra = bytes.Clone(last.Value.BeforeExtra) // after a comma as after a colon
	}
	o.Members = append(o.Members, m)
}

// lastLine returns where the last line end of white space begins, -1 if it has none.
func lastLine(space []byte) int {
	i := bytes.LastIndexByte(space, '\n')
	if i > 0 && space[i-1] == '\r' {
		return i - 1
	}
	return i
}

// unedit takes our members out of a configuration again. Those that the
// configuration before had get the values back that they had there. changed says
// that somebody has changed the configuration since, which stays changed.
func unedit(text, before []byte) (unedited []byte, changed bool, err error) {
	have, err := values(text)
	if err != nil {
		return nil, false, err
	}
	if len(have) == len(keys()) {
		if again, _, err := edit(before, have); err == nil && bytes.Equal(again, text) {
			return before, false, nil
		}
	}
	value, object, err := parseConfig(text)
	if err != nil {
		return nil, false, err
	}
	_, old, err := parseConfig(before)
	if err != nil {
		old = &hujson.Object{} // what is in the way of reading it was never Docker's
	}
	for _, key := range keys() {
		at, was := membersOf(object, key), membersOf(old, key)
		switch {
		case len(at) == 1 && len(was) == 1:
			object.Members[at[0]].Value.Value = old.Members[was[0]].Value.Value
		case len(at) == 1:
			removeMember(object, at[0])
		}
	}
	return value.Pack(), true, nil
}

// removeMember takes a member out together with its spaces.
func removeMember(o *hujson.Object, i int) {
	if i == 0 && len(o.Members) > 1 {
		o.Members[1].Name.BeforeExtra = o.Members[0].Name.BeforeExtra
	}
	o.Members = append(o.Members[:i:i], o.Members[i+1:]...)
	if n := len(o.Members); n > 0 {
		o.Members[n-1].Value.AfterExtra = nil // with it there would be one more comma
	}
}

// isEmpty says whether a configuration has no settings.
func isEmpty(text []byte) bool {
	_, object, err := parseConfig(text)
	return err == nil && len(object.Members) == 0
}

// refuse says (fan.ErrUsage) what in a configuration does not go together with a
// default bridge that is there already.
func refuse(text []byte) error {
	_, object, err := parseConfig(text)
	if err != nil {
		return err
	}
	for _, key := range []string{"bip", "default-gateway"} {
		if v := memberOf(object, key); v != "" {
			return fan.Usagef("it has %q: %s, which is for Docker's own default bridge; take it out, or give Docker the fan as a network", key, v)
		}
	}
	return nil
}
