package daemon

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"

	bolt "go.etcd.io/bbolt"

	"tvsctl/fault"
	"tvsctl/ipc"
)

// historyLength is how many finished operations are kept.
const historyLength = 200

// keptOperation is an operation, and until it is finished what it takes to go on.
type keptOperation struct {
	ipc.Operation
	Job job `json:"job,omitzero"`

	// key is by the order of coming. The time says nothing of that: clocks are set back.
	key []byte
}

// record keeps an operation, without a job when it is finished, and forgets the oldest
// beyond historyLength, but none without an outcome. All that is one write: what was
// kept is not refused for what could not be forgotten.
func (s *store) record(o ipc.Operation, j *job) error {
	kept := keptOperation{Operation: o}
	if j != nil {
		kept.Job = *j
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mend()
	i := slices.IndexFunc(s.operations, func(old keptOperation) bool { return old.ID == o.ID })
	room := historyLength
	if i >= 0 {
		kept.key = s.operations[i].key
		room++
	}
	forgotten := s.beyond(room)
	err := fault.Do("state operation", func() error {
		return s.write(func(tx *bolt.Tx) error {
			bucket := tx.Bucket(operationsBucket)
			for _, key := range forgotten {
				if err := bucket.Delete(key); err != nil {
					return err
				}
			}
			return kept.put(bucket)
		})
	})
	if err != nil {
		if i >= 0 && o.State.Finished() {
			s.operations[i], s.late[o.ID] = kept, kept
		}
		return err
	}
	if i >= 0 {
		s.operations[i] = kept
	} else {
		s.operations = append(s.operations, kept)
	}
	s.operations = slices.DeleteFunc(s.operations, func(o keptOperation) bool {
		return slices.ContainsFunc(forgotten, func(key []byte) bool { return bytes.Equal(key, o.key) })
	})
	return nil
}

// beyond returns the keys of the oldest finished operations, so many that fewer than n
// are left.
func (s *store) beyond(n int) (keys [][]byte) {
	for _, o := range s.operations {
		if len(s.operations)-len(keys) >= n && o.State.Finished() {
			keys = append(keys, o.key)
		}
	}
	return keys
}

func (o *keptOperation) put(bucket *bolt.Bucket) error {
	if o.key == nil {
		n, err := bucket.NextSequence()
		if err != nil {
			return err
		}
		o.key = fmt.Appendf(nil, "n%016x", n) // after the times that were the keys once
	}
	text, err := json.Marshal(o)
	if err != nil {
		return err
	}
	return bucket.Put(o.key, text)
}

// catchUp writes what could not be written before, and what was spent since.
func (s *store) catchUp() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.late)+len(s.owed) > 0 || s.rates.any() {
		// It is tried again with the next change, or the next time.
		_ = fault.Do("state late", func() error { return s.write(func(*bolt.Tx) error { return nil }) })
	}
}

func (s *store) history() []ipc.Operation {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := make([]ipc.Operation, 0, len(s.operations))
	for _, o := range s.operations {
		list = append(list, o.Operation)
	}
	return list
}

// unfinished returns the operations without an outcome, oldest first.
func (s *store) unfinished() []keptOperation {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.withoutOutcome()
}

func (s *store) withoutOutcome() []keptOperation {
	var list []keptOperation
	for _, o := range s.operations {
		if !o.State.Finished() {
			list = append(list, o)
		}
	}
	return list
}
