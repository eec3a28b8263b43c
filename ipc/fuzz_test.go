package ipc

import (
	"bytes"
	"errors"
	"io"
	"testing"
)

// FuzzReadFrame: what is read is what was written, and no more than a frame is held.
func FuzzReadFrame(f *testing.F) {
	for _, wire := range []string{"", "\x01", "\x01\x00\x00\x00\x00", "\x02\x00\x00\x00\x02no", "\x01\x00\x00\x00\x05ab", "\x01\xff\xff\xff\xff", "\x01\x00\x01\x00\x01", "\xff\x00\x00\x00\x01x\x00\x00\x00\x00\x00"} {
		f.Add([]byte(wire))
	}
	f.Fuzz(func(t *testing.T, wire []byte) {
		r, taken := bytes.NewReader(wire), 0
		for {
			kind, payload, err := ReadFrame(r)
			if err != nil {
				if rest := len(wire) - taken; (rest == 0) != errors.Is(err, io.EOF) {
					t.Errorf("after %d bytes of %d: %v", taken, len(wire), err)
				}
				return
			}
			var again bytes.Buffer
			if err := WriteFrame(&again, kind, payload); err != nil || !bytes.HasPrefix(wire[taken:], again.Bytes()) {
				t.Fatalf("%x was read as %d with %x: %v", wire[taken:], kind, payload, err)
			}
			taken += again.Len()
		}
	})
}
