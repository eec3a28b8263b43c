//go:build e2e

package tests

import (
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"
	"time"

	bolt "go.etcd.io/bbolt"

	"tvsctl/ipc"
)

// later returns a kept value with every time in it moved by that.
func later(value any, by time.Duration) any {
	switch v := value.(type) {
	case map[string]any:
		for key := range v {
			v[key] = later(v[key], by)
		}
	case []any:
		for i := range v {
			v[i] = later(v[i], by)
		}
	case string:
		if at, err := time.Parse(time.RFC3339Nano, v); err == nil && at.Year() > 1 {
			return at.Add(by).Format(time.RFC3339Nano)
		}
	}
	return value
}

// setBack makes of the kept operations of a daemon that does not run those of one whose
// clock was set back since. It returns the states that they have.
func (m *machine) setBack(t *testing.T, by time.Duration) (states []string) {
	t.Helper()
	db, err := bolt.Open(filepath.Join(m.root, "var/lib/tvsctld/state.db"), 0o600, &bolt.Options{Timeout: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	err = db.Update(func(tx *bolt.Tx) error {
		bucket := tx.Bucket([]byte("operations"))
		moved := map[string][]byte{}
		err := bucket.ForEach(func(key, text []byte) error {
			var kept map[string]any
			decoder := json.NewDecoder(strings.NewReader(string(text)))
			decoder.UseNumber()
			if err := decoder.Decode(&kept); err != nil {
				return err
			}
			state, _ := kept["state"].(string)
			states = append(states, state)
			changed, err := json.Marshal(later(kept, by))
			moved[string(key)] = changed
			return err
		})
		for key, text := range moved {
			if err == nil {
				err = bucket.Put([]byte(key), text)
			}
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return states
}

// TestClockSetBack: the clock is set back an hour while tvsctld is down with two changes on
// its hands. They are carried out in the order in which they came, each once, and what
// comes later stands after them. A machine's clock is that of this host: what was kept is
// moved ahead instead.
func TestClockSetBack(t *testing.T) {
	t.Parallel()
	m := own(t, "clock")
	if err := m.install(); err != nil {
		t.Fatal(err)
	}
	s := &stack{m: m, name: "clock", port: 3001, env: map[string]string{"READY_AFTER": "3s"}}
	s.up(t)
	before := strings.TrimSpace(s.tvsctl(t, "stop", "--detach"))
	s.tvsctl(t, "ops", before, "--follow")
	s.tvsctl(t, "start")
	writeFile(t, m, "/etc/systemd/system/tvsctld.service.d/stays.conf", "[Service]\nRestart=no\n")
	m.must(t, "systemctl", "daemon-reload")
	first := strings.TrimSpace(s.tvsctl(t, "scale", "webapp", "3", "--detach"))
	second := strings.TrimSpace(s.tvsctl(t, "scale", "webapp", "2", "--detach"))
	// In one go: a look from outside takes a part of the 3 s that the change takes.
	m.sh(t, `until [ "$(docker ps -aq --filter label=com.docker.compose.project=clock --filter label=com.docker.compose.service=webapp | wc -l)" = 3 ]; do
	[ $SECONDS -lt 10 ] || { echo "the first change is not under way" >&2; exit 1; }
	sleep 0.05
done
systemctl kill -s KILL tvsctld.service`)
	m.eventually(t, 10*time.Second, "the daemon is gone", func() bool { return m.run("systemctl", "is-failed", "-q", "tvsctld.service").code == 0 })
	if states := strings.Join(m.setBack(t, time.Hour), " "); states != "succeeded succeeded running queued" {
		t.Fatalf("kept are operations that are %s", states)
	}

	third := strings.TrimSpace(s.tvsctl(t, "inc", "webapp", "--detach"))
	for _, id := range []string{first, second, third} {
		if r := m.tvsctl("ops", id, "--follow"); r.code != 0 {
			t.Errorf("%s", r)
		}
		out := m.journalctl(t, "TVS_OPERATION="+id, "-o", "cat")
		if n := strings.Count(out, "Succeeded to "); n != 1 || strings.Contains(out, "Failed to ") {
			t.Errorf("%d outcomes: %s", n, out)
		}
	}
	if n := m.service(t, s.name, "webapp").Ready; n != 3 || !s.right(t) {
		t.Errorf("%d ready replicas, upstream %v of %v", n, s.upstream(t), s.addresses(t))
	}
	var list []ipc.Operation
	m.ask(t, &list, "ops")
	var ids []string
	for _, o := range list {
		ids = append(ids, o.ID)
	}
	if len(ids) != 5 || strings.Join(ids[:3], " ") != third+" "+second+" "+first || ids[4] != before {
		t.Errorf("operations %v, want %s, %s, %s and those before, %s the oldest", ids, third, second, first, before)
	}
	if len(list) > 2 && (list[1].Started.Before(list[2].Ended) || list[0].Started.Before(list[1].Ended)) {
		t.Errorf("one began before the one that came before it was over: %+v", list)
	}
}
