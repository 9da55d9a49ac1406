package rtp

import "encoding/binary"

// The numbers of the header extensions inside a Router. They are also the ids
// that Consumers send, so that nothing is translated for each of them; the
// receivers' negotiated ids are the same (worker/include/RTC/RtpDictionaries.hpp).
const (
	IDMID                  = 1
	IDRID                  = 2
	IDRepairedRID          = 3
	IDAbsSendTime          = 4
	IDTransportWideCC      = 5
	IDAudioLevel           = 6
	IDDependencyDescriptor = 7
	IDVideoOrientation     = 8
	IDTimeOffset           = 9
	IDAbsCaptureTime       = 10
	IDPlayoutDelay         = 11
	IDPacketID             = 12

	numIDs = IDPacketID + 1
)

// The profiles of an extension block (RFC 8285 §4.2, 4.3). The low four bits of
// the two-byte profile are free for applications.
const (
	ProfileOneByte = 0xbede
	ProfileTwoByte = 0x1000
)

type form uint8

const (
	opaque form = iota
	oneByte
	twoByte
)

func formOf(profile uint16) form {
	switch {
	case profile == ProfileOneByte:
		return oneByte
	case profile&0xfff0 == ProfileTwoByte:
		return twoByte
	}
	return opaque
}

// A walker goes through the elements of an extension block.
type walker struct {
	b    []byte // up to the end of the block
	at   int    // where to go on
	form form
	bad  bool // an element passes the end

	id         uint8 // of the element that next found
	start, end int   // its value
}

// next finds the next element; id 0 is a padding byte in both forms.
//
//	one-byte form: | id (4) | length - 1 (4) | value …    id 15 ends the block
//	two-byte form: |     id (8)     |    length (8)   | value …
func (w *walker) next() bool {
	for w.at < len(w.b) {
		switch w.form {
		case oneByte:
			v := w.b[w.at]
			w.id = v >> 4
			if w.id == 0 {
				w.at++
				continue
			}
			if w.id == 15 {
				return false
			}
			w.start = w.at + 1
			w.end = w.start + int(v&0x0f) + 1
		case twoByte:
			w.id = w.b[w.at]
			if w.id == 0 {
				w.at++
				continue
			}
			if w.at+1 == len(w.b) {
				return false // half an element: ignored
			}
			w.start = w.at + 2
			w.end = w.start + int(w.b[w.at+1])
		default:
			return false
		}
		if w.end > len(w.b) {
			w.bad = true
			return false
		}
		w.at = w.end
		return true
	}
	return false
}

func (p Packet) walk() walker {
	if p[0]&flagExtension == 0 {
		return walker{}
	}
	n := p.csrcEnd()
	return walker{b: p[:p.HeaderLen()], at: n + blockHead, form: formOf(binary.BigEndian.Uint16(p[n:]))}
}

// ExtensionProfile returns the profile of the extension block: [ProfileOneByte],
// [ProfileTwoByte] plus up to 15, any other one of an opaque block, or 0 also
// when there is no block.
func (p Packet) ExtensionProfile() uint16 {
	if p[0]&flagExtension == 0 {
		return 0
	}
	return binary.BigEndian.Uint16(p[p.csrcEnd():])
}

// Extension returns a view of the value of the header extension with an id as
// negotiated with the sender, nil if the packet has none. An element of length
// zero gives a slice that is empty but not nil. The last of several counts.
func (p Packet) Extension(id uint8) []byte {
	var value []byte
	if id == 0 {
		return nil
	}
	for w := p.walk(); w.next(); {
		if w.id == id {
			value = w.b[w.start:w.end:w.end]
		}
	}
	return value
}

// An ExtensionIDs translates the ids negotiated with one sender into our
// constants (IDMID …). The zero value knows none.
type ExtensionIDs struct {
	internal [256]uint8 // by the id on the wire
	wire     [numIDs]uint8
}

// Set says that the sender uses wire for the extension id; what it used for id
// before is forgotten. A wire of 0 only forgets.
func (x *ExtensionIDs) Set(id, wire uint8) {
	if id == 0 || id >= numIDs {
		return
	}
	if old := x.wire[id]; x.internal[old] == id {
		x.internal[old] = 0
	}
	x.wire[id] = wire
	if wire != 0 {
		x.internal[wire] = id
	}
}

// Wire returns the id that the sender uses for the extension id, 0 if none.
func (x *ExtensionIDs) Wire(id uint8) uint8 {
	if id >= numIDs {
		return 0
	}
	return x.wire[id]
}

// Extensions is an index of where the known header extensions of one packet
// are. It holds no pointer.
type Extensions struct {
	start [numIDs]int32 // 0: absent
	size  [numIDs]uint8
}

// ReadExtensions walks once through the header extensions of p and makes x their
// index, under our constants.
func (p Packet) ReadExtensions(ids *ExtensionIDs, x *Extensions) {
	*x = Extensions{}
	for w := p.walk(); w.next(); {
		if id := ids.internal[w.id]; id != 0 {
			x.start[id] = int32(w.start)
			x.size[id] = uint8(w.end - w.start)
		}
	}
}

// Value returns a view of the value of the extension id (IDMID …) in p, the
// packet that x was read from; nil if it has none.
func (x *Extensions) Value(p Packet, id uint8) []byte {
	if id >= numIDs || x.start[id] == 0 {
		return nil
	}
	start := int(x.start[id])
	end := start + int(x.size[id])
	return p[start:end:end]
}
