package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"tvsctl/policy"
)

func TestPolicyCheck(t *testing.T) {
	t.Chdir(t.TempDir())
	for name, text := range map[string]string{
		"good.toml":      "[[rule]]\nusers = ['root']\nrole = 'viewer'\n",
		"bad.toml":       "[[rule]]\nuser = ['root']\nusers = ['root']\nrole = 'boss'\n",
		"strangers.toml": "[[rule]]\nusers = ['root', 'no-such-user', 4000000000]\ngroups = ['no-such-group', 'root']\nrole = 'viewer'\n[[rule]]\nusers = ['*']\neffect = 'deny'\nprojects = ['x']\n",
		"dir/b.toml":     "",
		"dir/a.toml":     "[[rule]]\nusers = ['root']\nrole = 'viewer'\n",
		"dir/c.txt":      "nonsense",
		"none/c.txt":     "nonsense",
	} {
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(text), 0o666); err != nil { // a draft need not be root's
			t.Fatal(err)
		}
	}
	const bad = "bad.toml:2:1: unknown key \"user\": the keys of a rule are name, users, groups, role, effect, verbs, projects, services, units, images, sockets, max_replicas and rate\n" +
		"bad.toml:4:8: there is no role \"boss\": the roles are viewer, operator, deployer and admin\n"
	for _, c := range []struct {
		args           string
		status         int
		stdout, stderr string
	}{
		{"check good.toml", 0, "good.toml: ok, 1 rule\n", ""},
		{"check dir", 0, "dir/a.toml: ok, 1 rule\ndir/b.toml: ok, 0 rules\n", ""},
		{"check bad.toml good.toml", exitFailure, "good.toml: ok, 1 rule\n", bad},
		{"check strangers.toml", 0, "strangers.toml: ok, 2 rules\n",
			"strangers.toml:1: warning: tvsctld knows no user \"no-such-user\": it reads /etc/passwd and /etc/group; of others give the number\n" +
				"strangers.toml:1: warning: tvsctld knows no group \"no-such-group\": it reads /etc/passwd and /etc/group; of others give the number\n"},
		{"check gone.toml", exitFailure, "", "tvsctld: cannot check: stat gone.toml: no such file or directory\n"},
		{"check none", exitFailure, "", "tvsctld: cannot check: none has no file *.toml\n"},
		{"check -q", exitUsage, "", "tvsctld: policy check has no option -q\n" + policyUsage},
		{"check -help", 0, policyUsage, ""},
		{"-h", 0, policyUsage, ""},
		{"show", exitUsage, "", "tvsctld: there is no policy show\n" + policyUsage},
		{"", exitUsage, "", policyUsage},
	} {
		var stdout, stderr bytes.Buffer
		if status := policyCommand(strings.Fields(c.args), &stdout, &stderr); status != c.status || stdout.String() != c.stdout || stderr.String() != c.stderr {
			t.Errorf("policy %s: %d\n%s%s", c.args, status, stdout.String(), stderr.String())
		}
	}
	var stderr bytes.Buffer
	if status := run([]string{"policy", "check", "bad.toml"}, &stderr); status != exitFailure || stderr.String() != bad {
		t.Errorf("%d, %s", status, stderr.String())
	}
}

func TestPolicyCheckInstalled(t *testing.T) {
	dir, me := t.TempDir(), uint32(os.Geteuid())
	file, dropins := filepath.Join(dir, "policy.toml"), filepath.Join(dir, "policy.d")
	check := func() (int, string, string) {
		var stdout, stderr bytes.Buffer
		status := checkInstalled(file, dropins, &stdout, &stderr, me)
		return status, stdout.String(), stderr.String()
	}
	if status, stdout, _ := check(); status != 0 || !strings.HasPrefix(stdout, file+" is not there: the built-in policy is in force\n"+policy.DefaultName+": ok, 1 rule\n") {
		t.Errorf("%d, %s", status, stdout)
	}
	for _, path := range []string{file, filepath.Join(dropins, "a.toml")} {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte("[[rule]]\nusers = ['root']\nrole = 'viewer'\n"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if status, stdout, stderr := check(); status != 0 || stdout != file+", "+dropins+"/a.toml: ok, 2 rules\n" || stderr != "" {
		t.Errorf("%d, %s%s", status, stdout, stderr)
	}
	if err := os.Chmod(file, 0o666); err != nil {
		t.Fatal(err)
	}
	if status, stdout, stderr := check(); status != exitFailure || stdout != "" || stderr != file+": cannot trust it: others than its owner can write it (mode 0666): chmod go-w "+file+"\n" {
		t.Errorf("%d, %s%s", status, stdout, stderr)
	}
}
