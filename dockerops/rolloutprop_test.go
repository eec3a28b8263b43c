package dockerops

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// TestRolloutProperties carries out rollouts of random services in random orders that
// the plans' Needs allow. The daemon ends at random moments and plans again from what
// it sees; it may also go back. At no moment is a request lost.
func TestRolloutProperties(t *testing.T) {
	for seed := range uint64(3000) {
		w := newWorld(rand.New(rand.NewPCG(seed, 2)))
		start := w.String()
		if err := w.live(); err != nil {
			t.Fatalf("seed %d: %v\nbalanced %v, settle %v, %+v\nbefore %s\nnow    %s\nplan:\n%s", seed, err, w.balanced, w.settle, w.rollout, start, w, detail(w.plan))
		}
	}
}

// box is a container.
type box struct {
	name, state                                         string
	number                                              int
	old, ready, held, published, drained, settled, made bool // made: from what the rollout leads to
}

// world is a service, the nginx in front of it, and a rollout.
type world struct {
	*rand.Rand
	balanced bool
	settle   time.Duration
	boxes    []*box
	rollout  Rollout
	plan     *Plan

	ran   int             // of the old ones
	least int             // how many have to serve
	most  int             // and may run
	start map[string]bool // the old ones at the start, and whether each ran
	back  bool            // it goes back
}

func newWorld(random *rand.Rand) *world {
	w := &world{Rand: random, balanced: random.IntN(4) > 0, start: map[string]bool{}}
	w.settle = time.Duration(random.IntN(2)) * time.Second
	number := 0
	for range 1 + random.IntN(5) {
		number += 1 + random.IntN(2)
		b := w.add(number, []string{"running", "running", "running", "exited", "created"}[random.IntN(5)])
		b.old, b.ready = true, b.state == "running"
		w.start[b.name] = b.ready
	}
	w.publish(nil, nil)
	s := w.observe().Service("webapp")
	w.rollout = NewRollout(s)
	w.rollout.Surge = 1 + random.IntN(w.rollout.Count+1)
	for _, ran := range w.rollout.Old {
		if ran {
			w.ran++
		}
	}
	switch random.IntN(5) {
	case 0:
		w.rollout.Creator = ByComposeFirst
	case 1:
		w.rollout.Creator, w.rollout.Surge = ByComposeAll, w.rollout.Count
	}
	if random.IntN(3) == 0 && w.rollout.Count > 1 && w.rollout.Creator != ByComposeAll {
		w.rollout.Hold = 1 + random.IntN(w.rollout.Count-1)
	}
	if w.least, w.most = w.ran, w.rollout.Count+w.rollout.Surge; w.rollout.Creator == ByClone && random.IntN(2) == 0 {
		w.begun(number)
	}
	return w
}

// begun makes any state in which an earlier life can have left a rollout by clones.
func (w *world) begun(number int) {
	running := 0
	for _, b := range w.boxes {
		if b.state == "running" && w.IntN(3) == 0 {
			b.state = "exited"
		}
		if b.state == "running" {
			running++
		}
	}
	for range w.IntN(min(w.rollout.Count, w.most-running) + 1) {
		number += 1 + w.IntN(2)
		b := w.add(number, []string{"running", "running", "created", "exited"}[w.IntN(4)])
		b.made, b.ready = true, b.state == "running"
	}
	w.publish(nil, nil)
	w.least = min(w.serving(), w.rollout.Count)
}

func (w *world) add(number int, state string) *box {
	b := &box{name: fmt.Sprintf("tvs-webapp-%d", number), number: number, state: state}
	w.boxes = append(w.boxes, b)
	return b
}

func (w *world) String() (text string) {
	for _, b := range w.boxes {
		text += fmt.Sprintf(" %d %s old=%v ready=%v published=%v,", b.number, b.state, b.old, b.ready, b.published)
	}
	return text
}

// observe is what the daemon sees.
func (w *world) observe() *Project {
	var replicas []string
	for _, b := range w.boxes {
		replicas = append(replicas, fmt.Sprint(b.number, " ", b.state))
	}
	other := service("other", "1")
	s := service("webapp", replicas...).settling(w.settle)
	for i, r := range s.Replicas {
		s.Replicas[i].Health = map[bool]string{true: "healthy", false: "starting"}[w.find(r.Name).ready]
	}
	slices.SortFunc(s.Replicas, func(a, b Replica) int { return a.Number - b.Number })
	nginx := service("entry", "1").balancing("other")
	if w.balanced {
		nginx = service("entry", "1").balancing("other", "webapp")
	}
	return project(nginx, other, s)
}

// live goes through lives of the daemon until one comes to the end.
func (w *world) live() error {
	for life := 0; ; life++ {
		p := w.observe()
		p.Retire("webapp", w.rollout.Stopped(p))
		w.back = w.back || life > 0 && w.IntN(8) == 0
		if w.plan = PlanRollout(p, w.rollout); w.back {
			w.plan = PlanBack(p, w.rollout)
			w.least, w.most = min(w.ran, w.serving()), 2*len(w.start)+1
		}
		whole, err := w.apply(w.IntN(4) == 0 || life > 6)
		switch {
		case err != nil:
			return fmt.Errorf("in life %d, going back %v: %v", life, w.back, err)
		case !whole:
			w.crash()
		case w.back:
			return w.wentBack()
		case w.rollout.Hold == 0:
			return w.ended()
		default:
			if err := w.holds(); err != nil {
				return err
			}
			if err := w.reboot(); err != nil {
				return err
			}
			w.rollout.Settled, w.rollout.Hold = w.rollout.Hold, 0
			w.crash()
		}
	}
}

// gone counts the old ones that ran and have been removed.
func (w *world) gone() int {
	return w.ran - w.count(func(b *box) bool { return b.old && w.start[b.name] })
}

// reboot is a start of the machine, which ends all replicas, and the restore after it.
func (w *world) reboot() error {
	if w.IntN(3) > 0 {
		return nil
	}
	retired := w.rollout.Stopped(w.observe()) // as the daemon keeps them
	for _, b := range w.boxes {
		if b.state == "running" {
			b.state = "exited"
		}
	}
	p := w.observe()
	p.Retire("webapp", retired)
	for _, r := range p.Service("webapp").Replicas {
		b := w.find(r.Name)
		b.state, b.ready, b.held = "running", true, false
	}
	w.publish(nil, nil)
	if n := w.serving(); n < w.least || n > w.rollout.Count {
		return fmt.Errorf("after a start of the machine %d serve, and %d have to", n, w.least)
	}
	return nil
}

// crash is the end of a life: nobody holds back what is ready. Or it is the end of an attempt
// that lost Docker, and the life goes on with what it holds. Sometimes somebody then removes
// all that does not run.
func (w *world) crash() {
	sameLife := w.IntN(3) == 0
	if !w.back && w.rollout.Creator == ByClone && w.IntN(10) == 0 {
		w.boxes = slices.DeleteFunc(w.boxes, func(b *box) bool { return b.state != "running" })
	}
	for _, b := range w.boxes {
		b.held = b.held && sameLife
		b.ready = b.ready || b.state == "running" && w.IntN(2) == 0
	}
	w.publish(nil, nil)
}

// apply carries out the plan, whole or up to some step.
func (w *world) apply(whole bool) (ended bool, err error) {
	done := map[int]bool{}
	for len(done) < len(w.plan.Steps) {
		if !whole && w.IntN(12) == 0 {
			return false, nil
		}
		var can []Step
		for i, s := range w.plan.Steps {
			if s.ID != i+1 || slices.ContainsFunc(s.Needs, func(n int) bool { return n >= s.ID || n < 1 }) {
				return false, fmt.Errorf("step %d needs %v", s.ID, s.Needs)
			}
			if !done[s.ID] && !slices.ContainsFunc(s.Needs, func(n int) bool { return !done[n] }) {
				can = append(can, s)
			}
		}
		s := can[w.IntN(len(can))]
		if ended, err := w.step(s, done, whole); err != nil || !ended {
			return false, errors.Join(err)
		}
		done[s.ID] = true
		if n := w.serving(); n < w.least {
			return false, fmt.Errorf("after step %d only %d serve, and %d have to", s.ID, n, w.least)
		}
		if n := w.count(func(b *box) bool { return b.state == "running" }); n > w.most && w.rollout.Creator != ByComposeAll {
			return false, fmt.Errorf("after step %d there run %d, and at most %d may", s.ID, n, w.most)
		}
	}
	return true, nil
}

func (w *world) count(is func(*box) bool) (n int) {
	for _, b := range w.boxes {
		if is(b) {
			n++
		}
	}
	return n
}

// serving counts those that answer requests.
func (w *world) serving() int {
	return w.count(func(b *box) bool { return b.state == "running" && b.ready && (b.published || !w.balanced) })
}

func (w *world) find(name string) *box {
	for _, b := range w.boxes {
		if b.name == name || "id-"+b.name == name {
			return b
		}
	}
	return nil
}

// publish is what the site and the guard do.
func (w *world) publish(join, retire []string) {
	for _, b := range w.boxes {
		if slices.Contains(join, "id-"+b.name) {
			b.held = false
		}
		if slices.Contains(retire, "id-"+b.name) {
			b.held = true
		}
		if b.published = b.state == "running" && b.ready && !b.held; b.published {
			b.drained = false
		}
	}
}
