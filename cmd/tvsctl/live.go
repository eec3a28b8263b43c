package main

import (
	"fmt"
	"io"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"tvsctl/ipc"
)

// redrawEvery bounds how often the block is drawn.
const redrawEvery = 100 * time.Millisecond

var spinner = []rune("⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏")

// live redraws a block of lines in place: one for each replica, upstream or
// other target of a step, with the step that it is at.
type live struct {
	w    io.Writer
	size func() (width, height int, ok bool)
	now  func() time.Time

	mu    sync.Mutex
	block block
	drawn int // lines of the block that are on the screen
	last  time.Time
	stop  chan struct{}
	idle  chan struct{} // closed when the redrawing goroutine has ended
}

func (a *app) newLive() *live {
	l := &live{w: a.stderr, size: a.stderrSize, now: a.now,
		stop: make(chan struct{}), idle: make(chan struct{})}
	ticks, stopTicks := a.ticker(redrawEvery)
	go func() {
		defer close(l.idle)
		defer stopTicks()
		for {
			select {
			case <-ticks:
				l.mu.Lock()
				l.draw("")
				l.mu.Unlock()
			case <-l.stop:
				return
			}
		}
	}()
	return l
}

func (l *live) note(text string) { l.print(clean(text)) }

func (l *live) close() {
	close(l.stop)
	<-l.idle
	l.mu.Lock()
	defer l.mu.Unlock()
	l.draw("")
}

func (l *live) event(event ipc.Event) {
	if event.Kind == ipc.EventLog {
		l.print(clean(event.Line))
		return
	}
	if event.Kind != ipc.EventStep || event.Step == nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.block.update(*event.Step)
	if l.now().Sub(l.last) >= redrawEvery {
		l.draw("")
	}
}

// print puts a line above the block.
func (l *live) print(line string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.draw(line + "\n")
}

// draw replaces the block on the screen; above is printed before it.
func (l *live) draw(above string) {
	width, height, _ := l.size()
	rows := l.block.lines(l.now(), width, height)
	var screen strings.Builder
	if l.drawn > 0 {
		fmt.Fprintf(&screen, "\x1b[%dA\r\x1b[J", l.drawn)
	}
	screen.WriteString(above)
	for _, row := range rows {
		screen.WriteString(row + "\n")
	}
	l.drawn, l.last = len(rows), l.now()
	if screen.Len() > 0 {
		_, _ = io.WriteString(l.w, screen.String())
	}
}

// block is what a live display shows, without a terminal.
type block struct {
	rows []*row
	keys map[string]*row
}

// row is the steps of one target, in the order they were heard of.
type row struct{ steps []ipc.Step }

func (b *block) update(step ipc.Step) {
	key := step.Service + "\x00" + step.Target
	if step.Target == "" {
		key = fmt.Sprint(step.ID)
	}
	if b.keys == nil {
		b.keys = map[string]*row{}
	}
	r := b.keys[key]
	if r == nil {
		r = new(row)
		b.keys[key] = r
		b.rows = append(b.rows, r)
	}
	for i := range r.steps {
		if r.steps[i].ID == step.ID {
			r.steps[i] = step
			return
		}
	}
	r.steps = append(r.steps, step)
}

// lines renders the block so that it fits a terminal with a line to spare for
// the cursor. Where it does not, what is over gives way first.
func (b *block) lines(now time.Time, width, height int) []string {
	var shown []rowView
	for _, r := range b.rows {
		shown = append(shown, r.view(now))
	}
	room := max(height-1, 1)
	over := 0
	if len(shown) > room {
		over = len(shown) - room + 1
		shown = dropRows(shown, over)
	}
	text := 0
	for _, v := range shown {
		text = max(text, utf8.RuneCountInString(v.text))
	}
	var out []string
	for _, v := range shown {
		// The marks, the spaces around the text and the last column are never cut.
		room := max(min(text, width-len(v.elapsed)-6), 0)
		line := fmt.Sprintf(" %c %-*s  %s", v.mark, room, cut(v.text, room), v.elapsed)
		out = append(out, cut(strings.TrimRight(line, " "), width-1))
	}
	if over > 0 {
		out = append(out, cut(fmt.Sprintf(" … and %d more", over), width-1))
	}
	return out
}

type rowView struct {
	mark    rune
	text    string
	elapsed string
	ended   bool
	waiting bool
}

// dropRows takes n rows out: those that ended well, then those that have not
// begun, then the last ones.
func dropRows(rows []rowView, n int) []rowView {
	for _, unimportant := range []func(rowView) bool{
		func(v rowView) bool { return v.ended && v.mark != '✘' },
		func(v rowView) bool { return v.waiting },
		func(rowView) bool { return true },
	} {
		for i := 0; i < len(rows) && n > 0; {
			if unimportant(rows[i]) {
				rows = append(rows[:i:i], rows[i+1:]...)
				n--
				continue
			}
			i++
		}
	}
	return rows
}

func (r *row) view(now time.Time) rowView {
	var current, last, pending, failed *ipc.Step
	var from, to time.Time
	for i := range r.steps {
		step := &r.steps[i]
		if !step.Started.IsZero() && (from.IsZero() || step.Started.Before(from)) {
			from = step.Started
		}
		if step.Ended.After(to) {
			to = step.Ended
		}
		switch step.State {
		case ipc.StepRunning:
			current = step
		case ipc.StepDone:
			last = step
		case ipc.StepFailed:
			failed = step
		case ipc.StepPending:
			if pending == nil {
				pending = step
			}
		}
	}
	turning := spinner[int(now.UnixMilli()/redrawEvery.Milliseconds())%len(spinner)]
	switch {
	case failed != nil:
		return rowView{mark: '✘', text: clean(failed.Text) + ": " + oneLine(failed.Error), elapsed: span(now, from, to), ended: true}
	case current != nil:
		return rowView{mark: turning, text: clean(current.Text), elapsed: span(now, from, time.Time{})}
	case pending != nil && last != nil:
		return rowView{mark: turning, text: clean(last.Text), elapsed: span(now, from, time.Time{})}
	case pending != nil:
		return rowView{mark: '·', text: clean(pending.Text), waiting: true}
	case last != nil:
		return rowView{mark: '✔', text: clean(last.Text), elapsed: span(now, from, to), ended: true}
	}
	return rowView{mark: '-', text: clean(r.steps[0].Text) + " (skipped)", ended: true}
}
