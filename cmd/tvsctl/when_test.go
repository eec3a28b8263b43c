package main

import (
	"testing"
	"time"
)

func TestParseWhen(t *testing.T) {
	zone := time.FixedZone("CET", 3600)
	now := time.Date(2026, 11, 22, 15, 30, 10, 0, zone)
	local := func(day, hour, minute, second int) time.Time {
		return time.Date(2026, 11, day, hour, minute, second, 0, zone)
	}
	for text, want := range map[string]time.Time{
		"10m":                       now.Add(-10 * time.Minute),
		"1h30m":                     now.Add(-90 * time.Minute),
		"1.5h":                      now.Add(-90 * time.Minute),
		"90":                        time.Unix(90, 0),
		"2 hours ago":               now.Add(-2 * time.Hour),
		"-5 min":                    now.Add(-5 * time.Minute),
		"2d":                        now.AddDate(0, 0, -2),
		"1w 1d":                     now.AddDate(0, 0, -8),
		"500ms":                     now.Add(-time.Second / 2),
		"now":                       now,
		"today":                     local(22, 0, 0, 0),
		"yesterday":                 local(21, 0, 0, 0),
		"15:04":                     local(22, 15, 4, 0),
		"15:04:05":                  local(22, 15, 4, 5),
		"2026-11-20":                local(20, 0, 0, 0),
		"2026-11-20 15:04":          local(20, 15, 4, 0),
		"2026-11-20 15:04:05":       local(20, 15, 4, 5),
		"2026-11-20T15:04:05":       local(20, 15, 4, 5),
		"2026-11-20T15:04:05Z":      time.Date(2026, 11, 20, 15, 4, 5, 0, time.UTC),
		"2026-11-20T15:04:05.5Z":    time.Date(2026, 11, 20, 15, 4, 5, 5e8, time.UTC),
		"2026-11-20T15:04:05+02:00": time.Date(2026, 11, 20, 13, 4, 5, 0, time.UTC),
		"@1700000000":               time.Unix(1700000000, 0),
		"1700000000.25":             time.Unix(1700000000, 25e7),
		" 10m ":                     now.Add(-10 * time.Minute),
	} {
		if got, err := parseWhen(now, text); err != nil || !got.Equal(want) {
			t.Errorf("%q is %v, not %v (%v)", text, got, want, err)
		}
	}
	for _, text := range []string{"", "x", "10 parsecs", "m", "10m x", "2026-13-01", "25:00", "-", "--5m", "99999999999999d", "1e400s", "@x", "1.2.3"} {
		if got, err := parseWhen(now, text); err == nil {
			t.Errorf("%q is %v", text, got)
		}
	}
}
