package kernel

import "testing"

func TestOlder(t *testing.T) {
	for release, want := range map[string]bool{
		"5.10.0-30-cloud-amd64": true, "5.19.0": true, "6.0.0": false, "6.0-rc1": false, "6.18.44-fc-v657": false,
		"10.1": false, "4.19.0": true, "": false, "unknown": false,
	} {
		if got := Older(release, 6, 0); got != want {
			t.Errorf("Older(%q, 6, 0) = %t, want %t", release, got, want)
		}
	}
}
