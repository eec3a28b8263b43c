package daemon

import "testing"

func TestTakeable(t *testing.T) {
	for _, c := range []struct {
		first, last     int
		given, reserved string
		want            bool
	}{
		{35000, 35015, "32768\t60999\n", "\n", true},
		{35000, 35015, "32768\t60999\n", "35000-35015\n", false},
		{35000, 35015, "32768\t60999\n", "34000,35000-35007,35008-35015\n", false},
		{35000, 35015, "32768\t60999\n", "35000-35014\n", true},
		{35000, 35000, "32768\t60999\n", "35000\n", false},
		{32760, 32767, "32768\t60999\n", "\n", false},
		{32760, 32768, "32768\t60999\n", "\n", true},
		{60999, 61010, "32768\t60999\n", "60999\n", false},
		{35000, 35015, "", "", false},
	} {
		if got := takeable(c.first, c.last, c.given, c.reserved); got != c.want {
			t.Errorf("takeable(%d, %d, %q, %q) = %v", c.first, c.last, c.given, c.reserved, got)
		}
	}
}
