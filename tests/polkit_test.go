//go:build e2e

package tests

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// busAttacks are what somebody might ask systemd for. What is not allowed to tvsctld is
// allowed to nobody.
var busAttacks = []struct {
	method  string // and its arguments
	allowed bool   // to tvsctld.service
}{
	{"RestartUnit ss tvsctld-nginx-test.service replace", true},
	{"StartUnit ss listed.service replace", true},
	{"StartUnit ss another-name.service replace", true}, // which is listed.service
	{"StopUnit ss listed.service replace", true},
	{"StartUnit ss tvsctld-nginx-test.service replace", false},
	{"StopUnit ss tvsctld-nginx-test.service replace", false},
	{"ReloadUnit ss listed.service replace", false},
	{"RestartUnit ss listed.service replace", false},
	{"KillUnit ssi tvsctld-nginx-test.service all 9", false},
	{"StartUnit ss plain.service replace", false},
	{"RestartUnit ss plain.service replace", false},
	{"StartUnit ss innocent.service replace", false}, // which is plain.service, and was listed
	{"StartUnit ss gone.service replace", false},
	{"RestartUnit ss tvsctld.service replace", false},
	{"StartUnit ss tvsctld-polkit.service replace", false},
	{"StartUnit ss ../../../tmp/listed.service replace", false},
	{"StartUnit ss listed.service/../plain.service replace", false},
	{"StartTransientUnit ssa(sv)a(sa(sv)) tvsctld-nginx-test.service EVIL", false},
	{"StartTransientUnit ssa(sv)a(sa(sv)) listed.service EVIL", false},
	{"StartTransientUnit ssa(sv)a(sa(sv)) another-name.service EVIL", false},
	{"StartTransientUnit ssa(sv)a(sa(sv)) gone.service EVIL", false},
	{"StartTransientUnit ssa(sv)a(sa(sv)) unlisted.service EVIL", false},
	{"SetUnitProperties sba(sv) tvsctld-nginx-test.service true 1 CPUWeight t 1", false},
	{"SetUnitProperties sba(sv) listed.service true 1 CPUWeight t 1", false},
	{"EnableUnitFiles asbb 1 listed.service false true", false},
	{"MaskUnitFiles asbb 1 plain.service false true", false},
	{"LinkUnitFiles asbb 1 /tmp/evil.service true true", false},
	{"SetEnvironment as 1 PATH=/tmp", false},
	{"Reload", false},
}

// evil is a transient unit that leaves a mark if it runs as root.
const evil = `replace 2 ExecStart a(sasb) 1 /bin/touch 2 /bin/touch /root/owned false Description s evil 0`

func busScript() string {
	var b strings.Builder
	for i, a := range busAttacks {
		method, arguments, _ := strings.Cut(strings.Replace(a.method, "EVIL", evil, 1), " ")
		words := strings.Fields(arguments)
		if len(words) > 0 {
			words[0] = "'" + words[0] + "'" // the signature
		}
		for j, word := range words {
			if word == "a(sasb)" {
				words[j] = "'a(sasb)'"
			}
		}
		fmt.Fprintf(&b, "printf '%d '; busctl --timeout=10 call org.freedesktop.systemd1 /org/freedesktop/systemd1 org.freedesktop.systemd1.Manager %s %s >/dev/null 2>&1 && echo yes || echo no\n", i, method, strings.Join(words, " "))
	}
	return b.String()
}

// TestPolkit: what the polkit rules let tvsctld do, from inside its service as a daemon
// that somebody has taken over, from outside as its user, and as another one.
func TestPolkit(t *testing.T) {
	t.Parallel()
	for _, suite := range suites {
		t.Run(suite, func(t *testing.T) {
			t.Parallel()
			m := installed(t, "polkit-"+suite, suite)
			for _, name := range []string{"listed", "gone", "plain"} {
				writeFile(t, m, "/etc/systemd/system/"+name+".service", "[Service]\nExecStart=sleep infinity\n")
			}
			m.sh(t, "cd /etc/systemd/system && ln -s listed.service another-name.service && ln -s plain.service innocent.service; useradd ana; usermod -aG tvs ana; systemctl daemon-reload")
			writeFile(t, m, "/etc/tvsctld/tvsctld.toml", "[units]\n\"listed.service\" = [\"start\", \"stop\"]\n\"gone.service\" = [\"start\"]\n\"innocent.service\" = [\"start\"]\n")
			m.sh(t, "systemctl restart tvsctld.service")
			const rule = "/etc/polkit-1/rules.d/60-tvsctld.rules"
			// Nothing waits for the helper that writes it.
			m.eventually(t, 10*time.Second, "the rule lists what there is", func() bool {
				return strings.Contains(m.run("cat", rule).out, `"gone.service"`)
			})
			if text := m.must(t, "cat", rule); strings.Contains(text, "innocent") {
				t.Errorf("the rule lists an alias: %s", text)
			}
			writeFile(t, m, "/srv/attack", busScript())
			// systemd starts it as it starts the daemon: its user, its sandbox, its cgroup.
			// polkitd reads the rule a moment after it is written.
			const allowed = "busctl --timeout=10 call org.freedesktop.systemd1 /org/freedesktop/systemd1 org.freedesktop.systemd1.Manager StopUnit ss listed.service replace"
			writeFile(t, m, "/etc/systemd/system/tvsctld.service.d/attack.conf", "[Service]\nExecStartPost=bash -c 'until "+allowed+"; do sleep 0.1; done; bash /srv/attack >/var/lib/tvsctld/attack'\n")
			m.sh(t, "rm /etc/systemd/system/gone.service; systemctl daemon-reload; systemctl restart tvsctld.service")
			m.eventually(t, 10*time.Second, "a unit that is gone is no longer in the rule", func() bool {
				return !strings.Contains(m.must(t, "cat", rule), `"gone.service"`)
			})
			goneMeanwhile(t, m)
			polkit := m.version(t, "polkitd")
			for _, who := range []struct {
				name, answers string
				mighty        bool
			}{
				{"tvsctld.service", m.must(t, "cat", "/var/lib/tvsctld/attack"), true},
				// Only from 124 on does polkit tell a service from another process of its user.
				{"a process of user tvsctld", m.must(t, "setpriv", "--reuid", "tvsctld", "--regid", "tvsctld", "--clear-groups", "bash", "/srv/attack"), polkit < 124},
				{"a member of tvs", m.must(t, "runuser", "-u", "ana", "--", "bash", "/srv/attack"), false},
			} {
				lines := strings.Split(strings.TrimSpace(who.answers), "\n")
				if len(lines) != len(busAttacks) {
					t.Errorf("%s: %d answers to %d attempts: %q", who.name, len(lines), len(busAttacks), who.answers)
					continue
				}
				for i, a := range busAttacks {
					answer := strings.TrimPrefix(lines[i], fmt.Sprintf("%d ", i))
					if want := map[bool]string{true: "yes", false: "no"}[a.allowed && who.mighty]; answer != want {
						t.Errorf("%s, %s: %s, want %s", who.name, a.method, answer, want)
					}
				}
			}
			if r := m.run("ls", "/root/owned"); r.code == 0 {
				t.Errorf("somebody became root: %s", r)
			}
			t.Logf("systemd %d, polkit %d: %d attempts by each of three", m.version(t, "systemd"), polkit, len(busAttacks))
		})
	}
}
