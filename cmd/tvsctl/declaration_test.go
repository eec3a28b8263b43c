package main

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"tvsctl/ipc"
)

// write makes files below a new directory of the given name.
func write(t *testing.T, name string, files map[string]string) string {
	t.Helper()
	directory := filepath.Join(t.TempDir(), name)
	if err := os.Mkdir(directory, 0o755); err != nil {
		t.Fatal(err)
	}
	for file, content := range files {
		if err := os.WriteFile(filepath.Join(directory, file), []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return directory
}

func TestProjectName(t *testing.T) {
	for _, c := range []struct{ directory, content, want string }{
		{"shop", "services: {}\n", "shop"},
		{"My Shop_2.0", "", "myshop_20"},
		{"_-x", "", "x"},
		{"dir", "name: tvs\n", "tvs"},
		{"dir", "# name: no\nservices:\n  a:\n    name: no\nname:   \"tvs\" # yes\n", "tvs"},
		{"dir", "name: 'tvs'\r\n", "tvs"},
		{"dir", "name: tvs # comment\n", "tvs"},
		{"dir", "name:\n", "dir"},
		{"dir", "name: ${X:-tvs}\n", "error"},
		{"...", "", "error"},
	} {
		directory := write(t, "d", map[string]string{"compose.yaml": c.content})
		got, err := projectName(&ipc.Declaration{Directory: "/srv/" + c.directory, Files: []string{filepath.Join(directory, "compose.yaml")}})
		if err != nil {
			got = "error"
		}
		equal(t, "name for "+c.directory+" "+c.content, got, c.want)
	}
}

func TestUpDeclares(t *testing.T) {
	plain := write(t, "Plain", map[string]string{"docker-compose.yml": "", "docker-compose.yaml": ""})
	both := write(t, "both", map[string]string{"compose.yaml": "name: shop\n", "docker-compose.yml": "",
		"compose.override.yaml": "services: {}\n", "prod.yaml": "name: prod\n", "prod.env": ""})
	file := func(directory, name string) string { return filepath.Join(directory, name) }
	for _, c := range []struct {
		name, project string
		env           map[string]string
		args          []string
		want          ipc.Declaration
	}{
		{"a directory", "plain", nil, []string{"-f", plain},
			ipc.Declaration{Directory: plain, Files: []string{file(plain, "docker-compose.yml")}}},
		{"a directory with an override", "shop", nil, []string{"-f", both + "/."},
			ipc.Declaration{Directory: both, Files: []string{file(both, "compose.yaml"), file(both, "compose.override.yaml")}}},
		{"files", "prod", nil, []string{"-f", file(both, "compose.yaml"), "-f", file(both, "../both/prod.yaml"),
			"--env-file", file(both, "prod.env"), "--profile", "a", "--profile", "b"},
			ipc.Declaration{Directory: both, Files: []string{file(both, "compose.yaml"), file(both, "prod.yaml")},
				EnvFiles: []string{file(both, "prod.env")}, Profiles: []string{"a", "b"}}},
		{"-p", "given", nil, []string{"-p", "given", "-f", plain},
			ipc.Declaration{Directory: plain, Files: []string{file(plain, "docker-compose.yml")}}},
		{"TVS_PROJECT", "fromenv", map[string]string{"TVS_PROJECT": "fromenv"}, []string{"-f", plain},
			ipc.Declaration{Directory: plain, Files: []string{file(plain, "docker-compose.yml")}}},
	} {
		routes := changed("/projects/" + c.project + "/up")
		routes["PUT /projects/"+c.project+"/declaration"] = struct{}{}
		daemon := newFake(t, routes)
		got := daemon.tvsctlContext(context.Background(), c.env, append([]string{"up"}, c.args...)...)
		if got.status != 0 {
			t.Errorf("%s exits %d: %s", c.name, got.status, got.err)
			continue
		}
		contains(t, c.name, got.out, "a line of compose\n")
		asked := daemon.asked()
		body, ok := strings.CutPrefix(asked[0], "PUT /projects/"+c.project+"/declaration ")
		var declared ipc.Declaration
		if !ok || json.Unmarshal([]byte(body), &declared) != nil || !reflect.DeepEqual(declared, c.want) {
			t.Errorf("%s asks %s", c.name, asked[0])
		}
		equal(t, c.name, asked[1], "POST /projects/"+c.project+"/up {}")
	}
}

func TestUpRelativePath(t *testing.T) {
	directory := write(t, "shop", map[string]string{"compose.yml": ""})
	t.Chdir(directory)
	got, err := newDeclaration([]string{"."}, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	if got.Directory != directory || got.Files[0] != filepath.Join(directory, "compose.yml") {
		t.Errorf("resolves to %+v", got)
	}
}

func TestUpRefuses(t *testing.T) {
	good := write(t, "good", map[string]string{"compose.yaml": ""})
	empty := write(t, "empty", nil)
	for message, args := range map[string][]string{
		"no such file or directory":      {"-f", filepath.Join(good, "nosuch.yaml")},
		"the directory has no compose":   {"-f", empty},
		`cannot declare "": it`:          {"-f", ""},
		`cannot declare project Up Case`: {"-f", good, "-p", "Up Case"},
		"nosuch.env":                     {"-f", good, "--env-file", filepath.Join(good, "nosuch.env")},
		"it is not a file":               {"-f", good, "--env-file", empty},
	} {
		daemon := newFake(t, nil)
		got := daemon.tvsctl(append([]string{"up"}, args...)...)
		if got.status != ipc.ExitUsage || len(daemon.asked()) > 0 {
			t.Errorf("%q exits %d, asks %q", args, got.status, daemon.asked())
		}
		contains(t, "stderr", got.err, message)
	}
}
