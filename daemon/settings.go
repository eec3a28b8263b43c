package daemon

import (
	"errors"
	"fmt"
	"io/fs"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/BurntSushi/toml"

	"tvsctl/systemd"
)

// settings are those of the daemon as a whole, the file /etc/tvsctld/tvsctld.toml.
// Every key may be left out:
//
//	idle                     = "60s" # without anything to do until the daemon ends; 1s to 24h
//	max_connections          = 1024  # open at one time; 1 to 65536, as the others
//	max_connections_per_user = 64    # so that one user cannot shut out the others
//	max_operations           = 256   # that run or wait on the whole host
//	max_operations_per_user  = 64    # but root's
//
//	[units]                          # what it may do with which units, for those whom the policy lets
//	"backup.service" = ["start", "stop", "restart", "reload", "reset-failed"]
type settings struct {
	Idle                  idleTime `toml:"idle"`
	MaxConnections        bound    `toml:"max_connections"`
	MaxConnectionsPerUser bound    `toml:"max_connections_per_user"`
	MaxOperations         bound    `toml:"max_operations"`
	MaxOperationsPerUser  bound    `toml:"max_operations_per_user"`

	Units map[string]unitVerbs `toml:"units"`
}

// idleTime and bound refuse what makes no sense while the decoder still knows the line.
type (
	idleTime time.Duration
	bound    int
	// unitVerbs are systemd's, as polkit is told them.
	unitVerbs []string
)

func (t *idleTime) UnmarshalTOML(value any) error {
	text, ok := value.(string)
	d, err := time.ParseDuration(text)
	if !ok || err != nil || d < time.Second || d > 24*time.Hour {
		return fmt.Errorf("%#v is not a duration from \"1s\" to \"24h\"", value)
	}
	*t = idleTime(d)
	return nil
}

func (b *bound) UnmarshalTOML(value any) error {
	n, ok := value.(int64)
	if !ok || n < 1 || n > 65536 {
		return fmt.Errorf("%#v is not a number from 1 to 65536", value)
	}
	*b = bound(n)
	return nil
}

func (v *unitVerbs) UnmarshalTOML(value any) error {
	list, ok := value.([]any)
	for _, item := range list {
		verb, is := item.(string)
		if ok = ok && is && slices.Contains(managedVerbs, verb); ok {
			*v = append(*v, verb)
		}
	}
	if !ok {
		return fmt.Errorf("%v is not a list of %s", value, strings.Join(managedVerbs, ", "))
	}
	return nil
}

// managedVerbs are what the daemon may be let do with a unit.
var managedVerbs = []string{"start", "stop", "restart", "reload", "reset-failed"}

// unitName is a unit that can be listed: literal, since the rule is.
var unitName = regexp.MustCompile(`^[A-Za-z0-9:_.\\-]+(@[A-Za-z0-9:_.\\-]+)?\.(service|socket|target|timer|path|mount|automount|swap|slice)$`)

// readSettings reads the file; what it does not say, and all of it where there is no
// file, is as in s.
func readSettings(path string, s settings) (settings, error) {
	if path == "" {
		return s, nil
	}
	text, err := readTrusted(path)
	if errors.Is(err, fs.ErrNotExist) {
		return s, nil
	}
	if err != nil {
		return s, err
	}
	meta, err := toml.Decode(string(text), &s)
	if err != nil {
		return s, fmt.Errorf("cannot read %s: %v", path, err)
	}
	if unknown := meta.Undecoded(); len(unknown) > 0 {
		return s, fmt.Errorf("cannot read %s:%s unknown key %s", path, lineOf(string(text), unknown[0].String()), unknown[0])
	}
	for unit := range s.Units {
		if _, err := systemd.UnitName(unit); err != nil || !unitName.MatchString(unit) {
			return s, fmt.Errorf("cannot read %s:%s %q is not the full name of a unit", path, lineOf(string(text), unit), unit)
		}
	}
	return s, nil
}

// lineOf says where a key stands, which the decoder does not tell of an unknown one. One
// of a table may be given with the table's name before it.
func lineOf(text, key string) string {
	n, table := 0, ""
	for line := range strings.Lines(text) {
		n++
		line, _, _ = strings.Cut(line, "#")
		name, _, _ := strings.Cut(line, "=")
		name = strings.Trim(name, " \t\r\n[]\"'")
		if name == key || table+"."+name == key {
			return fmt.Sprintf(" line %d:", n)
		}
		if strings.HasPrefix(strings.TrimSpace(line), "[") {
			table = name
		}
	}
	return ""
}

// configure puts the file in force. One that is broken changes nothing: that is said
// in the journal now, and in every status until it is mended.
func (d *Daemon) configure(instead string) error {
	s, err := readSettings(d.config.File, d.defaults())
	if err != nil {
		err = fmt.Errorf("%v; %s in force", err, instead)
		d.log.error(eventSettings, err.Error()+".", nil)
	} else {
		if d.config.IdleGiven {
			s.Idle = idleTime(d.config.Idle)
		}
		d.settings.Store(&s)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.misread = err
	return err
}

func (d *Daemon) defaults() settings {
	return settings{Idle: idleTime(d.config.Idle), MaxConnections: 1024, MaxConnectionsPerUser: 64, MaxOperations: 256, MaxOperationsPerUser: 64}
}

// idle is how long the daemon stays without anything to do; 0: for ever.
func (d *Daemon) idle() time.Duration { return time.Duration(d.settings.Load().Idle) }
