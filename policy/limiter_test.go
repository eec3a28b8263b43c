package policy

import (
	"fmt"
	"testing"
	"time"
)

const rated = `
[[rule]]
name = "slow"
users = ["*"]
role = "operator"
projects = ["shop"]
rate = "3/1m"
`

func TestLimiter(t *testing.T) {
	p := mustParse(t, rated)
	start := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	scale := Request{Verb: Scale, Target: web, Replicas: 2}
	var l Limiter
	for _, c := range []struct {
		at      time.Duration
		s       Subject
		q       []Request
		allowed bool
		retry   time.Duration
	}{
		{0, ann, []Request{scale}, true, 0},
		{10 * time.Second, ann, []Request{scale, {Verb: Scale, Target: storage}}, true, 0}, // one command
		{20 * time.Second, ann, []Request{scale, {Verb: Rollout, Target: web}}, false, 0},  // denied: not counted
		{20 * time.Second, ann, []Request{{Verb: Status, Target: web}, {Verb: Plan, Target: web}}, true, 0},
		{30 * time.Second, ann, []Request{scale}, true, 0},
		{40 * time.Second, ann, []Request{scale}, false, 20 * time.Second},
		{40 * time.Second, bob, []Request{scale}, true, 0},
		{40 * time.Second, ann, []Request{{Verb: Status, Target: web}}, true, 0},
		{40 * time.Second, root, []Request{scale, scale}, true, 0},
		{60 * time.Second, ann, []Request{scale}, true, 0},
		{60 * time.Second, ann, []Request{scale}, false, 10 * time.Second},
		{69 * time.Second, ann, []Request{scale}, false, time.Second},
		{70 * time.Second, ann, []Request{scale}, true, 0},
	} {
		decisions, allowed := l.Admit(p, c.s, start.Add(c.at), c.q...)
		last := decisions[len(decisions)-1]
		if len(decisions) != len(c.q) || allowed != c.allowed || last.Retry != c.retry {
			t.Errorf("after %s, %s: %t, %+v", c.at, c.s, allowed, last)
		}
		if want := fmt.Sprintf(`rule "slow" lets you make 3 changes in 1m: the next in %s`, c.retry); c.retry > 0 && last.Reason != want {
			t.Errorf("%s", last.Reason)
		}
	}
	// The same rules, loaded again, give no new credit; Decide does not count.
	if _, allowed := l.Admit(mustParse(t, "\n\n"+rated), ann, start.Add(71*time.Second), scale); allowed {
		t.Error("a reload gives credit")
	}
	if !p.Decide(ann, scale).Allowed {
		t.Error("can-i depends on the rate")
	}
}

func TestLimiterPassesOverRules(t *testing.T) {
	p := mustParse(t, rated+"[[rule]]\nname = 'large'\nusers = ['ann']\nrole = 'operator'\nmax_replicas = 4\nrate = '1/1h'\n")
	var l Limiter
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	scale := Request{Verb: Scale, Target: web, Replicas: 4}
	for i, want := range []string{"slow", "slow", "slow", "large", "slow"} {
		decisions, allowed := l.Admit(p, ann, now, scale)
		if decisions[0].Rule != want || allowed != (i < 4) {
			t.Errorf("%d: %+v", i, decisions[0])
		}
	}
	// Of several that keep one waiting it is the shortest wait that is told.
	p = mustParse(t, "[[rule]]\nusers = ['ann']\nrole = 'operator'\nrate = '1/1h'\n"+rated)
	l = Limiter{}
	for range 4 {
		l.Admit(p, ann, now, scale)
	}
	if decisions, allowed := l.Admit(p, ann, now, scale); allowed || decisions[0].Retry != time.Minute || decisions[0].Rule != "slow" {
		t.Errorf("%+v", decisions[0])
	}
}

// TestLimiterIsExact: no minute has more than the rule says, however the changes come.
func TestLimiterIsExact(t *testing.T) {
	p := mustParse(t, rated)
	var l Limiter
	var admitted []time.Time
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for i := range 2000 {
		now = now.Add(time.Duration(i*7919%13000) * time.Millisecond)
		if _, allowed := l.Admit(p, ann, now, Request{Verb: Restart, Target: web}); allowed {
			admitted = append(admitted, now)
		}
	}
	for i := range admitted[3:] {
		if span := admitted[i+3].Sub(admitted[i]); span < time.Minute {
			t.Fatalf("4 changes in %s", span)
		}
	}
	if len(admitted) < 500 {
		t.Errorf("%d of 2000 were admitted", len(admitted))
	}
	if n := len(l.spent[account{1001, p.rules[0].text}]); n > 3 {
		t.Errorf("%d times are kept", n)
	}
}

func TestLimiterIsBounded(t *testing.T) {
	p := mustParse(t, rated)
	var l Limiter
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	admit := func(uid uint32) bool {
		_, allowed := l.Admit(p, User(uid, "", nil, nil), now, Request{Verb: Restart, Target: web})
		return allowed
	}
	for uid := range uint32(maxAccounts) {
		if !admit(uid + 1) {
			t.Fatalf("%d is refused", uid)
		}
	}
	if admit(maxAccounts+1) || len(l.spent) != maxAccounts || !admit(1) {
		t.Errorf("%d accounts", len(l.spent))
	}
	if now = now.Add(maxPer + time.Second); !admit(maxAccounts+1) || len(l.spent) != 1 {
		t.Errorf("%d accounts are kept", len(l.spent))
	}
}
