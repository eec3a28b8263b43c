// Command clients is a crowd in front of tvsctld's socket: good clients, which ask and
// read the answer, and bad ones, which never finish a request. A line on standard error
// tells when the bad ones are connected. It prints as JSON how all fared, when the
// daemon has ended the last of them, and exits 1 when a good one got no answer.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"tvsctl/ipc"
)

// Good is how the good clients fared.
type Good struct {
	Sent   int            `json:"sent"`
	OK     int            `json:"ok"`
	Errors map[string]int `json:"errors"`
	P50    float64        `json:"p50_ms"`
	P99    float64        `json:"p99_ms"`
	Max    float64        `json:"max_ms"`
}

// Bad is how bad clients of one kind fared.
type Bad struct {
	Ended int `json:"ended"` // by the daemon
	Left  int `json:"left"`  // still connected when patience was over
	// How long the first and the last to be ended had been connected.
	First float64 `json:"first_s"`
	Last  float64 `json:"last_s"`
}

const (
	dripEvery = time.Second
	patience  = time.Minute
)

// kinds are the bad clients: what each sends at once, and then a byte of every second.
var kinds = []struct {
	name, what  string
	first, drip string
}{
	{"silent", "connect and send nothing", "", ""},
	{"headers", "send a byte of a header every second", "GET /v1/version HTTP/1.1\r\nHost: tvsctld\r\nX-Slow: ", "a"},
	{"body", "send a byte of a body every second", "POST /v1/projects/x/scale HTTP/1.1\r\nHost: tvsctld\r\nContent-Length: 1000\r\n\r\n{", " "},
}

// suffer sends what a bad client sends until the daemon ends the connection; it
// reports false when it did not.
func suffer(c net.Conn, drip string) (took time.Duration, ended bool) {
	defer c.Close()
	start, over := time.Now(), make(chan struct{})
	go func() {
		defer close(over)
		_, _ = io.Copy(io.Discard, c)
	}()
	ticker, limit := time.NewTicker(dripEvery), time.After(patience)
	defer ticker.Stop()
	for {
		select {
		case <-over:
			return time.Since(start), true
		case <-limit:
			return 0, false
		case <-ticker.C:
			_, _ = io.WriteString(c, drip) // that it has been ended is read
		}
	}
}

// crowd connects bad clients, and returns when all are: their fate comes later.
func crowd(socket string, n int, first, drip string) (fate func() Bad, err error) {
	var group sync.WaitGroup
	var mu sync.Mutex
	var all Bad
	for range n {
		c, err := net.Dial("unix", socket)
		if err == nil {
			_, err = io.WriteString(c, first)
		}
		if err != nil {
			return nil, err
		}
		group.Go(func() {
			took, ended := suffer(c, drip)
			mu.Lock()
			defer mu.Unlock()
			if !ended {
				all.Left++
				return
			}
			if all.Ended++; all.Ended == 1 {
				all.First = took.Seconds()
			}
			all.Last = took.Seconds()
		})
	}
	return func() Bad {
		group.Wait()
		return all
	}, nil
}

// ask sends the good requests, in bursts with pauses between.
func ask(socket, path string, burst, bursts int, pause, jitter time.Duration) Good {
	client := ipc.NewClient(socket)
	result := Good{Errors: map[string]int{}}
	var times []time.Duration
	var mu sync.Mutex
	for i := range bursts {
		if i > 0 {
			time.Sleep(pause + rand.N(jitter+1))
		}
		var group sync.WaitGroup
		for range burst {
			group.Go(func() {
				ctx, cancel := context.WithTimeout(context.Background(), patience)
				defer cancel()
				var reply json.RawMessage
				start := time.Now()
				err := client.Get(ctx, path, &reply)
				mu.Lock()
				defer mu.Unlock()
				times = append(times, time.Since(start))
				if result.Sent++; err == nil {
					result.OK++
					return
				}
				result.Errors[reason(err)]++
			})
		}
		group.Wait()
	}
	slices.Sort(times)
	result.P50, result.P99, result.Max = percentile(times, 50), percentile(times, 99), percentile(times, 100)
	return result
}

func reason(err error) string {
	var refused *ipc.Error
	if errors.As(err, &refused) {
		return fmt.Sprintf("%s: %s", refused.Code, refused.Message)
	}
	return err.Error()
}

// percentile returns the p-th percentile of sorted times, by nearest rank, in milliseconds.
func percentile(sorted []time.Duration, p int) float64 {
	if len(sorted) == 0 {
		return 0
	}
	rank := (len(sorted)*p + 99) / 100
	return float64(sorted[max(rank, 1)-1].Microseconds()) / 1000
}

func run() (failed bool, err error) {
	socket := flag.String("socket", "/run/tvsctld.sock", "the daemon's socket")
	path := flag.String("path", "/version", "what the good clients get, below /v1")
	burst := flag.Int("good", 0, "good clients at one time")
	bursts := flag.Int("bursts", 1, "how often they come")
	pause := flag.Duration("pause", 0, "between two bursts")
	jitter := flag.Duration("jitter", 0, "longer than that by up to so much, at random")
	counts := make([]*int, len(kinds))
	for i, kind := range kinds {
		counts[i] = flag.Int(kind.name, 0, "bad clients that "+kind.what)
	}
	flag.Parse()
	if flag.NArg() > 0 || !strings.HasPrefix(*path, "/") || *burst < 0 || *bursts < 1 || *pause < 0 || *jitter < 0 {
		return false, errors.New("that makes no sense; see clients -help")
	}
	fates := map[string]func() Bad{}
	for i, kind := range kinds {
		if *counts[i] > 0 {
			if fates[kind.name], err = crowd(*socket, *counts[i], kind.first, kind.drip); err != nil {
				return false, err
			}
		}
	}
	if len(fates) > 0 {
		fmt.Fprintln(os.Stderr, "all bad clients are connected")
	}
	result := struct {
		Good Good           `json:"good"`
		Bad  map[string]Bad `json:"bad"`
	}{ask(*socket, *path, *burst, *bursts, *pause, *jitter), map[string]Bad{}}
	for name, fate := range fates {
		result.Bad[name] = fate()
	}
	out := json.NewEncoder(os.Stdout)
	out.SetIndent("", "  ")
	return result.Good.OK < result.Good.Sent, out.Encode(result)
}

func main() {
	failed, err := run()
	if err != nil {
		fmt.Fprintln(os.Stderr, "clients:", err)
		os.Exit(2)
	}
	if failed {
		os.Exit(1)
	}
}
