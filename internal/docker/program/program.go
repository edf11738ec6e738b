// Package program says whether this host has the program of the Docker daemon. It is
// apart from package docker because who sets up a fan asks nothing else of Docker.
package program

import (
	"os"
	"os/exec"
	"path/filepath"
)

// Installed says whether there is a dockerd to start. It looks beyond the search path,
// which is another one for a hook of ifupdown than for a person.
func Installed() bool {
	for _, dir := range append(filepath.SplitList(os.Getenv("PATH")), "/usr/bin", "/usr/sbin", "/usr/local/bin", "/usr/local/sbin", "/snap/docker/current/bin") {
		if _, err := exec.LookPath(filepath.Join(dir, "dockerd")); err == nil && filepath.IsAbs(dir) {
			return true
		}
	}
	return false
}
