// Package documents speaks the few document calls of Elasticsearch that the
// example needs, and keeps the documents in one file:
//
//	GET  /INDEX/_doc/ID
//	PUT  /INDEX/_doc/ID       (also POST)
//	POST /INDEX/_update/ID    with the script "ctx._source.FIELD += params.NAME" and an upsert
package documents

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"sync"
)

type document struct {
	Version int            `json:"version"`
	Source  map[string]any `json:"source"`
}

// Store is the documents and their HTTP handler. A change is answered when it is
// on the disk.
type Store struct {
	http.ServeMux
	path string

	mu      sync.Mutex
	docs    map[string]*document // by INDEX/ID
	changes int

	// Changes that wait for the disk at the same time are written at once.
	disk  sync.Mutex
	saved int // of changes
}

// Open reads the documents in the directory.
func Open(dir string) (*Store, error) {
	s := &Store{path: filepath.Join(dir, "documents.json"), docs: map[string]*document{}}
	data, err := os.ReadFile(s.path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return nil, err
	default:
		if err := json.Unmarshal(data, &s.docs); err != nil {
			return nil, fmt.Errorf("cannot read %s: %v", s.path, err)
		}
	}
	s.HandleFunc("GET /{index}/_doc/{id}", s.get)
	s.HandleFunc("PUT /{index}/_doc/{id}", s.put)
	s.HandleFunc("POST /{index}/_doc/{id}", s.put)
	s.HandleFunc("POST /{index}/_update/{id}", s.update)
	return s, nil
}

func key(r *http.Request) string { return r.PathValue("index") + "/" + r.PathValue("id") }

func (s *Store) get(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	reply := map[string]any{"_index": r.PathValue("index"), "_id": r.PathValue("id"), "found": false}
	status := http.StatusNotFound
	if doc := s.docs[key(r)]; doc != nil {
		status = http.StatusOK
		reply["found"], reply["_version"], reply["_source"] = true, doc.Version, doc.Source
	}
	body, _ := json.Marshal(reply) // under the lock: it shares the document
	s.mu.Unlock()
	answer(w, status, body)
}

func (s *Store) put(w http.ResponseWriter, r *http.Request) {
	var source map[string]any
	if !decode(w, r, &source) {
		return
	}
	s.change(w, r, func(*document) (map[string]any, error) { return source, nil })
}

var increment = regexp.MustCompile(`^ctx\._source\.(\w+) \+= params\.(\w+)$`)

func (s *Store) update(w http.ResponseWriter, r *http.Request) {
	var req struct {
		Script struct {
			Source string             `json:"source"`
			Params map[string]float64 `json:"params"`
		} `json:"script"`
		Upsert map[string]any `json:"upsert"`
	}
	if !decode(w, r, &req) {
		return
	}
	names := increment.FindStringSubmatch(req.Script.Source)
	if names == nil {
		fail(w, http.StatusBadRequest, "illegal_argument_exception", "the stand-in knows no script but ctx._source.FIELD += params.NAME")
		return
	}
	s.change(w, r, func(doc *document) (map[string]any, error) {
		if doc == nil {
			if req.Upsert == nil {
				return nil, errors.New("document missing")
			}
			return req.Upsert, nil
		}
		value, _ := doc.Source[names[1]].(float64)
		doc.Source[names[1]] = value + req.Script.Params[names[2]]
		return doc.Source, nil
	})
}

// change replaces a document by what edit makes of it (nil: there is none yet) and
// answers as Elasticsearch does.
func (s *Store) change(w http.ResponseWriter, r *http.Request, edit func(*document) (map[string]any, error)) {
	s.mu.Lock()
	doc := s.docs[key(r)]
	source, err := edit(doc)
	if err != nil {
		s.mu.Unlock()
		fail(w, http.StatusNotFound, "document_missing_exception", err.Error())
		return
	}
	status, result := http.StatusOK, "updated"
	if doc == nil {
		status, result = http.StatusCreated, "created"
		doc = &document{}
		s.docs[key(r)] = doc
	}
	doc.Version++
	doc.Source = source
	s.changes++
	change := s.changes
	reply := map[string]any{"_index": r.PathValue("index"), "_id": r.PathValue("id"), "_version": doc.Version, "result": result}
	if r.URL.Query().Get("_source") == "true" {
		reply["get"] = map[string]any{"found": true, "_source": doc.Source}
	}
	body, _ := json.Marshal(reply)
	s.mu.Unlock()

	if err := s.save(change); err != nil {
		fail(w, http.StatusInternalServerError, "io_exception", err.Error())
		return
	}
	answer(w, status, body)
}

// save returns when the change is on the disk.
func (s *Store) save(change int) error {
	s.disk.Lock()
	defer s.disk.Unlock()
	if s.saved >= change {
		return nil
	}
	s.mu.Lock()
	data, err := json.Marshal(s.docs)
	upTo := s.changes
	s.mu.Unlock()
	if err != nil {
		return err
	}
	if err := replace(s.path, data); err != nil {
		return err
	}
	s.saved = upTo
	return nil
}

// replace writes the file such that a crash leaves the old or the new contents.
func replace(path string, data []byte) error {
	f, err := os.Create(path + ".new")
	if err != nil {
		return err
	}
	defer f.Close()
	if _, err := f.Write(data); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return err
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	defer dir.Close()
	return dir.Sync()
}

func decode(w http.ResponseWriter, r *http.Request, v any) bool {
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 1<<20)).Decode(v); err != nil {
		fail(w, http.StatusBadRequest, "parsing_exception", err.Error())
		return false
	}
	return true
}

func fail(w http.ResponseWriter, status int, kind, reason string) {
	body, _ := json.Marshal(map[string]any{"error": map[string]string{"type": kind, "reason": reason}, "status": status})
	answer(w, status, body)
}

func answer(w http.ResponseWriter, status int, body []byte) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	w.Write(append(body, '\n'))
}
