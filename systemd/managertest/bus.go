package managertest

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/godbus/dbus/v5"
)

// The name on the bus of the manager, and of its only client.
const (
	managerName = ":1.1"
	clientName  = ":1.2"
)

// Bus is a D-Bus with one service on it: it speaks the protocol on a socket, and Answer
// says what a method of the service returns. It is called with the lock held, as the
// methods of Bus must be but for Serve.
type Bus struct {
	sync.Mutex
	Answer func(member string, at dbus.ObjectPath, args []any) ([]any, *dbus.Error)

	t     testing.TB
	conns map[net.Conn]bool
}

// Serve runs the bus until the test ends, and makes it the system's.
func (b *Bus) Serve(t testing.TB) {
	t.Helper()
	dir, err := os.MkdirTemp("", "bus") // t.TempDir() can be too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("unix", filepath.Join(dir, "s"))
	if err != nil {
		t.Fatal(err)
	}
	b.t, b.conns = t, map[net.Conn]bool{}
	t.Setenv("DBUS_SYSTEM_BUS_ADDRESS", "unix:path="+filepath.Join(dir, "s"))
	t.Cleanup(func() {
		listener.Close()
		b.Lock()
		defer b.Unlock()
		b.Drop()
		os.RemoveAll(dir)
	})
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go b.serve(conn)
		}
	}()
}

// Drop ends all connections, as a bus does that is restarted.
func (b *Bus) Drop() {
	for conn := range b.conns {
		conn.Close()
	}
	b.conns = map[net.Conn]bool{}
}

// serve lets a client in and answers its calls.
func (b *Bus) serve(conn net.Conn) {
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
	b.Lock()
	b.conns[conn] = true
	b.Unlock()
	for {
		call, err := dbus.DecodeMessage(in)
		if err != nil {
			return
		}
		b.Lock()
		b.answer(conn, call)
		b.Unlock()
	}
}

func (b *Bus) answer(conn net.Conn, call *dbus.Message) {
	member, _ := call.Headers[dbus.FieldMember].Value().(string)
	at, _ := call.Headers[dbus.FieldPath].Value().(dbus.ObjectPath)
	body, failed := b.result(member, at, call.Body)
	reply := &dbus.Message{Type: dbus.TypeMethodReply, Body: body, Headers: map[dbus.HeaderField]dbus.Variant{
		dbus.FieldReplySerial: dbus.MakeVariant(call.Serial()), dbus.FieldSender: dbus.MakeVariant(managerName)}}
	if failed != nil {
		reply.Type, reply.Body = dbus.TypeError, failed.Body
		reply.Headers[dbus.FieldErrorName] = dbus.MakeVariant(failed.Name)
	}
	if len(reply.Body) > 0 {
		reply.Headers[dbus.FieldSignature] = dbus.MakeVariant(dbus.SignatureOf(reply.Body...))
	}
	b.send(conn, reply)
}

func (b *Bus) result(member string, at dbus.ObjectPath, args []any) ([]any, *dbus.Error) {
	switch member {
	case "Hello":
		return []any{clientName}, nil
	case "GetNameOwner":
		return []any{managerName}, nil
	case "AddMatch", "RemoveMatch":
		return nil, nil
	}
	return b.Answer(member, at, args)
}

// Signal tells every client something in the service's name.
func (b *Bus) Signal(at dbus.ObjectPath, iface, member string, body ...any) {
	b.SignalFrom(managerName, at, iface, member, body...)
}

// SignalFrom tells every client something in the name of any sender.
func (b *Bus) SignalFrom(sender string, at dbus.ObjectPath, iface, member string, body ...any) {
	message := &dbus.Message{Type: dbus.TypeSignal, Body: body, Headers: map[dbus.HeaderField]dbus.Variant{
		dbus.FieldPath: dbus.MakeVariant(at), dbus.FieldInterface: dbus.MakeVariant(iface), dbus.FieldMember: dbus.MakeVariant(member),
		dbus.FieldSender: dbus.MakeVariant(sender), dbus.FieldSignature: dbus.MakeVariant(dbus.SignatureOf(body...))}}
	for conn := range b.conns {
		b.send(conn, message)
	}
}

func (b *Bus) send(conn net.Conn, message *dbus.Message) {
	var text bytes.Buffer
	if err := message.EncodeTo(&text, binary.LittleEndian); err != nil {
		b.t.Errorf("the fake cannot say %v: %v", message, err)
	}
	_, _ = conn.Write(text.Bytes()) // one that has gone hears nothing
}
