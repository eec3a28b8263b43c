package policy

import (
	"slices"
	"time"
)

// Spent is what one user has used up of the rate of one rule, so that it can be kept over
// restarts.
type Spent struct {
	UID   uint32      `json:"uid"`
	Rule  string      `json:"rule"`  // what it says
	Times []time.Time `json:"times"` // oldest first
}

// Over reports whether no rate can count it any more.
func (s Spent) Over(now time.Time) bool {
	return len(s.Times) == 0 || now.Sub(s.Times[len(s.Times)-1]) > maxPer
}

// Restore takes up what was spent in an earlier life, but of whom something was spent in this
// one, or who has nothing left to wait for. What seems to come from the future, since the
// clock was set back, was spent now: nobody waits longer than the rate's time.
func (l *Limiter) Restore(spent []Spent, now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, s := range spent {
		a := account{s.UID, s.Rule}
		if _, known := l.spent[a]; known || s.Over(now) || len(l.spent) >= maxAccounts {
			continue
		}
		if l.spent == nil {
			l.spent = map[account][]time.Time{}
		}
		for _, t := range s.Times {
			// Counted from now, which the clock's later turns do not change.
			l.spent[a] = append(l.spent[a], now.Add(min(0, t.Sub(now))))
		}
	}
}

// tell tells Spend what the account has spent. mu is held.
func (l *Limiter) tell(a account) {
	if l.Spend != nil {
		l.Spend(Spent{UID: a.uid, Rule: a.rule, Times: slices.Clone(l.spent[a])})
	}
}
