package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"tvsctl/ipc"
)

const (
	maxVerifyRequests = 100_000
	verifyTimeout     = 5 * time.Second
	// maxVerifyBody bounds how much of a page is searched for its replica.
	maxVerifyBody = 64 << 10
)

func (a *app) verifyCommand() *cobra.Command {
	var n int
	cmd := &cobra.Command{
		Use:   "verify [-n N] [URL]",
		Short: "Send requests through nginx and count which replica answered",
		Long: `Send requests through nginx, one after the other, and count how many each replica
answered. The page names its replica (HOST ...), or matches the pattern in the
service's label tvs.verify.match. Fails when a request failed, or when a ready
replica answered none.`,
		Example: `  tvsctl verify
  tvsctl verify -n 100 http://localhost:2024/`,
		Args: arguments(0, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if n < 1 || n > maxVerifyRequests {
				return usagef(cmd, "cannot verify: %d is not a number of requests from 1 to %d", n, maxVerifyRequests)
			}
			var status ipc.Status
			if err := a.client().Get(cmd.Context(), ipc.ProjectPath(a.project, ""), &status); err != nil {
				return err
			}
			target := status.Entry
			if len(args) == 1 {
				target = args[0]
			}
			target, err := entryURL(cmd, target)
			if err != nil {
				return err
			}
			tally, err := newTally(&status)
			if err != nil {
				return err
			}
			if err := sendAll(cmd.Context(), target, n, tally); err != nil {
				return err
			}
			tally.URL = target
			tally.conclude()
			a.show(tally, tally.write)
			return tally.failure(status.Project)
		},
	}
	cmd.Flags().IntVarP(&n, "requests", "n", 32, "send `N` requests, 1 to 100000")
	return cmd
}

func entryURL(cmd *cobra.Command, target string) (string, error) {
	if target == "" {
		err := usagef(cmd, "cannot verify: nginx publishes no port of this host")
		err.Hint = "give the URL: tvsctl verify http://HOST:PORT/"
		return "", err
	}
	if !strings.Contains(target, "://") {
		target = "http://" + target
	}
	parsed, err := url.Parse(target)
	if err != nil || parsed.Host == "" || parsed.Scheme != "http" && parsed.Scheme != "https" {
		return "", usagef(cmd, "cannot verify %q: it is not a URL of http or https", target)
	}
	return target, nil
}

// sendAll sends the requests and gives each answer to the tally. Each has a
// connection of its own, or nginx would have no reason to choose again.
func sendAll(ctx context.Context, target string, n int, tally *tally) error {
	client := &http.Client{Timeout: verifyTimeout, Transport: &http.Transport{DisableKeepAlives: true}}
	for range n {
		body, err := fetch(ctx, client, target)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		tally.Requests++
		if err != nil {
			tally.fail(err)
			continue
		}
		tally.count(body)
	}
	return nil
}

func fetch(ctx context.Context, client *http.Client, target string) ([]byte, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, target, nil)
	if err != nil {
		return nil, err
	}
	reply, err := client.Do(request)
	if err != nil {
		var wrapped *url.Error
		if errors.As(err, &wrapped) {
			err = wrapped.Err // without the URL, which the error's line has already
		}
		return nil, err
	}
	defer reply.Body.Close()
	body, err := io.ReadAll(io.LimitReader(reply.Body, maxVerifyBody))
	if err == nil && reply.StatusCode >= 400 {
		err = fmt.Errorf("the answer was %s", reply.Status)
	}
	return body, err
}
