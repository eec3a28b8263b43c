package managertest

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"fmt"
	"maps"
	"net"
	"path"
	"slices"
	"strings"

	"github.com/godbus/dbus/v5"
)

// The name on the bus of the manager, and of its only client.
const (
	managerName = ":1.1"
	clientName  = ":1.2"
)

// serve lets a client in and answers its calls.
func (m *Manager) serve(conn net.Conn) {
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
	m.mu.Lock()
	m.conns[conn] = true
	m.mu.Unlock()
	for {
		message, err := dbus.DecodeMessage(in)
		if err != nil {
			return
		}
		m.mu.Lock()
		m.answer(conn, message)
		m.mu.Unlock()
	}
}

// answer answers a call. mu is held.
func (m *Manager) answer(conn net.Conn, call *dbus.Message) {
	member, _ := call.Headers[dbus.FieldMember].Value().(string)
	at, _ := call.Headers[dbus.FieldPath].Value().(dbus.ObjectPath)
	body, failed := m.result(member, at, call.Body)
	reply := &dbus.Message{Type: dbus.TypeMethodReply, Body: body, Headers: map[dbus.HeaderField]dbus.Variant{
		dbus.FieldReplySerial: dbus.MakeVariant(call.Serial()), dbus.FieldSender: dbus.MakeVariant(managerName)}}
	if failed != nil {
		reply.Type, reply.Body = dbus.TypeError, failed.Body
		reply.Headers[dbus.FieldErrorName] = dbus.MakeVariant(failed.Name)
	}
	if len(reply.Body) > 0 {
		reply.Headers[dbus.FieldSignature] = dbus.MakeVariant(dbus.SignatureOf(reply.Body...))
	}
	m.send(conn, reply)
}

// listed is ListUnits' structure.
type listed struct {
	ID, Description, Load, Active, Sub, Following string
	Path                                          dbus.ObjectPath
	Job                                           uint32
	JobType                                       string
	JobPath                                       dbus.ObjectPath
}

// result is what a method returns. mu is held.
func (m *Manager) result(member string, at dbus.ObjectPath, args []any) ([]any, *dbus.Error) {
	switch member {
	case "Hello":
		return []any{clientName}, nil
	case "GetNameOwner":
		return []any{managerName}, nil
	case "AddMatch", "RemoveMatch", "Subscribe":
		return nil, nil
	case "GetAll":
		return []any{m.load(unitName(at))}, nil
	case "ListUnitsByPatterns":
		list := []listed{}
		patterns, _ := args[1].([]string)
		for _, name := range slices.Sorted(maps.Keys(m.units)) {
			matches := func(pattern string) bool { ok, _ := path.Match(pattern, name); return ok }
			if u := m.units[name]; len(patterns) == 0 || slices.ContainsFunc(patterns, matches) {
				list = append(list, listed{ID: name, Load: u["LoadState"].Value().(string), Active: u["ActiveState"].Value().(string),
					Sub: u["SubState"].Value().(string), Path: unitPath(name), JobPath: "/"})
			}
		}
		return []any{list}, nil
	case "StartUnit", "StopUnit", "RestartUnit", "ReloadUnit":
		name, _ := args[0].(string)
		if m.load(name)["LoadState"].Value() == "not-found" {
			return nil, dbus.NewError("org.freedesktop.systemd1.NoSuchUnit", []any{"Unit " + name + " not found."})
		}
		return []any{m.job(strings.ToLower(strings.TrimSuffix(member, "Unit")), name)}, nil
	}
	return nil, dbus.NewError("org.freedesktop.DBus.Error.UnknownMethod", []any{"The fake has no " + member + "."})
}

func (m *Manager) signal(at dbus.ObjectPath, iface, member string, body ...any) {
	message := &dbus.Message{Type: dbus.TypeSignal, Body: body, Headers: map[dbus.HeaderField]dbus.Variant{
		dbus.FieldPath: dbus.MakeVariant(at), dbus.FieldInterface: dbus.MakeVariant(iface), dbus.FieldMember: dbus.MakeVariant(member),
		dbus.FieldSender: dbus.MakeVariant(managerName), dbus.FieldSignature: dbus.MakeVariant(dbus.SignatureOf(body...))}}
	for conn := range m.conns {
		m.send(conn, message)
	}
}

func (m *Manager) send(conn net.Conn, message *dbus.Message) {
	var text bytes.Buffer
	if err := message.EncodeTo(&text, binary.LittleEndian); err != nil {
		m.t.Errorf("the fake cannot say %v: %v", message, err)
	}
	_, _ = conn.Write(text.Bytes()) // one that has gone hears nothing
}
