package daemon

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	bolt "go.etcd.io/bbolt"

	"tvsctl/policy"
)

// owedRates are what users have spent of the rates of the policy and is not on disk yet: it
// is written with whatever is next, which is mostly the change that it was spent for. The
// lock is its own, since the store's is held while a write waits for the disk.
type owedRates struct {
	mu   sync.Mutex
	owed map[string]policy.Spent // by key
}

// ratePrefix is that of the keys in the bucket of what is of the host.
const ratePrefix = "rate "

func rateKey(s policy.Spent) string {
	return fmt.Sprintf("%s%d %x", ratePrefix, s.UID, sha256.Sum256([]byte(s.Rule)))
}

func (r *owedRates) add(s policy.Spent) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.owed == nil {
		r.owed = map[string]policy.Spent{}
	}
	r.owed[rateKey(s)] = s
}

func (r *owedRates) any() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.owed) > 0
}

// take returns all of it, to be written.
func (r *owedRates) take() map[string]policy.Spent {
	r.mu.Lock()
	defer r.mu.Unlock()
	all := r.owed
	r.owed = nil
	return all
}

// giveBack takes back what could not be written, but for what was spent anew meanwhile.
func (r *owedRates) giveBack(all map[string]policy.Spent) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if all == nil {
		return
	}
	maps.Copy(all, r.owed)
	r.owed = all
}

// putRates writes what was spent, and forgets what no rate counts any more.
func putRates(tx *bolt.Tx, owed map[string]policy.Spent) error {
	bucket := tx.Bucket(hostBucket)
	for key, s := range owed {
		if s.Over(time.Now()) {
			if err := bucket.Delete([]byte(key)); err != nil {
				return err
			}
			continue
		}
		text, err := json.Marshal(s)
		if err != nil {
			return err
		}
		if err := bucket.Put([]byte(key), text); err != nil {
			return err
		}
	}
	return nil
}

// readRates takes over what is on disk. What is over is forgotten with the next write.
func (s *store) readRates(tx *bolt.Tx) error {
	s.spent = nil
	return tx.Bucket(hostBucket).ForEach(func(key, value []byte) error {
		if !bytes.HasPrefix(key, []byte(ratePrefix)) {
			return nil
		}
		var kept policy.Spent
		if err := json.Unmarshal(value, &kept); err != nil {
			return fmt.Errorf("%s: %v", key, err)
		}
		if kept.Over(time.Now()) {
			s.rates.add(kept)
			return nil
		}
		s.spent = append(s.spent, kept)
		return nil
	})
}

// restoreRates lets the rates go on from where an earlier life of the daemon left them:
// one that has nothing to do ends within a minute, and a rate can be of a day.
func (d *Daemon) restoreRates() {
	d.state.mu.Lock()
	spent := slices.Clone(d.state.spent)
	d.state.mu.Unlock()
	d.limiter.Restore(spent, time.Now())
}
