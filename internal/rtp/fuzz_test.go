package rtp

import (
	"bytes"
	"testing"
)

var seeds = []string{
	"80" + fixed,
	"b1" + fixed + "0000000a bede0001 10ff0000 1122 02ff 0002",
	"90" + fixed + "1003 0005 01 01aa 00 20 02bbcc 01 01dd 44 00 0f 01ee ff 01 77 00",
	"90" + fixed + "abcd0001 ffffffff 55",
	"a0" + fixed + "000003",
	"90e003e800015f90000008aebede000520003200000a4200100262abcdef71020390760090e08064",
	"90e003ec000189c0000008aebede000317eead2583f4abef9d00000090e080680e201102005a5a5a",
	"806f01fb0000bd40000008ae7a55",
}

func addSeeds(f *testing.F) {
	for _, s := range seeds {
		f.Add(unhex(f, s))
	}
}

// A parsed packet can be read and written anywhere, and what is built from what
// was read reads the same.
func FuzzParse(f *testing.F) {
	addSeeds(f)
	f.Fuzz(func(t *testing.T, b []byte) {
		before := bytes.Clone(b)
		p, ok := Parse(b)
		if !bytes.Equal(before, b) {
			t.Fatal("Parse wrote")
		}
		if !ok {
			return
		}
		if !Is(b) {
			t.Fatal("parsed what is no RTP")
		}
		if len(p) != p.HeaderLen()+len(p.Payload())+p.PaddingLen() {
			t.Fatalf("%d bytes: header %d, payload %d, padding %d", len(p), p.HeaderLen(), len(p.Payload()), p.PaddingLen())
		}

		built := AppendHeader(nil, p.Header(), elements(p))
		built = append(built, p.Payload()...)
		built = AppendPadding(built, 0, uint8(p.PaddingLen()))
		q, ok := Parse(built)
		if !ok {
			t.Fatalf("can't read back %x", built)
		}
		if q.Header() != p.Header() || !bytes.Equal(q.Payload(), p.Payload()) || q.PaddingLen() != p.PaddingLen() {
			t.Fatalf("%x became %x", p, q)
		}
		for id := range 256 {
			v, w := p.Extension(uint8(id)), q.Extension(uint8(id))
			if (v == nil) != (w == nil) || !bytes.Equal(v, w) {
				t.Fatalf("extension %d: %x became %x", id, v, w)
			}
		}

		h := p.Header()
		p.SetMarker(h.Marker)
		p.SetPayloadType(h.PayloadType)
		p.SetSequenceNumber(h.SequenceNumber)
		p.SetTimestamp(h.Timestamp)
		p.SetSSRC(h.SSRC)
		if !bytes.Equal(before, p) {
			t.Fatal("writing what was read changed something")
		}
	})
}

// elements reads all extensions of p, each id once.
func elements(p Packet) (list []Element) {
	for id := 1; id < 256; id++ {
		if v := p.Extension(uint8(id)); v != nil {
			list = append(list, Element{uint8(id), v})
		}
	}
	return list
}

// The index agrees with the search, whatever ids were negotiated.
func FuzzExtensions(f *testing.F) {
	for _, s := range seeds {
		f.Add(unhex(f, s), []byte{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12})
		f.Add(unhex(f, s), []byte{0x20, 0x44, 1, 255, 15})
	}
	f.Fuzz(func(t *testing.T, b, wire []byte) {
		p, ok := Parse(b)
		if !ok {
			return
		}
		var ids ExtensionIDs
		taken := map[byte]bool{}
		for i, w := range wire {
			if !taken[w] {
				taken[w] = true
				ids.Set(uint8(i+1), w)
			}
		}
		var x Extensions
		p.ReadExtensions(&ids, &x)
		for id := range uint8(20) {
			v, w := x.Value(p, id), p.Extension(ids.Wire(id))
			if (v == nil) != (w == nil) || !bytes.Equal(v, w) {
				t.Fatalf("extension %d: index %x, search %x", id, v, w)
			}
			ParseAbsCaptureTime(v)
		}
	})
}

// What was encoded as RTX decodes to the original, and any packet can be
// decoded.
func FuzzDecodeRTX(f *testing.F) {
	addSeeds(f)
	f.Fuzz(func(t *testing.T, b []byte) {
		p, ok := Parse(b)
		if !ok {
			return
		}
		h := p.Header()
		payload := bytes.Clone(p.Payload())
		r, ok := Parse(AppendRTX(nil, p, 1, 2, 3))
		if !ok || r.Header() != (Header{h.Marker, 2, 3, h.Timestamp, 1}) {
			t.Fatalf("RTX of %x is %x", p, r)
		}
		d, ok := DecodeRTX(r, h.SSRC, h.PayloadType)
		if !ok {
			t.Fatalf("can't decode %x", r)
		}
		if d, ok = Parse(d); !ok || d.Header() != h || !bytes.Equal(d.Payload(), payload) ||
			!bytes.Equal(d[12:d.HeaderLen()], p[12:p.HeaderLen()]) {
			t.Fatalf("%x came back as %x", p, d)
		}
		if d, ok := DecodeRTX(p, 1, 2); ok {
			if _, ok := Parse(d); !ok {
				t.Fatalf("decoded to %x", d)
			}
		}
	})
}
