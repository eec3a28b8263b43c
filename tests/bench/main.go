// Command bench runs in the test machine and measures tvsctl beside docker compose,
// in turn, and beside the floor: the same calls sent straight to the Engine API. It
// prints the times as JSON.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"time"
)

// Result is what bench prints: times in milliseconds, medians of the rounds.
type Result struct {
	Rounds      int     `json:"rounds"`
	Tvsctl      float64 `json:"tvsctl_ms"`
	Compose     float64 `json:"compose_ms"`
	Floor       float64 `json:"floor_ms"`
	StatusWarm  float64 `json:"status_warm_ms"`
	StatusCold  float64 `json:"status_cold_ms"`
	ComposePs   float64 `json:"compose_ps_ms"`
	ResidentKiB int     `json:"resident_kib"`
	// For one replica more or fewer, up to a few and up to many.
	UpFew    float64 `json:"up_few_ms"`
	UpMany   float64 `json:"up_many_ms"`
	DownFew  float64 `json:"down_few_ms"`
	DownMany float64 `json:"down_many_ms"`
	ManyKiB  int     `json:"many_kib"`
	// 99th percentiles of a thousand at once.
	Crowd     float64 `json:"crowd_ms"`
	CrowdBare float64 `json:"crowd_bare_ms"`
}

const (
	project = "tvs"
	from    = 1
	to      = 4

	clearing = time.Second
)

type bench struct {
	compose []string // docker compose with the project's files
	engine  *http.Client
}

func main() {
	rounds := flag.Int("rounds", 15, "how often each is measured")
	files := flag.String("files", "", "the compose files, comma separated")
	peer := flag.String("serve", "", "be a bare server on this socket")
	reply := flag.String("reply", "", "the file that it answers with")
	flag.Parse()
	if *peer != "" {
		fmt.Fprintln(os.Stderr, "bench:", serve(*peer, *reply))
		os.Exit(1)
	}
	b := &bench{compose: []string{"docker", "compose", "--progress", "quiet"}, engine: &http.Client{Transport: &http.Transport{
		MaxIdleConnsPerHost: 8,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", "/run/docker.sock")
		},
	}}}
	for file := range strings.SplitSeq(*files, ",") {
		b.compose = append(b.compose, "-f", file)
	}
	result, err := b.measure(*rounds)
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
	// Nobody is left to tell that standard output is closed.
	_ = json.NewEncoder(os.Stdout).Encode(result)
}

func (b *bench) measure(rounds int) (Result, error) {
	var tvsctl, compose, floor, warm, cold, ps []time.Duration
	for range rounds {
		for _, each := range []struct {
			into *[]time.Duration
			do   func() (time.Duration, error)
		}{
			{&compose, b.withCompose}, {&tvsctl, b.withTvsctl}, {&floor, b.withFloor},
		} {
			took, err := each.do()
			if err != nil {
				return Result{}, err
			}
			*each.into = append(*each.into, took)
		}
	}
	if err := run("tvsctl", "scale", "webapp", fmt.Sprint(to)); err != nil {
		return Result{}, err
	}
	for range 5 * rounds {
		for _, each := range []struct {
			into *[]time.Duration
			argv []string
		}{
			{&warm, []string{"tvsctl", "status"}}, {&ps, append(slices.Clone(b.compose), "ps")},
		} {
			took, err := timed(each.argv...)
			if err != nil {
				return Result{}, err
			}
			*each.into = append(*each.into, took)
		}
	}
	resident, err := residentSize()
	if err != nil {
		return Result{}, err
	}
	for range 2 * rounds {
		if err := run("systemctl", "stop", "tvsctld.service"); err != nil {
			return Result{}, err
		}
		took, err := timed("tvsctl", "status")
		if err != nil {
			return Result{}, err
		}
		cold = append(cold, took)
	}
	up, down, after, err := manyReplicas()
	if err != nil {
		return Result{}, err
	}
	crowd, bare, err := crowded()
	if err != nil {
		return Result{}, err
	}
	return Result{UpFew: up[to], UpMany: up[many], DownFew: down[to], DownMany: down[many], ManyKiB: after, Crowd: crowd, CrowdBare: bare, Rounds: rounds, Tvsctl: median(tvsctl), Compose: median(compose), Floor: median(floor),
		StatusWarm: median(warm), StatusCold: median(cold), ComposePs: median(ps), ResidentKiB: resident}, nil
}

// from1 brings the service to the count from which everything starts. The daemon
// runs only where it is what is measured: it would follow the others' changes.
func (b *bench) from1(daemon bool) error {
	if err := run("tvsctl", "scale", "webapp", fmt.Sprint(from)); err != nil {
		return err
	}
	last := []string{"systemctl", "stop", "tvsctld.service"}
	if daemon {
		last = []string{"tvsctl", "status"}
	}
	err := run(last...)
	// Docker and the kernel go on clearing up after the removed ones for a while.
	time.Sleep(clearing)
	return err
}

func (b *bench) withCompose() (time.Duration, error) {
	if err := b.from1(false); err != nil {
		return 0, err
	}
	return timed(append(slices.Clone(b.compose), "up", "-d", "--scale", fmt.Sprintf("webapp=%d", to), "--no-recreate")...)
}

func (b *bench) withTvsctl() (time.Duration, error) {
	if err := b.from1(true); err != nil {
		return 0, err
	}
	return timed("tvsctl", "scale", "webapp", fmt.Sprint(to))
}

// withFloor makes the same containers by bare calls, and has nginx test and reload
// by one exec.
func (b *bench) withFloor() (time.Duration, error) {
	if err := b.from1(false); err != nil {
		return 0, err
	}
	var sibling struct {
		Config          map[string]any
		HostConfig      map[string]any
		NetworkSettings struct {
			Networks map[string]struct{ Aliases []string }
		}
	}
	if err := b.call("GET", "/containers/"+project+"-webapp-1/json", nil, &sibling); err != nil {
		return 0, err
	}
	sibling.Config["Hostname"] = ""
	delete(sibling.Config, "Labels") // so that neither compose nor tvsctl takes them for its own
	endpoints := map[string]any{}
	for name := range sibling.NetworkSettings.Networks {
		endpoints[name] = map[string]any{"Aliases": []string{"floor"}}
	}
	body := map[string]any{"HostConfig": sibling.HostConfig, "NetworkingConfig": map[string]any{"EndpointsConfig": endpoints}}
	for key, value := range sibling.Config {
		body[key] = value
	}
	start := time.Now()
	errs := make([]error, to-from)
	var group sync.WaitGroup
	for i := range errs {
		group.Go(func() {
			name := fmt.Sprintf("floor-%d", i)
			if errs[i] = b.call("POST", "/containers/create?name="+name, body, nil); errs[i] == nil {
				errs[i] = b.call("POST", "/containers/"+name+"/start", nil, nil)
			}
		})
	}
	group.Wait()
	var made struct{ ID string }
	err := b.call("POST", "/containers/"+project+"-entry-1/exec", map[string]any{"AttachStdout": true, "AttachStderr": true,
		"Cmd": []string{"sh", "-c", "nginx -t && nginx -s reload"}}, &made)
	if err == nil {
		err = b.call("POST", "/exec/"+made.ID+"/start", map[string]any{}, nil)
	}
	took := time.Since(start)
	for i := range errs {
		if err == nil {
			err = errs[i]
		}
		if removeErr := b.call("DELETE", fmt.Sprintf("/containers/floor-%d?force=1", i), nil, nil); err == nil {
			err = removeErr
		}
	}
	return took, err
}

func (b *bench) call(method, path string, in, out any) error {
	var body bytes.Buffer
	if in != nil {
		if err := json.NewEncoder(&body).Encode(in); err != nil {
			return err
		}
	}
	request, err := http.NewRequest(method, "http://docker/v1.44"+path, &body)
	if err != nil {
		return err
	}
	request.Header.Set("Content-Type", "application/json")
	reply, err := b.engine.Do(request)
	if err != nil {
		return err
	}
	defer reply.Body.Close()
	text, err := io.ReadAll(reply.Body)
	if err != nil {
		return err
	}
	if reply.StatusCode >= 400 {
		return fmt.Errorf("%s %s: %s: %s", method, path, reply.Status, text)
	}
	if out == nil {
		return nil
	}
	return json.Unmarshal(text, out)
}

func run(argv ...string) error {
	_, err := timed(argv...)
	return err
}

func timed(argv ...string) (time.Duration, error) {
	start := time.Now()
	output, err := exec.Command(argv[0], argv[1:]...).CombinedOutput()
	if err != nil {
		return 0, fmt.Errorf("%v: %v\n%s", argv, err, output)
	}
	return time.Since(start), nil
}

func median(times []time.Duration) float64 {
	return float64(percentile(times, 50).Microseconds()) / 1000
}

// percentile is by nearest rank.
func percentile(times []time.Duration, p int) time.Duration {
	slices.Sort(times)
	return times[(len(times)*p+99)/100-1]
}

// residentSize is what the daemon has resident after all that.
func residentSize() (int, error) {
	pid, err := mainPID()
	if err != nil {
		return 0, err
	}
	status, err := os.ReadFile("/proc/" + pid + "/status")
	if err != nil {
		return 0, err
	}
	var kib int
	for line := range strings.Lines(string(status)) {
		if n, _ := fmt.Sscanf(line, "VmRSS: %d kB", &kib); n == 1 {
			return kib, nil
		}
	}
	return 0, fmt.Errorf("no VmRSS of process %s", pid)
}
