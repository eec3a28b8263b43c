package daemon

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

const (
	// refusalsSingly is how many refusals of one user have an entry each before the others
	// are summed up: more than a script makes by mistake.
	refusalsSingly = 250
	// refusalEvery is how long it takes until there is room for one more.
	refusalEvery = 10 * time.Second
	// refusalsSummed is how often those without an entry of their own are summed up.
	refusalsSummed = 10 * time.Second
	// maxRefused bounds of how many users refusals are counted apart.
	maxRefused = 4096
)

// refusals keeps one user from filling the journal with what is refused to them, and so
// from having the records of everybody else dropped. None is left out: what has no entry of
// its own is counted in the next sum. The zero refusals is ready.
type refusals struct {
	mu    sync.Mutex
	spent map[refusalKey]*refused
	timer *time.Timer // runs while something waits to be summed up
}

type refusalKey struct {
	event logEvent
	uid   uint32
}

// refused is what was refused to one user.
type refused struct {
	full  time.Time      // when there is room for refusalsSingly again
	more  map[string]int // that have no entry yet, by what they are of
	count int            // of those
	last  fields
}

// note writes down what was refused to a user, singly or in a sum. Of is a verb or a code: what
// a sum tells apart has to be of a few.
func (r *refusals) note(log *logbook, event logEvent, who peer, of, sentence string, f fields) {
	if r.single(log, refusalKey{event, who.UID}, of, f) {
		log.notice(event, sentence, f)
	}
}

func (r *refusals) single(log *logbook, key refusalKey, of string, f fields) bool {
	now := time.Now()
	r.mu.Lock()
	defer r.mu.Unlock()
	own := r.account(key, now)
	if own.count == 0 && own.full.Sub(now) <= (refusalsSingly-1)*refusalEvery {
		own.full = own.full.Add(refusalEvery)
		return true
	}
	own.more[of]++
	own.count++
	own.last = f
	if r.timer == nil {
		r.timer = time.AfterFunc(refusalsSummed, func() { r.sum(log) })
	}
	return false
}

// account returns a user's. Beyond maxRefused all share that of the overflow uid. mu is held.
func (r *refusals) account(key refusalKey, now time.Time) *refused {
	if r.spent == nil {
		r.spent = map[refusalKey]*refused{}
	}
	if r.spent[key] == nil && len(r.spent) >= maxRefused {
		maps.DeleteFunc(r.spent, func(_ refusalKey, u *refused) bool { return u.count == 0 && u.full.Before(now) })
		if len(r.spent) >= maxRefused {
			key.uid = overflowID
		}
	}
	own := r.spent[key]
	if own == nil {
		own = &refused{more: map[string]int{}}
		r.spent[key] = own
	}
	if own.full.Before(now) {
		own.full = now
	}
	return own
}

// sum writes an entry for each user some of whose refusals have none yet.
func (r *refusals) sum(log *logbook) {
	type line struct {
		sentence string
		fields   fields
	}
	var lines []line
	r.mu.Lock()
	if r.timer != nil {
		r.timer.Stop()
		r.timer = nil
	}
	for _, own := range r.spent {
		if own.count > 0 {
			lines = append(lines, line{own.sentence(), own.fields()})
			own.count = 0
			clear(own.more)
		}
	}
	r.mu.Unlock()
	for _, l := range lines {
		log.notice(eventRefusals, l.sentence, l.fields)
	}
}

func (u *refused) sentence() string {
	var parts []string
	for _, of := range slices.Sorted(maps.Keys(u.more)) {
		parts = append(parts, fmt.Sprintf("%s %d times", of, u.more[of]))
	}
	return fmt.Sprintf("Refused %s %d more within %v: %s.", cmp.Or(u.last["TVS_USER"], "unknown users"), u.count, refusalsSummed, strings.Join(parts, ", "))
}

// fields are those of the last refusal that do not say what it was of.
func (u *refused) fields() fields {
	f := fields{"TVS_COUNT": strconv.Itoa(u.count)}
	for _, key := range []string{"TVS_USER", "TVS_UID", "TVS_GIDS", "TVS_LOGINUID", "TVS_DECISION", "TVS_POLICY"} {
		if value, has := u.last[key]; has && (key != "TVS_DECISION" || value == "deny") {
			f[key] = value
		}
	}
	return f
}
