//go:build vm

package vm

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// toolPackages are where tools() come from.
func toolPackages() []string {
	return []string{"dash", "util-linux", "iproute2", "nftables", "iptables", "iputils-ping", "iperf3", "busybox-static"}
}

// withTools returns the platform with its tools: those of the suite that the kernel
// comes from, with all that they depend on. They are unpacked only: nothing of theirs
// can run here.
func (p platform) withTools(ctx context.Context, cache string, from source) (platform, error) {
	plan, err := run(ctx, "", slices.Concat([]string{"apt-get"}, from.apt, []string{"-s", "install", "--no-install-recommends"}, toolPackages())...)
	if err != nil {
		return p, fmt.Errorf("find the tools for %s: %w", p.arch, err)
	}
	var packages []string
	for _, found := range regexp.MustCompile(`(?m)^Inst (\S+) \((\S+) `).FindAllStringSubmatch(plan, -1) {
		packages = append(packages, found[1]+"="+found[2])
	}
	if len(packages) == 0 {
		return p, fmt.Errorf("find the tools for %s: apt would install nothing: %s", p.arch, plan)
	}
	slices.Sort(packages)
	sum := sha256.Sum256([]byte(strings.Join(packages, " ")))
	p.root = filepath.Join(cache, "tools-"+p.arch+"-"+hex.EncodeToString(sum[:6]))
	if _, err := os.Stat(p.root); !errors.Is(err, fs.ErrNotExist) {
		return p, err
	}
	return p, source{apt: from.apt, packages: packages}.unpackTo(ctx, cache, p.root, finishTools)
}

// finishTools makes the links that packages make when they are set up.
func finishTools(_ context.Context, root string) error {
	for name, target := range map[string]string{
		"bin/sh": "dash", "sbin/iptables": "iptables-nft", "sbin/iptables-save": "iptables-nft-save", "sbin/iptables-restore": "iptables-nft-restore",
	} {
		if err := os.Symlink(target, filepath.Join(root, "usr", name)); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
	}
	return nil
}
