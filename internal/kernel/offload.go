package kernel

import (
	"fmt"

	"github.com/safchain/ethtool"
)

// SumsPlainly says whether a device can write the checksum of a packet from any
// byte on, whatever headers come before (NETIF_F_HW_CSUM of
// include/linux/netdev_features.h). A device that does not say so does not.
func SumsPlainly(device string) bool {
	e, err := ethtool.NewEthtool()
	if err != nil {
		return false
	}
	defer e.Close()
	on, err := e.Features(device)
	return err == nil && on["tx-checksum-ip-generic"]
}

// TunnelCuts are the features of a device that can cut up super-packets which are
// in a tunnel, as ethtool(8) calls them (net/ethtool/common.c:
// netdev_features_strings).
func TunnelCuts() []string {
	return []string{"tx-gre-segmentation", "tx-gre-csum-segmentation", "tx-ipxip4-segmentation", "tx-ipxip6-segmentation",
		"tx-udp_tnl-segmentation", "tx-udp_tnl-csum-segmentation"}
}

// CutTunnels takes those features from a device: the kernel cuts such packets
// itself then.
func CutTunnels(device string) error {
	e, err := ethtool.NewEthtool()
	if err != nil {
		return fmt.Errorf("set features of %s: %w", device, err)
	}
	defer e.Close()
	off := map[string]bool{}
	for _, name := range TunnelCuts() {
		off[name] = false
	}
	if err := e.Change(device, off); err != nil {
		return fmt.Errorf("set features of %s: %w", device, err)
	}
	return nil
}
