package kernel

import "github.com/safchain/ethtool"

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
