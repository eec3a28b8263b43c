package systemd

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"fmt"
	"net"
	"os"
	"path"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/godbus/dbus/v5"
)

// fake is a bus with a service manager on it, both in this process: it speaks D-Bus on a
// socket, and what its units do is the test's.
type fake struct {
	t *testing.T
	// ask answers a job: the path's unit is changed as the test likes, and the job ended
	// by end, now or later.
	ask func(f *fake, method, unit string, job uint32) *dbus.Error

	mu    sync.Mutex
	conns map[net.Conn]bool
	units map[string]props
	jobs  map[uint32]string // unit
	last  uint32
	calls []string
}

func newFakeBus(t *testing.T) *fake {
	t.Helper()
	dir, err := os.MkdirTemp("", "bus") // t.TempDir() can be too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	f := &fake{t: t, conns: map[net.Conn]bool{}, units: map[string]props{}, jobs: map[uint32]string{}}
	listener, err := net.Listen("unix", filepath.Join(dir, "s"))
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("DBUS_SYSTEM_BUS_ADDRESS", "unix:path="+filepath.Join(dir, "s"))
	t.Cleanup(func() { listener.Close(); f.drop() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go f.serve(conn)
		}
	}()
	return f
}

// drop ends all connections, as a bus that is restarted does.
func (f *fake) drop() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for conn := range f.conns {
		conn.Close()
	}
	f.conns = map[net.Conn]bool{}
}

// set adds or changes a unit.
func (f *fake) set(name string, values map[string]any) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.put(name, values)
}

func (f *fake) put(name string, values map[string]any) {
	if f.units[name] == nil {
		f.units[name] = props{"Id": dbus.MakeVariant(name), "LoadState": dbus.MakeVariant("loaded"),
			"ActiveState": dbus.MakeVariant("inactive"), "SubState": dbus.MakeVariant("dead"), "Result": dbus.MakeVariant("success")}
	}
	changed := map[string]dbus.Variant{}
	for key, value := range values {
		changed[key] = dbus.MakeVariant(value)
		f.units[name][key] = changed[key]
	}
	f.signal(unitPath(name), properties, "PropertiesChanged", unitIface, changed, []string{})
}

// end ends a job. mu is held.
func (f *fake) end(job uint32, result string) {
	unit := f.jobs[job]
	delete(f.jobs, job)
	if f.units[unit] != nil {
		delete(f.units[unit], "Job")
	}
	f.signal(managerPath, manager, "JobRemoved", job, jobPath(job), unit, result)
}

func jobPath(job uint32) dbus.ObjectPath {
	return dbus.ObjectPath(fmt.Sprintf("/org/freedesktop/systemd1/job/%d", job))
}

func (f *fake) count(call string) (n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, c := range f.calls {
		if c == call {
			n++
		}
	}
	return n
}

func (f *fake) signal(at dbus.ObjectPath, iface, member string, body ...any) {
	f.signalFrom(":1.1", at, iface, member, body...)
}

func (f *fake) signalFrom(sender string, at dbus.ObjectPath, iface, member string, body ...any) {
	message := &dbus.Message{Type: dbus.TypeSignal, Body: body, Headers: map[dbus.HeaderField]dbus.Variant{
		dbus.FieldPath: dbus.MakeVariant(at), dbus.FieldInterface: dbus.MakeVariant(iface), dbus.FieldMember: dbus.MakeVariant(member),
		dbus.FieldSender: dbus.MakeVariant(sender), dbus.FieldSignature: dbus.MakeVariant(dbus.SignatureOf(body...))}}
	for conn := range f.conns {
		f.send(conn, message)
	}
}

func (f *fake) send(conn net.Conn, message *dbus.Message) {
	var text bytes.Buffer
	if err := message.EncodeTo(&text, binary.LittleEndian); err != nil {
		f.t.Errorf("the fake cannot say %v: %v", message, err)
	}
	_, _ = conn.Write(text.Bytes()) // one that has gone hears nothing
}

func (f *fake) serve(conn net.Conn) {
	in := bufio.NewReader(conn)
	_, _ = in.ReadByte()
	for begun := false; !begun; {
		line, err := in.ReadString('\n')
		if err != nil {
			return
		}
		answer := "ERROR"
		switch {
		case strings.HasPrefix(line, "AUTH EXTERNAL"), strings.HasPrefix(line, "DATA"):
			answer = "OK 1234"
		case strings.HasPrefix(line, "AUTH"):
			answer = "REJECTED EXTERNAL"
		case strings.HasPrefix(line, "BEGIN"):
			begun, answer = true, ""
		}
		if answer != "" {
			fmt.Fprintf(conn, "%s\r\n", answer)
		}
	}
	f.mu.Lock()
	f.conns[conn] = true
	f.mu.Unlock()
	for {
		message, err := dbus.DecodeMessage(in)
		if err != nil {
			return
		}
		f.mu.Lock()
		f.answer(conn, message)
		f.mu.Unlock()
	}
}

// answer answers a call. mu is held.
func (f *fake) answer(conn net.Conn, call *dbus.Message) {
	member, _ := call.Headers[dbus.FieldMember].Value().(string)
	at, _ := call.Headers[dbus.FieldPath].Value().(dbus.ObjectPath)
	reply := &dbus.Message{Type: dbus.TypeMethodReply, Headers: map[dbus.HeaderField]dbus.Variant{
		dbus.FieldReplySerial: dbus.MakeVariant(call.Serial()), dbus.FieldSender: dbus.MakeVariant(":1.1")}}
	body, failed := f.result(member, at, call.Body)
	if failed != nil {
		reply.Type, body = dbus.TypeError, failed.Body
		reply.Headers[dbus.FieldErrorName] = dbus.MakeVariant(failed.Name)
	}
	if reply.Body = body; len(body) > 0 {
		reply.Headers[dbus.FieldSignature] = dbus.MakeVariant(dbus.SignatureOf(body...))
	}
	f.send(conn, reply)
}

func refusal(name, text string) *dbus.Error { return dbus.NewError(name, []any{text}) }

func (f *fake) result(member string, at dbus.ObjectPath, args []any) ([]any, *dbus.Error) {
	switch member {
	case "Hello":
		return []any{":1.7"}, nil
	case "GetNameOwner":
		return []any{":1.1"}, nil
	case "AddMatch", "RemoveMatch", "Subscribe":
		return nil, nil
	case "GetAll":
		for name, p := range f.units {
			if unitPath(name) == at {
				return []any{map[string]dbus.Variant(p)}, nil
			}
		}
		return []any{map[string]dbus.Variant{"Id": dbus.MakeVariant("none.service"), "LoadState": dbus.MakeVariant("not-found"), "ActiveState": dbus.MakeVariant("inactive")}}, nil
	case "Get":
		var job uint32
		fmt.Sscan(path.Base(string(at)), &job)
		if f.jobs[job] == "" {
			return nil, refusal("org.freedesktop.DBus.Error.UnknownObject", "no such job")
		}
		if args[1] == "JobType" {
			return []any{dbus.MakeVariant("start")}, nil
		}
		return []any{dbus.MakeVariant(job)}, nil
	}
	unit, _ := args[0].(string)
	f.calls = append(f.calls, member+" "+unit)
	f.last++
	job := f.last
	f.jobs[job] = unit
	if f.units[unit] != nil {
		f.units[unit]["Job"] = dbus.MakeVariant(struct {
			ID   uint32
			Path dbus.ObjectPath
		}{job, jobPath(job)})
	}
	if failed := f.ask(f, member, unit, job); failed != nil {
		delete(f.jobs, job)
		return nil, failed
	}
	return []any{jobPath(job)}, nil
}
