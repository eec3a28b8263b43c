package documents

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

func call(h http.Handler, method, path, body string) (int, string) {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(method, path, strings.NewReader(body)))
	return w.Code, strings.TrimSpace(w.Body.String())
}

func open(t *testing.T, dir string) *Store {
	t.Helper()
	s, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

const add = `{"script":{"source":"ctx._source.count += params.n","params":{"n":2}},"upsert":{"count":1}}`

func TestCalls(t *testing.T) {
	s := open(t, t.TempDir())
	for _, c := range []struct {
		method, path, body string
		code               int
		want               string
	}{
		{"GET", "/i/_doc/a", "", 404, `{"_id":"a","_index":"i","found":false}`},
		{"PUT", "/i/_doc/a", `{"count":7}`, 201, `{"_id":"a","_index":"i","_version":1,"result":"created"}`},
		{"GET", "/i/_doc/a", "", 200, `{"_id":"a","_index":"i","_source":{"count":7},"_version":1,"found":true}`},
		{"POST", "/i/_update/a", add, 200, `{"_id":"a","_index":"i","_version":2,"result":"updated"}`},
		{"POST", "/i/_update/a?_source=true", add, 200, `{"_id":"a","_index":"i","_version":3,"get":{"_source":{"count":11},"found":true},"result":"updated"}`},
		{"POST", "/i/_update/b?_source=true", add, 201, `{"_id":"b","_index":"i","_version":1,"get":{"_source":{"count":1},"found":true},"result":"created"}`},
		{"POST", "/i/_update/c", `{"script":{"source":"ctx._source.count += params.n"}}`, 404, `{"error":{"reason":"document missing","type":"document_missing_exception"},"status":404}`},
		{"POST", "/i/_update/b", `{"script":{"source":"ctx.op = 'delete'"}}`, 400, `illegal_argument_exception`},
		{"PUT", "/i/_doc/a", `{`, 400, `parsing_exception`},
	} {
		code, body := call(s, c.method, c.path, c.body)
		if code != c.code || body != c.want && !(code == 400 && strings.Contains(body, c.want)) {
			t.Errorf("%s %s %s:\n got %d %s\nwant %d %s", c.method, c.path, c.body, code, body, c.code, c.want)
		}
	}
}

func TestConcurrentUpdatesSurviveReopening(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	var writers sync.WaitGroup
	for range 100 {
		writers.Go(func() { call(s, "POST", "/i/_update/a", add) })
	}
	writers.Wait()
	if _, body := call(open(t, dir), "GET", "/i/_doc/a", ""); !strings.Contains(body, `"count":199`) {
		t.Errorf("after 100 updates: %s", body)
	}
}

func TestOpenRefusesDamage(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "documents.json"), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(dir); err == nil {
		t.Error("opened a damaged file: its documents would be lost at the next change")
	}
}

func TestChangeThatIsNotOnTheDiskFails(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	if code, body := call(s, "PUT", "/i/_doc/a", `{}`); code != http.StatusInternalServerError {
		t.Errorf("got %d %s", code, body)
	}
}
