// Command load sends requests at a fixed rate, each on its schedule however long
// the earlier ones take, and prints as JSON how they ended. It exits 1 when one failed.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
)

type options struct {
	url       string
	method    string
	rate      int
	count     int
	duration  time.Duration
	timeout   time.Duration
	keepalive bool
}

// Result is what load prints.
type Result struct {
	Sent   int            `json:"sent"`
	OK     int            `json:"ok"`
	Failed int            `json:"failed"`
	Errors map[string]int `json:"errors"`
	// FailedAt is when the first failures came to be known, maxFailures at most.
	FailedAt []time.Time `json:"failed_at,omitempty"`
	// Times of all requests, failed ones too, from when each was due.
	P50    float64        `json:"p50_ms"`
	P99    float64        `json:"p99_ms"`
	Max    float64        `json:"max_ms"`
	ByHost map[string]int `json:"by_host"`
	// Stall is the longest that this process was not given the processor when a
	// timer was due: by so much the machine itself was late.
	Stall float64 `json:"stall_ms"`
}

// maxFailures is of how many failures the time is told.
const maxFailures = 1000

// onceReader hides that its text could be read again, so that the HTTP client never
// repeats a request by itself: what is lost shall be seen.
type onceReader struct{ io.Reader }

var hostText = regexp.MustCompile(`HOST[:=]?\s*(?:</?[a-z]+>\s*)*([A-Za-z0-9][A-Za-z0-9_.-]*)`)

// idleTimeout is how long a connection is kept that is not used. A server may end one that
// is idle while a request is on its way to it, which the client cannot tell from a lost
// one (RFC 9112, section 9.3.1), so it has to be the first to end it: nginx, when it is
// reloaded, ends what was idle for keepalive_min_timeout, which is 3 s.
const idleTimeout = 2 * time.Second

// send does one request and returns the name of the replica that answered.
func send(client *http.Client, o options) (string, error) {
	const body = "one=1"
	var connection httptrace.GotConnInfo
	ctx := httptrace.WithClientTrace(context.Background(), &httptrace.ClientTrace{
		GotConn: func(c httptrace.GotConnInfo) { connection = c },
	})
	req, err := http.NewRequestWithContext(ctx, o.method, o.url, onceReader{strings.NewReader(body)})
	if err != nil {
		return "", err
	}
	req.ContentLength = int64(len(body))
	res, err := client.Do(req)
	if err != nil && connection.Reused {
		err = fmt.Errorf("%s on a connection that was idle for %v", reason(err), connection.IdleTime.Round(100*time.Millisecond))
	}
	if err != nil {
		return "", err
	}
	defer res.Body.Close()
	page, err := io.ReadAll(res.Body)
	if err != nil {
		return "", err
	}
	if res.StatusCode != http.StatusOK {
		return "", fmt.Errorf("status %d", res.StatusCode)
	}
	if m := hostText.FindSubmatch(page); m != nil {
		return string(m[1]), nil
	}
	return "unknown", nil
}

// reason names a failure without what differs from request to request.
func reason(err error) string {
	var timeout net.Error
	switch {
	case errors.As(err, &timeout) && timeout.Timeout():
		return "timeout"
	case errors.Is(err, syscall.ECONNREFUSED):
		return "connection refused"
	case errors.Is(err, syscall.ECONNRESET):
		return "connection reset"
	case errors.Is(err, syscall.EPIPE):
		return "broken pipe"
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return "connection closed"
	}
	var inURL *url.Error
	if errors.As(err, &inURL) {
		err = inURL.Err
	}
	return err.Error()
}

// load sends until the count or the duration is reached or ctx is done, and waits
// for all answers.
func load(ctx context.Context, o options) Result {
	client := &http.Client{
		Timeout: o.timeout,
		Transport: &http.Transport{
			DisableKeepAlives:   !o.keepalive,
			MaxIdleConnsPerHost: 10000,
			IdleConnTimeout:     idleTimeout,
		},
	}
	result := Result{Errors: map[string]int{}, ByHost: map[string]int{}}
	var times []time.Duration
	var mu sync.Mutex
	var open sync.WaitGroup

	stalled := watchStalls()
	interval := time.Second / time.Duration(o.rate)
	start := time.Now()
	timer := time.NewTimer(0)
	defer timer.Stop()
sending:
	for i := 0; o.count == 0 || i < o.count; i++ {
		due := start.Add(time.Duration(i) * interval)
		if o.duration > 0 && due.Sub(start) >= o.duration {
			break
		}
		timer.Reset(time.Until(due))
		select {
		case <-ctx.Done():
			break sending
		case <-timer.C:
		}
		result.Sent++
		open.Go(func() {
			host, err := send(client, o)
			took := time.Since(due)
			mu.Lock()
			defer mu.Unlock()
			times = append(times, took)
			if err != nil {
				if result.Failed++; result.Failed <= maxFailures {
					result.FailedAt = append(result.FailedAt, time.Now())
				}
				result.Errors[reason(err)]++
				return
			}
			result.OK++
			result.ByHost[host]++
		})
	}
	open.Wait()

	result.Stall = float64(stalled().Microseconds()) / 1000
	slices.Sort(times)
	result.P50, result.P99, result.Max = percentile(times, 50), percentile(times, 99), percentile(times, 100)
	return result
}

// watchStalls begins to watch how late a timer is; the returned function ends that
// and returns by how much at most.
func watchStalls() (stop func() time.Duration) {
	const every = 10 * time.Millisecond
	done, worst := make(chan struct{}), make(chan time.Duration)
	go func() {
		ticker := time.NewTicker(every)
		defer ticker.Stop()
		var most time.Duration
		for last := time.Now(); ; {
			select {
			case <-ticker.C:
				now := time.Now()
				most = max(most, now.Sub(last)-every)
				last = now
			case <-done:
				worst <- most
				return
			}
		}
	}()
	return func() time.Duration {
		close(done)
		return <-worst
	}
}

// percentile returns the p-th percentile of sorted times, by nearest rank, in milliseconds.
func percentile(sorted []time.Duration, p int) float64 {
	if len(sorted) == 0 {
		return 0
	}
	rank := (len(sorted)*p + 99) / 100
	return float64(sorted[max(rank, 1)-1].Microseconds()) / 1000
}

// loopback tells whether a URL leads to this machine: load is no tool against others.
func loopback(text string) bool {
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "http" {
		return false
	}
	ip := net.ParseIP(u.Hostname())
	return u.Hostname() == "localhost" || ip != nil && ip.IsLoopback()
}

func run() (failed bool, err error) {
	var o options
	flag.StringVar(&o.url, "url", "http://127.0.0.1:2024/", "where to send to")
	flag.StringVar(&o.method, "method", http.MethodPost, "request method")
	flag.IntVar(&o.rate, "rate", 100, "requests per second")
	flag.IntVar(&o.count, "count", 3000, "requests at most; 0: no bound")
	flag.DurationVar(&o.duration, "duration", 0, "send for this long at most; 0: no bound")
	flag.DurationVar(&o.timeout, "timeout", 5*time.Second, "per request")
	flag.BoolVar(&o.keepalive, "keepalive", false, "keep client connections open")
	untilClosed := flag.Bool("until-stdin-closes", false, "stop when standard input is closed")
	flag.Parse()
	switch {
	case flag.NArg() > 0:
		return false, fmt.Errorf("unexpected argument %q", flag.Arg(0))
	case !loopback(o.url):
		return false, fmt.Errorf("-url must be http and lead to this machine (localhost), not %q", o.url)
	case o.rate < 1 || o.rate > 100000:
		return false, errors.New("-rate must be between 1 and 100000")
	case o.count < 0 || o.duration < 0:
		return false, errors.New("-count and -duration cannot be negative")
	case o.count == 0 && o.duration == 0 && !*untilClosed:
		return false, errors.New("without -count it needs -duration or -until-stdin-closes")
	}
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	if *untilClosed {
		go func() {
			io.Copy(io.Discard, os.Stdin)
			stop()
		}()
	}
	result := load(ctx, o)
	out := json.NewEncoder(os.Stdout)
	out.SetIndent("", "  ")
	return result.Failed > 0, out.Encode(result)
}

func main() {
	failed, err := run()
	if err != nil {
		fmt.Fprintln(os.Stderr, "load:", err)
		os.Exit(2)
	}
	if failed {
		os.Exit(1)
	}
}
