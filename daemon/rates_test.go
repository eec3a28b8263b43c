package daemon

import (
	"testing"
	"time"

	bolt "go.etcd.io/bbolt"

	"tvsctl/ipc"
	"tvsctl/policy"
)

// A rate holds over restarts, whether the change wrote the state or only the end of the
// daemon did, and what no rate counts any more is forgotten.
func TestRatesOutliveTheDaemon(t *testing.T) {
	t.Setenv("DOCKER_HOST", "unix:///nowhere/docker.sock")
	p, err := policy.Parse("test.toml", []byte("[[rule]]\ngroups = [990]\nrole = 'admin'\nprojects = ['shop']\nrate = '1/1h'\n"))
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	live := func() *Daemon {
		d := New(Config{StateDir: dir, Log: &journalBuffer{}})
		d.log = &logbook{out: &journalBuffer{}}
		d.rules.Store(p)
		return d
	}
	end := func(d *Daemon) {
		t.Helper()
		if err := d.state.close(); err != nil {
			t.Fatal(err)
		}
	}
	scale := func(d *Daemon, uid uint32) error {
		return d.permit(asking(t, uid, 990).Context(), policy.Request{Verb: policy.Scale, Target: policy.Target{Project: "shop", Service: "web"}})
	}
	d := live()
	old := policy.Spent{UID: 9, Rule: "of long ago", Times: []time.Time{time.Now().Add(-25 * time.Hour)}}
	d.state.rates.add(old)
	if err := scale(d, stranger); err != nil {
		t.Fatal(err)
	}
	if err := d.state.record(newRecord("shop", "scale", "scale web", peer{}), nil); err != nil || d.state.rates.any() {
		t.Fatalf("the change wrote nothing of it: %v", err)
	}
	if err := scale(d, stranger+1); err != nil { // which wrote nothing
		t.Fatal(err)
	}
	end(d)
	for life := range 3 {
		d := live()
		for _, uid := range []uint32{stranger, stranger + 1} {
			if err := scale(d, uid); err == nil || describeError(err).Code != ipc.CodeBusy {
				t.Errorf("life %d: %d: %v", life, uid, err)
			}
		}
		if life == 1 {
			if err := scale(d, stranger+2); err != nil {
				t.Errorf("somebody else: %v", err)
			}
		}
		if n := len(d.state.spent); life < 2 && n != 2 || life == 2 && n != 3 {
			t.Errorf("life %d: %d are kept", life, n)
		}
		end(d)
	}
}

// What could not be written is written with what is next, as it is by then. What is over
// goes, also from disk.
func TestRatesAreOwed(t *testing.T) {
	dir := t.TempDir()
	s := openStore(dir)
	spent := func(uid uint32, ago time.Duration, n int) policy.Spent {
		kept := policy.Spent{UID: uid, Rule: "r"}
		for range n {
			kept.Times = append(kept.Times, time.Now().Add(-ago))
		}
		return kept
	}
	err := s.db.Update(func(tx *bolt.Tx) error {
		// As an earlier life left it.
		return tx.Bucket(hostBucket).Put([]byte(rateKey(spent(3, 0, 1))), []byte(`{"uid":3,"rule":"r","times":["2020-01-01T00:00:00Z"]}`))
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.close(); err != nil {
		t.Fatal(err)
	}
	s = openStore(dir)
	s.rates.add(spent(1, 0, 1))
	s.rates.add(spent(2, 0, 1))
	if err := s.write(func(*bolt.Tx) error {
		s.rates.add(spent(1, 0, 2)) // meanwhile
		return bolt.ErrTimeout
	}); err == nil {
		t.Fatal("it was written")
	}
	if got := s.rates.owed; len(got) != 3 || len(got[rateKey(spent(1, 0, 1))].Times) != 2 {
		t.Errorf("owed is %+v", got)
	}
	s.catchUp()
	if s.rates.any() {
		t.Error("it is owed still")
	}
	if err := s.close(); err != nil {
		t.Fatal(err)
	}
	s = openStore(dir)
	defer s.close()
	if len(s.spent) != 2 || len(s.spent[0].Times) != 2 || len(s.spent[1].Times) != 1 {
		t.Errorf("kept is %+v", s.spent)
	}
	if err := s.db.View(func(tx *bolt.Tx) error {
		if n := tx.Bucket(hostBucket).Stats().KeyN; n != 2 {
			t.Errorf("%d keys", n)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
}
