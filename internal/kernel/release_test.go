package kernel

import "testing"

func TestOuterFirst(t *testing.T) {
	for release, want := range map[string]bool{"5.10.0-32-cloud-amd64": true, "5.13.19": true, "5.14.0-362.el9": false, "6.1.0": false} {
		if got := OuterFirst(release); got != want {
			t.Errorf("OuterFirst(%q) = %t, want %t", release, got, want)
		}
	}
}

func TestOlder(t *testing.T) {
	if Older("6.1.0", 5, 10) || !Older("5.4.0", 5, 10) || Older("5.10.0", 5, 10) {
		t.Error("5.10 is compared wrong with 6.1, 5.4 or itself")
	}
	for release, want := range map[string]bool{
		"5.10.0-30-cloud-amd64": true, "5.19.0": true, "6.0.0": false, "6.0-rc1": false, "6.18.44-fc-v657": false,
		"10.1": false, "4.19.0": true, "": false, "unknown": false,
	} {
		if got := Older(release, 6, 0); got != want {
			t.Errorf("Older(%q, 6, 0) = %t, want %t", release, got, want)
		}
	}
}
