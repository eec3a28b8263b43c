// Command app is the application of the end-to-end tests. Any request is answered
// after ?ms= milliseconds with the name of the replica. How it starts, fails and
// ends is set by its environment:
//
//	READY_AFTER=5s   listens only after that
//	NEVER_READY=1    never listens
//	ON_TERM=drain    on SIGTERM finishes open requests (the default)
//	ON_TERM=exit     on SIGTERM exits at once
//	EXIT_AFTER=1s    exits after that, with status EXIT_CODE
//
// It listens on PORT, 8080 without. While the file /tmp/sick exists /healthz answers 503. "app -check" asks it, and is
// a container's health check.
package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log"
	"net/http"
	"os"
	"os/signal"
	"strconv"
	"syscall"
	"time"
)

const sickFile = "/tmp/sick"

func port() string { return cmp.Or(os.Getenv("PORT"), "8080") }

func check() error {
	client := &http.Client{Timeout: 2 * time.Second}
	res, err := client.Get("http://127.0.0.1:" + port() + "/healthz")
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("/healthz answers %s", res.Status)
	}
	return nil
}

func handler(host string) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/healthz", func(w http.ResponseWriter, _ *http.Request) {
		if _, err := os.Stat(sickFile); err == nil {
			http.Error(w, "sick", http.StatusServiceUnavailable)
		}
	})
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		ms, _ := strconv.Atoi(r.FormValue("ms"))
		select {
		case <-time.After(time.Duration(ms) * time.Millisecond):
		case <-r.Context().Done():
		}
		fmt.Fprintf(w, "HOST %s\nPORT %s\n", host, port())
	})
	return mux
}

func duration(name string) time.Duration {
	text := os.Getenv(name)
	if text == "" {
		return 0
	}
	d, err := time.ParseDuration(text)
	if err != nil {
		log.Fatalf("%s: %v", name, err)
	}
	return d
}

func main() {
	if len(os.Args) > 1 && os.Args[1] == "-check" {
		if err := check(); err != nil {
			log.Fatal(err)
		}
		return
	}
	term := make(chan os.Signal, 1)
	signal.Notify(term, syscall.SIGTERM, os.Interrupt)
	var end <-chan time.Time
	if after := duration("EXIT_AFTER"); after > 0 {
		end = time.After(after)
	}
	var listen <-chan time.Time
	if os.Getenv("NEVER_READY") == "" {
		listen = time.After(duration("READY_AFTER"))
	}

	host, err := os.Hostname()
	if err != nil {
		log.Fatal(err)
	}
	server := &http.Server{Addr: ":" + port(), Handler: handler(host)}
	log.Printf("starting as %s", host)
	if listen == nil {
		log.Print("waiting for a database that never comes")
	}
	for {
		select {
		case <-listen:
			go func() {
				if err := server.ListenAndServe(); !errors.Is(err, http.ErrServerClosed) {
					log.Fatal(err)
				}
			}()
			log.Printf("listening on %s", server.Addr)
		case <-end:
			code, _ := strconv.Atoi(os.Getenv("EXIT_CODE"))
			log.Printf("exiting with status %d as told", code)
			os.Exit(code)
		case <-term:
			if os.Getenv("ON_TERM") != "exit" {
				server.Shutdown(context.Background())
			}
			os.Exit(0)
		}
	}
}
