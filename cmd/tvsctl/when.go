package main

import (
	"fmt"
	"math"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// spanPart is one part of a time span as docker or systemd write it: 90s, 2h30m, 10 min.
var spanPart = regexp.MustCompile(`^\s*([0-9]+(?:\.[0-9]+)?)\s*([a-zµ]+)`)

var spanUnits = map[string]time.Duration{
	"us": time.Microsecond, "µs": time.Microsecond, "ms": time.Millisecond, "msec": time.Millisecond,
	"s": time.Second, "sec": time.Second, "second": time.Second, "seconds": time.Second,
	"m": time.Minute, "min": time.Minute, "minute": time.Minute, "minutes": time.Minute,
	"h": time.Hour, "hr": time.Hour, "hour": time.Hour, "hours": time.Hour,
	"d": 24 * time.Hour, "day": 24 * time.Hour, "days": 24 * time.Hour,
	"w": 7 * 24 * time.Hour, "week": 7 * 24 * time.Hour, "weeks": 7 * 24 * time.Hour,
}

// clockLayouts are the times that docker logs or journalctl take; without a zone they are
// local.
var clockLayouts = []string{time.RFC3339Nano, "2006-01-02T15:04:05", "2006-01-02T15:04", "2006-01-02 15:04:05", "2006-01-02 15:04", "2006-01-02"}

// parseWhen reads a point in time as docker logs and journalctl take it: how long ago
// (10m, "2 hours ago"), a time, a time of today, today, yesterday, now, or seconds since 1970.
func parseWhen(now time.Time, text string) (time.Time, error) {
	text = strings.TrimSpace(text)
	midnight := time.Date(now.Year(), now.Month(), now.Day(), 0, 0, 0, 0, now.Location())
	switch text {
	case "now":
		return now, nil
	case "today":
		return midnight, nil
	case "yesterday":
		return midnight.AddDate(0, 0, -1), nil
	}
	for _, layout := range clockLayouts {
		if t, err := time.ParseInLocation(layout, text, now.Location()); err == nil {
			return t, nil
		}
	}
	for _, layout := range []string{"15:04:05", "15:04"} {
		if t, err := time.Parse(layout, text); err == nil {
			return time.Date(now.Year(), now.Month(), now.Day(), t.Hour(), t.Minute(), t.Second(), t.Nanosecond(), now.Location()), nil
		}
	}
	if t, ok := parseEpoch(strings.TrimPrefix(text, "@")); ok {
		return t, nil
	}
	if ago, ok := parseSpan(strings.TrimSuffix(strings.TrimPrefix(text, "-"), " ago")); ok {
		return now.Add(-ago), nil
	}
	return time.Time{}, fmt.Errorf("%q is no time: use 10m, 2026-01-02T15:04:05Z or \"2026-01-02 15:04\"", text)
}

// parseEpoch reads seconds since 1970, as docker takes them.
func parseEpoch(text string) (time.Time, bool) {
	whole, part, _ := strings.Cut(text, ".")
	seconds, err := strconv.ParseUint(whole, 10, 33)
	if err != nil || len(part) > 9 {
		return time.Time{}, false
	}
	nano, err := strconv.ParseUint((part + "000000000")[:9], 10, 32)
	return time.Unix(int64(seconds), int64(nano)), err == nil
}

func parseSpan(text string) (time.Duration, bool) {
	total := 0.0
	rest := text
	for {
		part := spanPart.FindStringSubmatch(rest)
		if part == nil {
			break
		}
		n, err := strconv.ParseFloat(part[1], 64)
		unit, known := spanUnits[part[2]]
		if err != nil || !known {
			return 0, false
		}
		total += n * float64(unit)
		rest = rest[len(part[0]):]
	}
	if strings.TrimSpace(rest) != "" || rest == text || total > math.MaxInt64/2 {
		return 0, false
	}
	return time.Duration(total), true
}
