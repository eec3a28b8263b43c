package dockerops

import (
	"fmt"
	"slices"
)

// step carries out one step, and complains where it must not be done then. Compose can
// end in the middle, unless whole.
func (w *world) step(s Step, done map[int]bool, whole bool) (ended bool, err error) {
	fail := func(format string, args ...any) (bool, error) {
		return false, fmt.Errorf("step %d, %s: %s", s.ID, s.Text(), fmt.Sprintf(format, args...))
	}
	b := w.find(s.Replica)
	if s.Kind == StepCompose || s.Kind == StepComposeCreate {
		return w.compose(s, whole)
	}
	if s.Kind == StepCreate {
		if b != nil || s.Container != "" {
			return fail("it is there")
		}
		b = w.add(s.Number, "created")
		b.held = true
		// A clone is what the newest is, where compose makes the first.
		b.made = w.rollout.Creator == ByClone || slices.ContainsFunc(w.boxes, func(other *box) bool { return other.made })
		return true, nil
	}
	if b == nil && s.Replica != "" {
		return fail("it is not there")
	}
	switch s.Kind {
	case StepStart:
		if b.state != "created" && b.state != "exited" {
			return fail("it is %s", b.state)
		}
		b.state, b.ready, b.held = "running", false, true
	case StepReady:
		if b.state != "running" {
			return fail("it is %s", b.state)
		}
		b.ready = true
	case StepPublish:
		join := slices.Clone(s.Joins)
		for _, other := range w.plan.Steps { // those that Apply has seen ready
			if other.Kind == StepReady && done[other.ID] {
				if c := w.find(other.Replica); c != nil && !slices.Contains(s.Retires, "id-"+c.name) {
					join = append(join, "id-"+c.name)
				}
			}
		}
		if w.rollout.Creator == ByComposeAll && !w.back {
			for _, c := range w.boxes {
				if !c.old {
					join = append(join, "id-"+c.name)
				}
			}
		}
		w.publish(join, s.Retires)
	case StepSettle:
		if b.state != "running" || !b.ready || w.balanced && !b.published || s.For != w.settle || b.old {
			return fail("%+v", *b)
		}
		b.settled = true
	case StepDrain:
		if !slices.Equal(w.plan.Drain, []string{"webapp"}) {
			return fail("of %q", w.plan.Drain)
		}
		for _, c := range w.boxes {
			c.drained = !c.published
		}
	case StepStop:
		byCompose := w.rollout.Creator == ByComposeAll // which also starts those that did not run
		if b.state != "running" && !byCompose || w.balanced && (b.published || !b.drained) || b.old == w.back && (!byCompose || w.start[b.name]) {
			return fail("%+v", *b)
		}
		b.state, b.ready = "exited", false
	case StepRemove:
		if b.state == "running" || b.old == w.back || s.Volumes != w.back {
			return fail("%+v", *b)
		}
		if !w.back {
			// Nothing of the old ones goes before everything of theirs is replaced.
			fresh := w.count(func(b *box) bool { return !b.old && b.state == "running" && b.ready && (b.published || !w.balanced) })
			if old := w.count(func(b *box) bool { return b.old && b.state == "running" }); old > 0 || fresh < w.rollout.Count {
				return fail("%d old ones run, and %d of %d new ones", old, fresh, w.rollout.Count)
			}
		}
		w.boxes = slices.DeleteFunc(w.boxes, func(c *box) bool { return c == b })
	default:
		return fail("unknown")
	}
	return true, nil
}

// compose is docker compose up --no-recreate --scale, with or without --no-start.
func (w *world) compose(s Step, whole bool) (ended bool, err error) {
	if s.Count <= len(w.boxes) {
		return false, fmt.Errorf("compose is asked for %d containers where there are %d", s.Count, len(w.boxes))
	}
	missing := s.Count - len(w.boxes)
	if s.Kind == StepComposeCreate && missing != 1 {
		return false, fmt.Errorf("compose is to create %d", missing)
	}
	state := map[StepKind]string{StepCompose: "running", StepComposeCreate: "created"}[s.Kind]
	for _, b := range w.boxes {
		if b.state != "running" && s.Kind == StepCompose {
			b.state = "running"
		}
	}
	for range missing {
		if !whole && w.IntN(8) == 0 {
			return false, nil
		}
		highest := 0
		for _, b := range w.boxes {
			highest = max(highest, b.number)
		}
		b := w.add(highest+1, state)
		b.made, b.held = true, true
	}
	return true, nil
}

// ended is how a rollout has to end.
func (w *world) ended() error {
	good := w.count(func(b *box) bool { return b.made && b.state == "running" && b.ready && (b.published || !w.balanced) })
	if good != w.rollout.Count || len(w.boxes) != good {
		return fmt.Errorf("it ends with %d of %d in service, of %d containers", good, w.rollout.Count, len(w.boxes))
	}
	if unsettled := w.count(func(b *box) bool { return !b.settled }); w.settle > 0 && unsettled > 0 {
		return fmt.Errorf("%d have not been seen to settle", unsettled)
	}
	return nil
}

// holds is how it has to be where it holds.
func (w *world) holds() error {
	fresh := w.count(func(b *box) bool { return b.made && b.state == "running" && b.ready && (b.published || !w.balanced) })
	if fresh < w.rollout.Hold {
		return fmt.Errorf("it holds with %d new ones in service, not %d", fresh, w.rollout.Hold)
	}
	if old := w.count(func(b *box) bool { return b.old && b.state == "running" }); old > w.rollout.Count-w.rollout.Hold {
		return fmt.Errorf("it holds with %d old ones", old)
	}
	return nil
}

// wentBack is how it has to be after going back.
func (w *world) wentBack() error {
	stay := 0
	for _, b := range w.boxes {
		switch ran, old := w.start[b.name]; {
		case !old:
			stay++
		case ran != (b.state == "running") || ran && w.balanced && !b.published:
			return fmt.Errorf("%s is left: %+v", b.name, *b)
		}
	}
	if stay > w.gone() {
		return fmt.Errorf("%d new ones are left where %d old ones are gone", stay, w.gone())
	}
	return nil
}
