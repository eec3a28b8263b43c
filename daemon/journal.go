package daemon

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/coreos/go-systemd/v22/journal"

	"tvsctl/ipc"
)

// A logEvent is a kind of journal entry; its value is the MESSAGE_ID by which the
// catalog explains it.
type logEvent string

const (
	eventStarted    logEvent = "e32cfe25a0c5452485ba8d180c83e78d"
	eventStopped    logEvent = "2c386b11be2647f4937893bf0e0bc679"
	eventRefused    logEvent = "7a5d49c2ad9b4c87a0093d40c078789f"
	eventRequested  logEvent = "94472761461641d2b6161762a2cdaf07"
	eventStep       logEvent = "f8b6148614ce4f6b93fed10d54ad3821"
	eventSucceeded  logEvent = "d3eeb3813014400482c9b38610de8c9a"
	eventFailed     logEvent = "f7cf8874821744b09efbb328d775bcbc"
	eventUpstream   logEvent = "f7d38253c03543e2b430ad8127d9a1e8"
	eventReplica    logEvent = "50e2055cce3341589011ea9948744fff"
	eventNginx      logEvent = "f4064c7d480a42088e495ce12dd5ab00"
	eventDrift      logEvent = "86751578a41146ceac4b6d5cd551d667"
	eventDocker     logEvent = "e835f7fecb6f4e3abe7988e0cf6f7878"
	eventState      logEvent = "7ea190c089b2419b968170acbe624eea"
	eventDeclared   logEvent = "0e8200f645e441b6b5e5cc61ed1614c8"
	eventResumed    logEvent = "7e2a0a3adf48416e960d96c0f1a21ed3"
	eventRestore    logEvent = "71dba8ed2b41432090a2806f60558bc3"
	eventConfigured logEvent = "549d23618233427ca9f702da7229d79c"
	eventSettings   logEvent = "075b129efdb7458ba2cdb03aa66cd582"
	eventReloaded   logEvent = "af2a8293e78647b08a2751fb6aba4bbb"
	eventRefusals   logEvent = "b9e0e8c6d1b4448c9e7fa5e88200d969"
	eventDenied     logEvent = "65f0167c830c4ff5baf2661cfeb552f9"
	eventAllowed    logEvent = "faed2c3c14d84cea9e614f1ecdea7599"
	eventPolicy     logEvent = "cdb892ea562741f78c08819adcd7e315"
	eventStuck      logEvent = "bdb93370194f4adcb05df71077d56601"
	eventExecBegun  logEvent = "84f86253f704443d83f9fa9a5896624e"
	eventExecEnded  logEvent = "b4b6ab033f1746898ecffe5bc6b226d7"
)

// fields are structured data of an entry; names are those of journal fields.
type fields map[string]string

// kindOf names the kinds of entries for those who follow events; what is not here is
// of the daemon itself.
var kindOf = map[logEvent]string{
	eventRequested: "operation", eventSucceeded: "operation", eventFailed: "operation", eventResumed: "operation",
	eventRestore: "operation", eventStep: "step", eventUpstream: "upstream", eventReplica: "replica", eventNginx: "nginx",
	eventDrift: "drift", eventDocker: "docker", eventState: "state", eventDeclared: "project", eventConfigured: "project",
	eventRefused: "refused", eventRefusals: "refused", eventDenied: "refused", eventAllowed: "allowed",
	eventExecBegun: "exec", eventExecEnded: "exec",
}

// logbook writes to the journal with its native protocol, or lines to out where
// no journal takes them, and to those who follow.
type logbook struct {
	out io.Writer // nil: the journal

	mu        sync.Mutex
	followers map[chan ipc.HostEvent]bool
}

// followerPatience is how many entries a follower may be behind before it is let go.
const followerPatience = 256

// follow returns a channel of the entries from now on. It is closed when the
// follower falls too far behind, and by stop.
func (l *logbook) follow() (entries <-chan ipc.HostEvent, stop func()) {
	c := make(chan ipc.HostEvent, followerPatience)
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.followers == nil {
		l.followers = map[chan ipc.HostEvent]bool{}
	}
	l.followers[c] = true
	return c, func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.drop(c)
	}
}

// drop ends a follower. mu is held.
func (l *logbook) drop(c chan ipc.HostEvent) {
	if l.followers[c] {
		delete(l.followers, c)
		close(c)
	}
}

func (l *logbook) tell(event logEvent, sentence string, f fields) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.followers) == 0 {
		return
	}
	kind := kindOf[event]
	if kind == "" {
		kind = "daemon"
	}
	entry := ipc.HostEvent{Time: time.Now(), Kind: kind, Message: sentence, Fields: maps.Clone(f)}
	for c := range l.followers {
		select {
		case c <- entry:
		default:
			l.drop(c)
		}
	}
}

func newLogbook(fallback io.Writer) *logbook {
	if journal.Enabled() {
		return &logbook{}
	}
	return &logbook{out: fallback}
}

func (l *logbook) info(event logEvent, sentence string, f fields) {
	l.write(journal.PriInfo, event, sentence, f)
}

func (l *logbook) notice(event logEvent, sentence string, f fields) {
	l.write(journal.PriNotice, event, sentence, f)
}

func (l *logbook) warning(event logEvent, sentence string, f fields) {
	l.write(journal.PriWarning, event, sentence, f)
}

func (l *logbook) error(event logEvent, sentence string, f fields) {
	l.write(journal.PriErr, event, sentence, f)
}

// failure writes in full what those who follow are told without the lines of logs: not
// all who may follow may read those.
func (l *logbook) failure(event logEvent, sentence, full string, f fields) {
	l.tell(event, sentence, f)
	l.keep(journal.PriErr, event, full, f)
}

func (l *logbook) write(priority journal.Priority, event logEvent, sentence string, f fields) {
	l.tell(event, sentence, f)
	l.keep(priority, event, sentence, f)
}

// keep writes to the journal alone.
func (l *logbook) keep(priority journal.Priority, event logEvent, sentence string, f fields) {
	if l.out != nil {
		var tail strings.Builder
		for _, key := range slices.Sorted(maps.Keys(f)) {
			fmt.Fprintf(&tail, " %s=%s", key, f[key])
		}
		fmt.Fprintf(l.out, "%s%s\n", sentence, tail.String())
		return
	}
	vars := map[string]string{"MESSAGE_ID": string(event), "SYSLOG_IDENTIFIER": "tvsctld"}
	maps.Copy(vars, f)
	// There is nowhere to say that the journal cannot be written.
	_ = journal.Send(sentence, priority, vars)
}
