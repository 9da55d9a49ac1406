// Package rtptest builds RTP packets and checks them, for tests only.
//
//	b := rtptest.Packet{Header: rtp.Header{SSRC: 7}, Payload: rtptest.VP8{KeyFrame: true}.Payload()}.Bytes()
//	rtptest.Check(t, b, rtptest.SSRC(7), rtptest.Marker(false))
package rtptest

import (
	"bytes"
	"testing"

	"github.com/mafalda-sfu/mafalda/internal/rtp"
)

// A Checker looks at one property of a packet and reports what is wrong with
// t.Errorf.
type Checker func(t testing.TB, p rtp.Packet)

// Check ends the test unless b is an RTP packet, runs the checkers on it and
// returns it as a view of b.
func Check(t testing.TB, b []byte, checkers ...Checker) rtp.Packet {
	t.Helper()
	p, ok := rtp.Parse(b)
	if !ok {
		t.Fatalf("no RTP packet: %x", b)
	}
	for _, c := range checkers {
		c(t, p)
	}
	return p
}

// equal makes a Checker of a property.
func equal[T comparable](name string, get func(rtp.Packet) T, want T) Checker {
	return func(t testing.TB, p rtp.Packet) {
		t.Helper()
		if got := get(p); got != want {
			t.Errorf("%s = %v, want %v", name, got, want)
		}
	}
}

// SSRC checks the synchronization source.
func SSRC(want uint32) Checker { return equal("SSRC", rtp.Packet.SSRC, want) }

// PayloadType checks the payload type.
func PayloadType(want uint8) Checker { return equal("payload type", rtp.Packet.PayloadType, want) }

// Seq checks the sequence number.
func Seq(want uint16) Checker { return equal("sequence number", rtp.Packet.SequenceNumber, want) }

// Timestamp checks the timestamp.
func Timestamp(want uint32) Checker { return equal("timestamp", rtp.Packet.Timestamp, want) }

// Marker checks the marker bit.
func Marker(want bool) Checker { return equal("marker", rtp.Packet.Marker, want) }

// Header checks all fields of the fixed header.
func Header(want rtp.Header) Checker { return equal("header", rtp.Packet.Header, want) }

// HeaderLen checks how long all that precedes the payload is.
func HeaderLen(want int) Checker { return equal("header length", rtp.Packet.HeaderLen, want) }

// Padding checks the length of the padding.
func Padding(want int) Checker { return equal("padding", rtp.Packet.PaddingLen, want) }

// Profile checks the profile of the extension block, 0 for none.
func Profile(want uint16) Checker { return equal("profile", rtp.Packet.ExtensionProfile, want) }

// Len checks the length of the whole packet.
func Len(want int) Checker {
	return equal("length", func(p rtp.Packet) int { return len(p) }, want)
}

// PayloadLen checks the length of the payload without padding.
func PayloadLen(want int) Checker {
	return equal("payload length", func(p rtp.Packet) int { return len(p.Payload()) }, want)
}

// Payload checks the payload without padding.
func Payload(want []byte) Checker {
	return func(t testing.TB, p rtp.Packet) {
		t.Helper()
		if got := p.Payload(); !bytes.Equal(got, want) {
			t.Errorf("payload = %x, want %x", got, want)
		}
	}
}

// PayloadPrefix checks how the payload begins.
func PayloadPrefix(want ...byte) Checker {
	return func(t testing.TB, p rtp.Packet) {
		t.Helper()
		if got := p.Payload(); !bytes.HasPrefix(got, want) {
			t.Errorf("payload = %x, want %x…", got, want)
		}
	}
}

// Extension checks the value of a header extension.
func Extension(id uint8, want []byte) Checker {
	return func(t testing.TB, p rtp.Packet) {
		t.Helper()
		switch got := p.Extension(id); {
		case got == nil:
			t.Errorf("no extension %d, want %x", id, want)
		case !bytes.Equal(got, want):
			t.Errorf("extension %d = %x, want %x", id, got, want)
		}
	}
}

// HasExtension checks that the packet has a header extension of a length.
func HasExtension(id uint8, length int) Checker {
	return func(t testing.TB, p rtp.Packet) {
		t.Helper()
		if got := p.Extension(id); got == nil || len(got) != length {
			t.Errorf("extension %d = %x, want %d bytes", id, got, length)
		}
	}
}

// NoExtension checks that the packet lacks a header extension.
func NoExtension(id uint8) Checker {
	return func(t testing.TB, p rtp.Packet) {
		t.Helper()
		if got := p.Extension(id); got != nil {
			t.Errorf("extension %d = %x, want none", id, got)
		}
	}
}
