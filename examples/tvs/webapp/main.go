// Command webapp is the example's application: a page that names the replica
// which answered and counts visits in Elasticsearch.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"html/template"
	"log"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"
)

const (
	// storageTimeout bounds a page's wait for the database: the page comes without
	// the count rather than late.
	storageTimeout = time.Second
	// drainTimeout bounds the wait for open requests on SIGTERM.
	drainTimeout = 10 * time.Second
)

// countVisit is one atomic step in the database, so that replicas never lose a visit
// of each other (Elasticsearch: Update API, scripted upsert).
const countVisit = `{"script":{"source":"ctx._source.count += params.n","params":{"n":1}},"upsert":{"count":1}}`

var page = template.Must(template.New("page").Parse(`<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><title>TVS</title></head>
<body>
<h1>TVS</h1>
<p>HOST <b>{{.Host}}</b></p>
<p>PORT <b>{{.Port}}</b></p>
{{if .Unavailable}}<p>database unavailable</p>{{else}}<p>VISITS <b>{{.Visits}}</b></p>{{end}}
</body>
</html>
`))

type webapp struct {
	host, port string
	elastic    string // base URL of Elasticsearch; empty: there is none
	client     *http.Client
}

func (a *webapp) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/{$}", a.servePage)
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	return mux
}

func (a *webapp) servePage(w http.ResponseWriter, r *http.Request) {
	visits, err := a.visit(r.Context())
	if err != nil {
		log.Printf("cannot count the visit: %v", err)
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	page.Execute(w, map[string]any{"Host": a.host, "Port": a.port, "Visits": visits, "Unavailable": err != nil})
}

// visit counts this visit and returns how many there were with it.
func (a *webapp) visit(ctx context.Context) (int, error) {
	if a.elastic == "" {
		return 0, errors.New("ELASTIC_URL is not set")
	}
	ctx, cancel := context.WithTimeout(ctx, storageTimeout)
	defer cancel()
	url := a.elastic + "/tvs/_update/visits?retry_on_conflict=10&_source=true"
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, strings.NewReader(countVisit))
	if err != nil {
		return 0, err
	}
	req.Header.Set("Content-Type", "application/json")
	res, err := a.client.Do(req)
	if err != nil {
		return 0, err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK && res.StatusCode != http.StatusCreated {
		return 0, fmt.Errorf("the database answers %s", res.Status)
	}
	var reply struct {
		Get struct {
			Source struct {
				Count int `json:"count"`
			} `json:"_source"`
		} `json:"get"`
	}
	if err := json.NewDecoder(res.Body).Decode(&reply); err != nil {
		return 0, fmt.Errorf("the database's answer: %w", err)
	}
	return reply.Get.Source.Count, nil
}

func run(ctx context.Context) error {
	host, err := os.Hostname()
	if err != nil {
		return err
	}
	port := os.Getenv("PORT")
	if port == "" {
		port = "8080"
	}
	app := &webapp{host: host, port: port, elastic: strings.TrimRight(os.Getenv("ELASTIC_URL"), "/"), client: &http.Client{}}
	server := &http.Server{Addr: ":" + port, Handler: app.handler(), ReadHeaderTimeout: 10 * time.Second}
	ended := make(chan error, 1)
	go func() { ended <- server.ListenAndServe() }()
	log.Printf("listening on %s as %s", server.Addr, host)
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
	}
	ctx, cancel := context.WithTimeout(context.Background(), drainTimeout)
	defer cancel()
	return server.Shutdown(ctx)
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	if err := run(ctx); err != nil {
		log.Fatal(err)
	}
}
