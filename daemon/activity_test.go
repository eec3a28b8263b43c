package daemon

import (
	"testing"
	"testing/synctest"
	"time"
)

func expired(a *activity) bool {
	synctest.Wait()
	select {
	case <-a.expired:
		return true
	default:
		return false
	}
}

func TestActivity(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newActivity(time.Minute)
		time.Sleep(time.Minute - 1)
		if expired(a) {
			t.Error("too early after the start")
		}
		a.begin()
		a.begin()
		time.Sleep(time.Hour)
		if expired(a) || a.quiet() {
			t.Error("ended while active")
		}
		a.end()
		time.Sleep(time.Hour)
		if expired(a) || a.quiet() {
			t.Error("ended while one is active")
		}
		a.end()
		time.Sleep(time.Minute - 1)
		if expired(a) || !a.quiet() {
			t.Error("too early after the end")
		}
		time.Sleep(1)
		if !expired(a) {
			t.Error("not ended")
		}
		a.begin()
		a.end()
		time.Sleep(time.Minute)
		if !expired(a) {
			t.Error("not ended a second time")
		}
		a.begin()
		a.setIdle(time.Hour)
		a.end()
		time.Sleep(time.Hour - 1)
		if expired(a) {
			t.Error("too early for another idle time")
		}
		time.Sleep(1)
		if !expired(a) {
			t.Error("not ended after another idle time")
		}
	})
}

func TestActivityWithoutIdleTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newActivity(0)
		a.begin()
		a.end()
		time.Sleep(24 * time.Hour)
		if expired(a) || !a.quiet() {
			t.Error("ended")
		}
	})
}

func TestActivityIsSafe(t *testing.T) {
	a := newActivity(time.Hour)
	done := make(chan struct{})
	for range 8 {
		go func() {
			for range 1000 {
				a.begin()
				a.quiet()
				a.end()
			}
			done <- struct{}{}
		}()
	}
	for range 8 {
		<-done
	}
	if !a.quiet() {
		t.Error("something is left")
	}
}
