package main

import (
	"strings"
	"testing"
)

func TestLimit(t *testing.T) {
	for _, c := range []struct {
		args string
		want string // the request, or the message
		exit int
	}{
		{"limit webapp --cpus 0.5 --memory 256M", `limit {"service":"webapp","cpus":0.5,"memory":268435456}`, 0},
		{"limit webapp -m 1.5g", `limit {"service":"webapp","memory":1610612736}`, 0},
		{"limit webapp --memory 100kb --pids 7", `limit {"service":"webapp","memory":102400,"pids":7}`, 0},
		{"limit webapp --memory 6291456", `limit {"service":"webapp","memory":6291456}`, 0},
		{"limit webapp --cpus 0 --memory 0 --pids 0", `limit {"service":"webapp","cpus":0,"memory":0,"pids":0}`, 0},
		{"limit webapp", "cannot limit webapp: no limit is given", 2},
		{"limit", "cannot run limit: it takes one argument, not 0", 2},
		{"limit webapp --cpus x", `cannot limit webapp: "x" is not a number of processors`, 2},
		{"limit webapp --cpus=-1", `cannot limit webapp: "-1" is not a number of processors`, 2},
		{"limit webapp --cpus NaN", `cannot limit webapp: "NaN" is not a number of processors`, 2},
		{"limit webapp --memory 256X", `cannot limit webapp: "256X" is not a size such as 256M`, 2},
		{"limit webapp --memory=-5", `cannot limit webapp: "-5" is not a size such as 256M`, 2},
		{"limit webapp --memory 99999999999t", `cannot limit webapp: "99999999999t" is too large a size`, 2},
		{"limit webapp --pids 1.5", `cannot limit webapp: "1.5" is not a number of processes`, 2},
	} {
		daemon := newFake(t, changed("/projects/tvs/limit"))
		got := daemon.tvsctl(append([]string{"-p", "tvs"}, strings.Fields(c.args)...)...)
		if got.status != c.exit {
			t.Errorf("%s exits %d, not %d: %s", c.args, got.status, c.exit, got.err)
		}
		checkAsked(t, c.args, daemon, got, c.want, c.exit == 0)
	}
}
