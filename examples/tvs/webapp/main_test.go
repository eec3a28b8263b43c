package main

import (
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"sync"
	"testing"

	"tvsctl/examples/tvs/storage-standin/documents"
)

func newApp(elastic string) *webapp {
	return &webapp{host: "replica-1", port: "8080", elastic: elastic, client: &http.Client{}}
}

func get(t *testing.T, h http.Handler, path string) (int, string) {
	t.Helper()
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
	body, _ := io.ReadAll(w.Result().Body)
	return w.Code, string(body)
}

func TestPageCountsVisits(t *testing.T) {
	store, err := documents.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	storage := httptest.NewServer(store)
	defer storage.Close()
	h := newApp(storage.URL).handler()

	var visitors sync.WaitGroup
	for range 20 {
		visitors.Go(func() { get(t, h, "/") })
	}
	visitors.Wait()
	code, body := get(t, h, "/")
	if code != http.StatusOK || !strings.Contains(body, "VISITS <b>21</b>") {
		t.Errorf("after 20 visits: %d\n%s", code, body)
	}
	// What tvsctl verify looks for when the service has no pattern of its own.
	found := regexp.MustCompile(`HOST[:=]?\s*(?:</?[a-z]+>\s*)*([A-Za-z0-9][A-Za-z0-9_.-]*)`).FindStringSubmatch(body)
	if len(found) != 2 || found[1] != "replica-1" {
		t.Errorf("the page does not name its replica: %q in\n%s", found, body)
	}
}

func TestPageWithoutDatabase(t *testing.T) {
	gone := httptest.NewServer(http.NotFoundHandler())
	gone.Close()
	broken := httptest.NewServer(http.NotFoundHandler())
	defer broken.Close()
	for name, elastic := range map[string]string{"none": "", "gone": gone.URL, "broken": broken.URL} {
		code, body := get(t, newApp(elastic).handler(), "/")
		for _, want := range []string{"database unavailable", "HOST <b>replica-1</b>", "PORT <b>8080</b>"} {
			if code != http.StatusOK || !strings.Contains(body, want) {
				t.Errorf("%s: %d, no %q in\n%s", name, code, want, body)
			}
		}
	}
}

func TestPaths(t *testing.T) {
	h := newApp("").handler()
	if code, _ := get(t, h, "/healthz"); code != http.StatusOK {
		t.Errorf("/healthz: %d", code)
	}
	if code, _ := get(t, h, "/favicon.ico"); code != http.StatusNotFound {
		t.Errorf("/favicon.ico: %d, and would count as a visit", code)
	}
}
