package daemon

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"tvsctl/dockerops"
	"tvsctl/ipc"
	"tvsctl/nginx"
)

func TestRoutesAreComplete(t *testing.T) {
	seen := map[string]bool{}
	for _, r := range routes {
		key := r.method + " " + r.path
		if seen[key] {
			t.Errorf("%s is there twice", key)
		}
		seen[key] = true
		_, known := r.access.verb.Info()
		if r.access.kind == 0 || known != (r.access.kind == whole || r.access.kind == partly || r.access.kind == onUnit || r.access.kind == host) {
			t.Errorf("%s has no access rule", key)
		}
		if onOne := strings.Contains(r.path, "{unit}"); onOne != (r.access.kind == onUnit) {
			t.Errorf("%s: its access is not about what its path is about", key)
		}
		if inProject := strings.Contains(r.path, "{project}"); inProject != (r.access.kind == whole || r.access.kind == partly) {
			t.Errorf("%s: its access is not about what its path is about", key)
		}
		if accessNames[r.access.kind] == "" {
			t.Errorf("%s: the index has no word for its access", key)
		}
		if r.handle == nil || r.path != "/v1" && !strings.HasPrefix(r.path, "/v1/") {
			t.Errorf("%s is incomplete", key)
		}
		if r.method != http.MethodGet && r.method != http.MethodPost && r.method != http.MethodPut {
			t.Errorf("%s: a method that the client has not", key)
		}
	}
}

func TestRoutesAreDocumented(t *testing.T) {
	text, err := os.ReadFile("../ipc/doc.go")
	if err != nil {
		t.Fatal(err)
	}
	var documented, served []string
	for _, m := range regexp.MustCompile(`(?m)^//\t([A-Z]+)\s+(/v1[^\s\[]*)`).FindAllStringSubmatch(string(text), -1) {
		documented = append(documented, m[1]+" "+m[2])
	}
	for _, r := range routes {
		served = append(served, r.method+" "+r.path)
	}
	slices.Sort(documented)
	slices.Sort(served)
	if !slices.Equal(documented, served) {
		t.Errorf("ipc/doc.go has\n%s\nthe table\n%s", strings.Join(documented, "\n"), strings.Join(served, "\n"))
	}
}

func TestRead(t *testing.T) {
	for _, c := range []struct {
		name, body string
		code       ipc.Code // empty: it is read
		says       string
	}{
		{"good", `{"services":{"webapp":3}}`, "", ""},
		{"with space after it", `{"services":{"webapp":3}}` + " \n\t", "", ""},
		{"nothing", "", ipc.CodeBadRequest, "EOF"},
		{"garbage", "\x00\x01scale", ipc.CodeBadRequest, "invalid character"},
		{"half", `{"services":`, ipc.CodeBadRequest, "unexpected EOF"},
		{"an unknown field", `{"services":{"webapp":3},"force":true}`, ipc.CodeBadRequest, `unknown field "force"`},
		{"another type", `{"services":{"webapp":"3"}}`, ipc.CodeBadRequest, "cannot unmarshal"},
		{"a fraction", `{"services":{"webapp":1.5}}`, ipc.CodeBadRequest, "cannot unmarshal"},
		{"two values", `{"services":{"webapp":3}} {}`, ipc.CodeBadRequest, "more than one JSON value"},
		{"a stray bracket", `{"services":{"webapp":3}}}`, ipc.CodeBadRequest, "invalid character"},
		{"too large", `{"services":{"` + strings.Repeat("x", ipc.MaxRequestBytes) + `":1}}`, ipc.CodeTooLarge, "larger than"},
		{"too large after the value", `{"services":{"webapp":3}}` + strings.Repeat(" ", ipc.MaxRequestBytes), ipc.CodeTooLarge, "larger than"},
	} {
		w, r := httptest.NewRecorder(), httptest.NewRequest("POST", "/", strings.NewReader(c.body))
		r.Body = http.MaxBytesReader(w, r.Body, ipc.MaxRequestBytes)
		var request ipc.ScaleRequest
		err := read(r, &request)
		if c.code == "" {
			if err != nil || request.Services["webapp"] != 3 {
				t.Errorf("%s: %v, %v", c.name, request, err)
			}
			continue
		}
		if refused, ok := err.(*ipc.Error); !ok || refused.Code != c.code || !strings.Contains(refused.Message, c.says) || len(refused.Message) > 200 {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

func TestDescribeError(t *testing.T) {
	own := &ipc.Error{Code: ipc.CodeConflict, Message: "mine"}
	for _, c := range []struct {
		err  error
		code ipc.Code
		says string
		hint bool
	}{
		{own, ipc.CodeConflict, "mine", false},
		{&dockerops.RefusedError{Reason: dockerops.UnknownService, Service: "x", Text: "no"}, ipc.CodeUnknownService, "cannot scale x: no", false},
		{&dockerops.RefusedError{Reason: dockerops.NotScalable, Service: "x", Text: "no", Hint: "h"}, ipc.CodeNotScalable, "cannot scale x: no", true},
		{&dockerops.RefusedError{Reason: dockerops.OutOfRange, Service: "x", Text: "no"}, ipc.CodeOutOfRange, "cannot scale x: no", false},
		{&dockerops.NotReadyError{Replica: "r", Text: "exited", Logs: []string{"l"}}, ipc.CodeNotReady, "r exited", true},
		{&dockerops.ComposeError{Text: "failed", Output: []string{"l"}}, ipc.CodeCompose, "failed", false},
		{&dockerops.ComposeError{Text: "missing", Missing: true}, ipc.CodeCompose, "missing", true},
		{&nginx.ConfigError{Nginx: "entry", Text: "refuses", Output: []string{"l"}}, ipc.CodeNginx, "entry refuses: l", true},
		{fmt.Errorf("%w: no socket", dockerops.ErrUnavailable), ipc.CodeDocker, "no socket", true},
		{errors.New("something else"), ipc.CodeInternal, "something else", false},
	} {
		for _, err := range []error{c.err, fmt.Errorf("around: %w", c.err), errors.Join(c.err, errors.New("and more"))} {
			got := describeError(err)
			if got.Code != c.code || !strings.Contains(got.Message, c.says) || (got.Hint != "") != c.hint {
				t.Errorf("%v: %+v", err, got)
			}
		}
	}
	if got := describeError(&dockerops.NotReadyError{Logs: []string{"l"}}); !slices.Equal(got.Detail, []string{"l"}) {
		t.Errorf("detail %q", got.Detail)
	}
}
