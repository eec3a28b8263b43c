package daemon

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"sync"
	"time"

	bolt "go.etcd.io/bbolt"

	"tvsctl/dockerops"
	"tvsctl/fault"
	"tvsctl/nginx"
	"tvsctl/policy"
)

// projectState is what is kept of a project.
type projectState struct {
	Desired map[string]int             `json:"desired"`
	Stopped map[string]bool            `json:"stopped"` // the services that tvsctl stop or reset stopped
	Specs   map[string]*dockerops.Spec `json:"specs"`
	Files   *dockerops.Files           `json:"files,omitempty"` // declared by tvsctl up -f
	// Midway is set while compose brings the project up or takes it down, and stays when
	// that is interrupted or fails: what it has left then is a count that nobody wanted.
	Midway bool `json:"midway,omitempty"`
	// Exited are the containers that ended while Docker went on: somebody's
	// intention, which a restore respects.
	Exited []string `json:"exited,omitempty"`
	// Rollouts are those that are under way or hold; Previous is what rollback returns
	// to, and Images what was rolled out that the compose files do not name. By service.
	Rollouts map[string]*rollout        `json:"rollouts,omitempty"`
	Previous map[string]*dockerops.Spec `json:"previous,omitempty"`
	Images   map[string]string          `json:"images,omitempty"`
	Replaced map[string]replaced        `json:"replaced,omitempty"`
	// Seen is what each nginx had in force when an earlier life ended, by instance.
	Seen map[string]seenNginx `json:"seen,omitempty"`
	// Limits are those that tvsctl limit gave, by service.
	Limits map[string]dockerops.LimitSet `json:"limits,omitempty"`
	// Bases are the ports of the first instances that reset was given, by service.
	Bases map[string]int `json:"bases,omitempty"`
}

// seenNginx is what was last known of an nginx that runs on.
type seenNginx struct {
	Facts     nginx.Facts       `json:"facts"`
	Published map[string][]byte `json:"published,omitempty"`
}

var (
	projectsBucket   = []byte("projects")
	operationsBucket = []byte("operations")
	hostBucket       = []byte("host")
	epochKey         = []byte("epoch")
	bootKey          = []byte("boot")
)

// store is the daemon's durable state: what is desired, and what was done. All of
// it is in memory too; every change is on disk, synced, before it counts. A store
// that cannot be opened still serves reads of what it has, which is nothing, and
// refuses every change with the reason.
type store struct {
	dir string
	// mended is told, with what is unfinished, when a store that could not be opened was.
	mended func(unfinished []keptOperation)

	mu         sync.Mutex
	broken     error
	db         *bolt.DB
	projects   map[string]projectState
	operations []keptOperation // oldest first
	// late are the outcomes that could not be written, by id. They are written with whatever
	// is next: an operation without one is taken up again by the next life.
	late  map[string]keptOperation
	owed  map[string]bool // the projects of which that is so, by name
	epoch string
	boot  string         // the life of the machine in which the units were last restored
	spent []policy.Spent // of the rates, by the earlier lives

	rates owedRates
}

// openStore opens the state in a directory, which it makes.
func openStore(dir string) *store {
	s := &store{dir: dir, projects: map[string]projectState{}, late: map[string]keptOperation{}, mended: func([]keptOperation) {}}
	s.open()
	return s
}

func (s *store) open() {
	s.projects, s.operations, s.owed = map[string]projectState{}, nil, map[string]bool{}
	if s.broken = s.load(s.dir); s.broken != nil {
		s.broken = fmt.Errorf("cannot use the state in %s: %v", s.dir, s.broken)
	}
}

// mend opens a state that could not be opened before, if that is possible by now. Every
// change begins with it.
func (s *store) mend() {
	if s.broken == nil || s.db != nil {
		return
	}
	if s.open(); s.broken == nil {
		go s.mended(s.withoutOutcome())
	}
}

// usable returns why the state cannot be used, or nil.
func (s *store) usable() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.broken
}

func (s *store) load(dir string) (err error) {
	// bbolt panics on a damaged file, or faults: it is mapped into memory.
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if damage := recover(); damage != nil {
			err = fmt.Errorf("state.db is damaged: %v", damage)
		}
	}()
	if err := fault.Do("state directory", func() error { return os.MkdirAll(dir, 0o700) }); err != nil {
		return err
	}
	db, err := bolt.Open(filepath.Join(dir, "state.db"), 0o600, &bolt.Options{Timeout: time.Second})
	if err != nil {
		return err
	}
	buckets := [][]byte{projectsBucket, operationsBucket, hostBucket}
	// Only a new file is written to: the daemon starts often, and a write waits for the disk.
	err = db.View(func(tx *bolt.Tx) error {
		buckets = slices.DeleteFunc(buckets, func(name []byte) bool { return tx.Bucket(name) != nil })
		return nil
	})
	if err == nil && len(buckets) > 0 {
		err = fault.Do("state new", func() error {
			return db.Update(func(tx *bolt.Tx) error {
				for _, name := range buckets {
					if _, err := tx.CreateBucketIfNotExists(name); err != nil {
						return err
					}
				}
				return nil
			})
		})
	}
	if err == nil {
		err = db.View(s.read)
	}
	if err != nil {
		return errors.Join(err, db.Close())
	}
	s.db = db
	return nil
}

// read takes over what is on disk.
func (s *store) read(tx *bolt.Tx) error {
	s.epoch, s.boot = string(tx.Bucket(hostBucket).Get(epochKey)), string(tx.Bucket(hostBucket).Get(bootKey))
	if err := s.readRates(tx); err != nil {
		return err
	}
	err := tx.Bucket(projectsBucket).ForEach(func(name, value []byte) error {
		var p projectState
		if err := json.Unmarshal(value, &p); err != nil {
			return fmt.Errorf("project %s: %v", name, err)
		}
		s.projects[string(name)] = p
		return nil
	})
	if err != nil {
		return err
	}
	return tx.Bucket(operationsBucket).ForEach(func(key, value []byte) error {
		var o keptOperation
		if err := json.Unmarshal(value, &o); err != nil {
			return fmt.Errorf("operation %s: %v", key, err)
		}
		o.key = bytes.Clone(key)
		s.operations = append(s.operations, o)
		return nil
	})
}

func (s *store) close() error {
	if s.db == nil {
		return nil
	}
	s.catchUp()
	return s.db.Close()
}

// project returns a copy of what is kept of a project, with maps that are not nil.
func (s *store) project(name string) projectState {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.projects[name].clone()
}

func (p projectState) clone() projectState {
	p.Desired, p.Specs, p.Stopped = copied(p.Desired), copied(p.Specs), copied(p.Stopped)
	p.Rollouts, p.Previous, p.Images = copied(p.Rollouts), copied(p.Previous), copied(p.Images)
	p.Replaced, p.Limits, p.Bases, p.Seen = copied(p.Replaced), copied(p.Limits), copied(p.Bases), copied(p.Seen)
	p.Exited = slices.Clone(p.Exited)
	return p
}

func copied[K comparable, V any](m map[K]V) map[K]V {
	if m == nil {
		return map[K]V{}
	}
	return maps.Clone(m)
}

// declared returns the projects that have files declared.
func (s *store) declared() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var names []string
	for name, p := range s.projects {
		if p.Files != nil {
			names = append(names, name)
		}
	}
	return names
}

// update changes what is kept of a project and returns when it is on disk.
func (s *store) update(name string, change func(*projectState)) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	next, err := s.changed(name, change)
	if err == nil {
		s.projects[name] = next
	}
	return err
}

// happened is update for what is so already. Where it cannot be written it counts all the
// same, and is on disk with whatever is next: the outcome of its operation, or later.
func (s *store) happened(name string, change func(*projectState)) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	next, err := s.changed(name, change)
	if s.projects[name] = next; err != nil {
		s.owed[name] = true
	}
	return err
}

// changed changes what is kept of a project on disk, and returns it. mu is held.
func (s *store) changed(name string, change func(*projectState)) (projectState, error) {
	s.mend()
	next := s.projects[name].clone()
	change(&next)
	return next, fault.Do("state project", func() error { return s.put(projectsBucket, []byte(name), next) })
}

// lastEpoch returns the epoch of the host that was last restored.
func (s *store) lastEpoch() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.epoch
}

// keepEpoch keeps the epoch of the host that is restored.
func (s *store) keepEpoch(epoch string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.epoch = epoch
	return fault.Do("state epoch", func() error { return s.putHost(epochKey, epoch) })
}

// lastBoot returns the life of the machine in which the units were last restored.
func (s *store) lastBoot() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.boot
}

// keepBoot keeps that the units are restored in this life of the machine.
func (s *store) keepBoot(boot string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.boot = boot
	return fault.Do("state boot", func() error { return s.putHost(bootKey, boot) })
}

func (s *store) putHost(key []byte, value string) error {
	return s.write(func(tx *bolt.Tx) error { return tx.Bucket(hostBucket).Put(key, []byte(value)) })
}

func (s *store) put(bucket, key []byte, value any) error {
	return s.write(func(tx *bolt.Tx) error { return putIn(tx, bucket, key, value) })
}

func putIn(tx *bolt.Tx, bucket, key []byte, value any) error {
	text, err := json.Marshal(value)
	if err != nil {
		return err
	}
	return tx.Bucket(bucket).Put(key, text)
}

func (s *store) write(change func(*bolt.Tx) error) error {
	if s.broken != nil {
		return s.broken
	}
	spent := s.rates.take()
	err := s.db.Update(func(tx *bolt.Tx) error {
		if err := putRates(tx, spent); err != nil {
			return err
		}
		for _, o := range s.late {
			if err := o.put(tx.Bucket(operationsBucket)); err != nil {
				return err
			}
		}
		for name := range s.owed {
			if err := putIn(tx, projectsBucket, []byte(name), s.projects[name]); err != nil {
				return err
			}
		}
		return change(tx)
	})
	if err != nil {
		s.rates.giveBack(spent)
		return fmt.Errorf("cannot write the state: %v", err)
	}
	clear(s.late)
	clear(s.owed)
	return nil
}
