package policy

import (
	"sync"
	"time"
)

// Limiter keeps callers to the rates of the rules. It counts exactly: no span of a
// rate's time holds more changes of one user than the rule says. The zero Limiter is
// ready; it may be used by several goroutines.
type Limiter struct {
	// Spend, if it is set before the first use, is told what an account has spent when that
	// changes. It must not block, nor use the Limiter.
	Spend func(Spent)

	mu    sync.Mutex
	spent map[account][]time.Time // when, oldest first; at most the rule's count
}

// account is one user under one rule, known by what it says: a reload of the same
// rules gives nobody new credit.
type account struct {
	uid  uint32
	rule string
}

// maxAccounts bounds the memory. Beyond it whoever is new has to wait.
const maxAccounts = 4096

// Admit decides the requests of one command, now, each as Decide does but for rules
// whose rate is used up: those are passed over. When all are allowed the command counts
// once under each rule that allowed one; else it counts under none, and Retry of the
// refused tells how long it would have to wait for a rate. What only looks never counts.
func (l *Limiter) Admit(p *Policy, s Subject, now time.Time, requests ...Request) (decisions []Decision, allowed bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	allowed = true
	used := map[*rule]bool{}
	for _, q := range requests {
		d, r := p.decide(s, q, func(r *rule) time.Duration { return l.wait(account{s.uid, r.text}, r.rate, now) })
		decisions = append(decisions, d)
		allowed = allowed && d.Allowed
		if info, known := q.Verb.Info(); r != nil && r.rate.Count > 0 && known && info.Changes {
			used[r] = true
		}
	}
	if allowed {
		for r := range used {
			l.spend(account{s.uid, r.text}, r.rate, now)
		}
	}
	return decisions, allowed
}

// wait says for how long the account has no room, 0 when it has.
func (l *Limiter) wait(a account, rate Rate, now time.Time) time.Duration {
	times, known := l.spent[a]
	if !known && len(l.spent) >= maxAccounts {
		if l.forget(now); len(l.spent) >= maxAccounts {
			return time.Second
		}
	}
	if len(times) < rate.Count {
		return 0
	}
	return max(0, times[len(times)-rate.Count].Add(rate.Per).Sub(now))
}

func (l *Limiter) spend(a account, rate Rate, now time.Time) {
	if l.spent == nil {
		l.spent = map[account][]time.Time{}
	}
	times := l.spent[a]
	if len(times) >= rate.Count {
		times = times[:copy(times, times[len(times)-rate.Count+1:])]
	}
	l.spent[a] = append(times, now)
	l.tell(a)
}

// forget drops the accounts whose last change no rate can still count.
func (l *Limiter) forget(now time.Time) {
	for a, times := range l.spent {
		if now.Sub(times[len(times)-1]) > maxPer {
			delete(l.spent, a)
		}
	}
}
