package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

const (
	crowd       = 1000
	crowdRounds = 7
	socket      = "/run/tvsctld.sock"
	statusPath  = "/v1/projects/" + project
)

// crowded measures how long a thousand clients at once wait for a status, and for the
// same reply from a bare server of package net/http; both on the first core, the
// clients on the second. It returns the medians of the rounds' 99th percentiles.
func crowded() (daemon, bare float64, err error) {
	reply, err := fetch(socket)
	if err != nil {
		return 0, 0, err
	}
	dir, err := os.MkdirTemp("", "crowd")
	if err != nil {
		return 0, 0, err
	}
	defer os.RemoveAll(dir)
	file, peer := filepath.Join(dir, "reply"), filepath.Join(dir, "s")
	if err := os.WriteFile(file, reply, 0o600); err != nil {
		return 0, 0, err
	}
	self, err := os.Executable()
	if err != nil {
		return 0, 0, err
	}
	server := exec.Command("taskset", "-c", "0", self, "-serve", peer, "-reply", file)
	if err := server.Start(); err != nil {
		return 0, 0, err
	}
	defer func() {
		_ = server.Process.Kill()
		_ = server.Wait() // it was killed
	}()
	pid, err := mainPID()
	if err != nil {
		return 0, 0, err
	}
	for _, pin := range [][]string{{"-apc", "0", pid}, {"-apc", "1", fmt.Sprint(os.Getpid())}} {
		if err := run(append([]string{"taskset"}, pin...)...); err != nil {
			return 0, 0, err
		}
	}
	for fresh := 0; ; fresh++ { // the server may not listen yet
		if _, err = fetch(peer); err == nil {
			break
		} else if fresh > 100 {
			return 0, 0, err
		}
		time.Sleep(20 * time.Millisecond)
	}
	var daemons, bares []time.Duration
	for range crowdRounds {
		for _, each := range []struct {
			socket string
			into   *[]time.Duration
		}{{socket, &daemons}, {peer, &bares}} {
			worst, err := storm(each.socket)
			if err != nil {
				return 0, 0, err
			}
			*each.into = append(*each.into, worst)
		}
	}
	return median(daemons), median(bares), nil
}

// storm lets all clients ask at once, and returns the 99th percentile of their times.
func storm(socket string) (time.Duration, error) {
	times, errs := make([]time.Duration, crowd), make([]error, crowd)
	var group sync.WaitGroup
	start := make(chan struct{})
	for i := range crowd {
		group.Go(func() {
			<-start
			began := time.Now()
			_, errs[i] = fetch(socket)
			times[i] = time.Since(began)
		})
	}
	close(start)
	group.Wait()
	if err := errors.Join(errs...); err != nil {
		return 0, fmt.Errorf("not all of %d were answered: %v", crowd, err)
	}
	return percentile(times, 99), nil
}

func fetch(socket string) ([]byte, error) {
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", socket)
	}}}
	reply, err := client.Get("http://tvsctld" + statusPath)
	if err != nil {
		return nil, err
	}
	defer reply.Body.Close()
	text, err := io.ReadAll(reply.Body)
	if err == nil && reply.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", reply.Status, text)
	}
	return text, err
}

// serve is the bare server.
func serve(socket, file string) error {
	reply, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	listener, err := net.Listen("unix", socket)
	if err != nil {
		return err
	}
	return http.Serve(listener, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(reply)
	}))
}

func mainPID() (string, error) {
	pid, err := exec.Command("systemctl", "show", "-p", "MainPID", "--value", "tvsctld.service").Output()
	return strings.TrimSpace(string(pid)), err
}
