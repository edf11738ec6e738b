package docker

import (
	"context"
	"fmt"
	"strings"
)

// PlanLater returns the steps after which Docker knows nothing of a fan from its next
// start on; until then it and its containers go on as they are. The fan's network goes
// at once unless containers have it, which a note names. None if there is nothing.
func (d *Daemon) PlanLater(ctx context.Context, bridge string) (c Change, err error) {
	l, err := d.look(ctx)
	if err != nil {
		return c, err
	}
	if n, exists := l.named(bridge); exists && ours(n) {
		if users := l.users(n); len(users) == 0 {
			c.Plan = append(c.Plan, d.stepRemove(n))
		} else {
			c.Notes = append(c.Notes, fmt.Sprintf("the Docker network %s stays, for containers have it: %s; without them, docker network rm %s removes it", bridge, strings.Join(names(users), ", "), bridge))
		}
	}
	path, _ := l.process.config()
	file, err := planRestore(path, bridge)
	if err != nil {
		return Change{}, err
	}
	c.add(file)
	if l.defaultBridge() == bridge {
		c.Notes = append(c.Notes, l.laterText(path, bridge, len(file.Plan) > 0))
	}
	return c, nil
}

// laterText says what becomes of a default bridge.
func (l look) laterText(path, bridge string, restored bool) string {
	if have, err := readFile(path); !restored && err == nil {
		return foreignText(path, bridge, bridgeIn(have) == bridge)
	}
	return fmt.Sprintf("Docker keeps the default bridge %s until it restarts", bridge)
}
