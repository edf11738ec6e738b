package kernel

import (
	"bufio"
	"os"
	"path"
	"path/filepath"
	"strings"
)

// HasIPIP says whether the kernel has the ipip device: it is there already, or
// there is a module that the first use will load.
func HasIPIP() bool { return hasModule("ipip") }

// HasVXLAN says the same of the vxlan device.
func HasVXLAN() bool { return hasModule("vxlan") }

func hasModule(name string) bool { return Loaded(name) || Listed(name) }

// Loaded says whether a module is in the kernel. One that is built in and has no
// parameters does not show.
func Loaded(name string) bool {
	_, err := os.Stat("/sys/module/" + name)
	return err == nil
}

// Listed says whether depmod's list (modules.dep, depmod(8)) or the list
// of what is built in has the module.
func Listed(name string) bool {
	folder := filepath.Join("/lib/modules", Release())
	return listHas(filepath.Join(folder, "modules.dep"), name) || listHas(filepath.Join(folder, "modules.builtin"), name)
}

func listHas(file, name string) bool {
	f, err := os.Open(file)
	if err != nil {
		return false
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		module, _, _ := strings.Cut(lines.Text(), ":")
		if base, _, _ := strings.Cut(path.Base(module), "."); base == name {
			return true
		}
	}
	return false
}
