package main

import (
	"fmt"
	"io"
	"os"
	"regexp"
	"strings"
	"time"
	"unicode/utf8"

	"golang.org/x/sys/unix"
)

// age says how long ago t was, in the words of docker ps.
func age(now, t time.Time) string {
	if t.IsZero() {
		return ""
	}
	d := max(now.Sub(t), 0)
	hours := int(d.Hours() + 0.5)
	switch {
	case d < time.Second:
		return "Less than a second"
	case d < 2*time.Second:
		return "1 second"
	case d < time.Minute:
		return fmt.Sprintf("%d seconds", int(d.Seconds()))
	case d < 2*time.Minute:
		return "About a minute"
	case d < time.Hour:
		return fmt.Sprintf("%d minutes", int(d.Minutes()))
	case hours == 1:
		return "About an hour"
	case hours < 48:
		return fmt.Sprintf("%d hours", hours)
	case hours < 24*7*2:
		return fmt.Sprintf("%d days", hours/24)
	case hours < 24*30*2:
		return fmt.Sprintf("%d weeks", hours/24/7)
	case hours < 24*365*2:
		return fmt.Sprintf("%d months", hours/24/30)
	}
	return fmt.Sprintf("%d years", int(d.Hours())/24/365)
}

// took writes a duration as docker compose does: "0.21s", "1.9s", "2m 5s".
func took(d time.Duration) string {
	d = max(d, 0)
	switch {
	case d < time.Second:
		return fmt.Sprintf("%.2fs", d.Seconds())
	case d < time.Minute:
		return fmt.Sprintf("%.1fs", d.Seconds())
	case d < time.Hour:
		return fmt.Sprintf("%dm %ds", int(d.Minutes()), int(d.Seconds())%60)
	}
	return fmt.Sprintf("%dh %dm", int(d.Hours()), int(d.Minutes())%60)
}

// span is took between two times, up to now where the end is not known.
func span(now, from, to time.Time) string {
	if from.IsZero() {
		return ""
	}
	if to.IsZero() {
		to = now
	}
	return took(to.Sub(from))
}

// table aligns columns. It is not text/tabwriter because that counts colours
// as characters.
type table struct {
	rows [][]string
	// states are the columns whose words are coloured.
	states []int
	colour bool
}

func (t *table) add(cells ...string) {
	for i := range cells {
		cells[i] = clean(cells[i])
	}
	t.rows = append(t.rows, cells)
}

func (t *table) write(w io.Writer) {
	var widths []int
	for _, row := range t.rows {
		for i, text := range row {
			if i == len(widths) {
				widths = append(widths, 0)
			}
			widths[i] = max(widths[i], utf8.RuneCountInString(text))
		}
	}
	for _, row := range t.rows {
		last := len(row) - 1
		for last > 0 && row[last] == "" {
			last--
		}
		var line strings.Builder
		for i, text := range row[:last+1] {
			line.WriteString(t.paint(i, text))
			if i < last {
				line.WriteString(strings.Repeat(" ", widths[i]-utf8.RuneCountInString(text)+2))
			}
		}
		fmt.Fprintln(w, line.String())
	}
}

func (t *table) paint(column int, text string) string {
	if !t.colour {
		return text
	}
	for _, state := range t.states {
		if state == column {
			return paint(text)
		}
	}
	return text
}

// paint colours a state: green as it should be, yellow on the way, red wrong.
func paint(text string) string {
	word, _, _ := strings.Cut(text, " ")
	switch word {
	case "up", "running", "active", "healthy", "succeeded", "done", "allow", "ok":
		return "\x1b[32m" + text + "\x1b[0m"
	case "degraded", "starting", "restarting", "created", "queued", "reloading", "activating", "paused", "warning":
		return "\x1b[33m" + text + "\x1b[0m"
	case "stopped", "exited", "dead", "unhealthy", "failed", "failed:", "deny", "refused", "problem":
		return "\x1b[31m" + text + "\x1b[0m"
	}
	return text
}

// cut shortens text to width characters, the last of which then is an ellipsis.
func cut(text string, width int) string {
	if utf8.RuneCountInString(text) <= width {
		return text
	}
	if width < 1 {
		return ""
	}
	return string([]rune(text)[:width-1]) + "…"
}

var colours = regexp.MustCompile("\x1b\\[[0-9]*m")

// cutColoured is cut for text with colours in it, which it takes out of what
// has to be cut.
func cutColoured(text string, width int) string {
	if plain := colours.ReplaceAllString(text, ""); utf8.RuneCountInString(plain) > width {
		return cut(plain, width)
	}
	return text
}

// terminalSize returns the columns and rows of the terminal that w writes to;
// ok is false when it writes elsewhere.
func terminalSize(w io.Writer) (width, height int, ok bool) {
	file, isFile := w.(*os.File)
	if !isFile {
		return 0, 0, false
	}
	fd := int(file.Fd())
	if _, err := unix.IoctlGetTermios(fd, unix.TCGETS); err != nil {
		return 0, 0, false
	}
	size, err := unix.IoctlGetWinsize(fd, unix.TIOCGWINSZ)
	if err != nil || size.Col == 0 || size.Row == 0 {
		return 80, 24, true
	}
	return int(size.Col), int(size.Row), true
}
