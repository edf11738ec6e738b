package kernel

import (
	"os"
	"path/filepath"
	"testing"
)

// modules is what depmod(8) writes: modules.dep, then modules.builtin.
const modules = `kernel/net/ipv4/tunnel4.ko:
kernel/net/ipv4/ipip.ko.xz: kernel/net/ipv4/tunnel4.ko kernel/net/ipv4/ip_tunnel.ko
kernel/drivers/net/vxlan/vxlan.ko.zst: kernel/net/ipv4/udp_tunnel.ko
kernel/net/bridge/bridge.ko
`

func TestListHas(t *testing.T) {
	file := filepath.Join(t.TempDir(), "modules.dep")
	if err := os.WriteFile(file, []byte(modules), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]bool{
		"ipip": true, "vxlan": true, "tunnel4": true, "bridge": true,
		"ip_tunnel": false, // only as what another needs
		"ip":        false, "ipip.ko": false, "net": false, "": false,
	} {
		if got := listHas(file, name); got != want {
			t.Errorf("module %q: %t, want %t", name, got, want)
		}
	}
	if listHas(filepath.Join(t.TempDir(), "none"), "ipip") {
		t.Error("no list has ipip")
	}
}

// What this kernel has loaded it has.
func TestHasModuleThatIsLoaded(t *testing.T) {
	folders, _ := filepath.Glob("/sys/module/*/parameters")
	if len(folders) == 0 {
		t.Skip("this kernel shows no modules")
	}
	if name := filepath.Base(filepath.Dir(folders[0])); !hasModule(name) {
		t.Errorf("the kernel does not have %s", name)
	}
	if hasModule("no_such_module") {
		t.Error("the kernel has a module that there is not")
	}
}
