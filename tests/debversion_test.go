package tests

import (
	"os/exec"
	"strings"
	"testing"
)

// TestDebianVersion: what git describe says becomes a version that Debian allows, and that
// sorts as the commits do.
func TestDebianVersion(t *testing.T) {
	const time = "20260102030405"
	for _, c := range []struct{ described, want string }{ // in the order of the versions
		{"abc1234", "0~20260102030405.abc1234"},
		{"abc1234-dirty", "0~20260102030405.abc1234+dirty"},
		{"v0.9.0-rc1", "0.9.0~rc1"},
		{"v0.9.0-rc1-2-gabc1234", "0.9.0~rc1+20260102030405.abc1234"},
		{"v0.9.0", "0.9.0"},
		{"v0.9.0-dirty", "0.9.0+dirty"},
		{"1.2.0", "1.2.0"},
		{"v1.2.0-7-gabc1234", "1.2.0+20260102030405.abc1234"},
		{"v1.2.1", "1.2.1"},
	} {
		output, err := exec.Command("../packaging/version", c.described, time).Output()
		if err != nil {
			t.Fatal(err)
		}
		if got := strings.TrimSpace(string(output)); got != c.want {
			t.Errorf("%s: %s, want %s", c.described, got, c.want)
		}
	}
}
