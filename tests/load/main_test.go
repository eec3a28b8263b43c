package main

import (
	"context"
	"maps"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

func TestLoadKeepsItsSchedule(t *testing.T) {
	release := make(chan struct{})
	seen := make(chan struct{}, 10)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		seen <- struct{}{}
		<-release
		w.Write([]byte("HOST <b>one</b>"))
	}))
	defer server.Close()
	done := make(chan Result)
	go func() {
		done <- load(context.Background(), options{url: server.URL, method: "POST", rate: 1000, count: 10, timeout: time.Minute})
	}()
	// All ten arrive though none is answered.
	for range 10 {
		<-seen
	}
	close(release)
	if r := <-done; r.Sent != 10 || r.OK != 10 || r.Failed != 0 || r.ByHost["one"] != 10 {
		t.Errorf("got %+v", r)
	}
}

func TestLoadNeverRepeats(t *testing.T) {
	var requests atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if requests.Add(1) == 1 {
			return
		}
		panic(http.ErrAbortHandler) // the connection closes without an answer
	}))
	defer server.Close()
	r := load(context.Background(), options{url: server.URL, method: "GET", rate: 20, count: 2, timeout: time.Minute, keepalive: true})
	said := strings.Join(slices.Collect(maps.Keys(r.Errors)), ", ")
	if n := requests.Load(); n != 2 || r.OK != 1 || r.Failed != 1 || !regexp.MustCompile(`^connection (closed|reset) on a connection that was idle for [0-9.ms]+$`).MatchString(said) {
		t.Errorf("%d requests arrived, got %+v", n, r)
	}
}

func TestLoadCountsFailures(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusBadGateway)
	}))
	if r := load(context.Background(), options{url: server.URL, method: "POST", rate: 1000, count: 3, timeout: time.Minute}); r.Errors["status 502"] != 3 {
		t.Errorf("got %+v", r)
	}
	server.Close()
	if r := load(context.Background(), options{url: server.URL, method: "POST", rate: 1000, count: 3, timeout: time.Minute}); r.Errors["connection refused"] != 3 {
		t.Errorf("got %+v", r)
	}
}

func TestPercentile(t *testing.T) {
	var times []time.Duration
	for i := 1; i <= 200; i++ {
		times = append(times, time.Duration(i)*time.Millisecond)
	}
	for p, want := range map[int]float64{50: 100, 99: 198, 100: 200} {
		if got := percentile(times, p); got != want {
			t.Errorf("p%d: got %v, want %v", p, got, want)
		}
	}
	if got := percentile(nil, 99); got != 0 {
		t.Errorf("of nothing: %v", got)
	}
}

func TestLoopback(t *testing.T) {
	for text, want := range map[string]bool{
		"http://127.0.0.1:2024/": true, "http://localhost/": true, "http://[::1]:1/": true,
		"http://127.0.0.1.example.org/": false, "http://10.0.0.1/": false, "https://localhost/": false, "://": false,
	} {
		if got := loopback(text); got != want {
			t.Errorf("%s: %v", text, got)
		}
	}
}
