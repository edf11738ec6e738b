package docker

import (
	"context"
	"slices"
)

// Bridges returns the bridges that a fan's network of ours, or a configuration that we
// have changed, has, whether or not there are such bridges, sorted.
func (d *Daemon) Bridges(ctx context.Context) ([]string, error) {
	l, err := d.look(ctx)
	if err != nil {
		return nil, err
	}
	var list []string
	for _, n := range l.networks {
		if ours(n) {
			list = append(list, bridgeOf(n))
		}
	}
	path, _ := l.process.config()
	have, was, err := readBoth(path)
	if err != nil || !was.known {
		return list, nil // what can't be read has nothing of ours in it
	}
	if bridge := bridgeIn(have); bridge != "" {
		list = append(list, bridge)
	}
	slices.Sort(list)
	return slices.Compact(list), nil
}
