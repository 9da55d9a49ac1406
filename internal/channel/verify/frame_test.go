package verify

import (
	"encoding/binary"
	"math/rand/v2"
	"strings"

	flatbuffers "github.com/google/flatbuffers/go"

	"github.com/mafalda-sfu/mafalda/internal/channel/fbs"
)

// A maker builds random valid frames from the tables.
type maker struct {
	rnd *rand.Rand
	b   *flatbuffers.Builder
}

func newMaker(seed uint64) *maker {
	return &maker{rand.New(rand.NewPCG(seed, 1)), flatbuffers.NewBuilder(1024)}
}

func tableNamed(name string) *table {
	for i := range tables {
		if tables[i].name == name {
			return &tables[i]
		}
	}
	panic("no table " + name)
}

// frame returns a Message that holds the given kind with the given method or
// event, and the body that belongs to it; body is only for a Response.
func (m *maker) frame(kind fbs.MessageBody, number byte, body byte) []byte {
	m.b.Reset()
	var inner flatbuffers.UOffsetT
	switch kind {
	case fbs.MessageBodyRequest:
		inner = m.table(tableNamed("Request"), 1, map[int]byte{1: number, 3: byte(requestBodies[number])})
	case fbs.MessageBodyNotification:
		inner = m.table(tableNamed("Notification"), 1, map[int]byte{1: number, 2: byte(notificationBodies[number])})
	case fbs.MessageBodyResponse:
		inner = m.table(tableNamed("Response"), 1, map[int]byte{2: body})
	case fbs.MessageBodyLog:
		inner = m.table(tableNamed("Log"), 1, nil)
	}
	fbs.MessageStart(m.b)
	fbs.MessageAddDataType(m.b, kind)
	fbs.MessageAddData(m.b, inner)
	m.b.Finish(fbs.MessageEnd(m.b))
	return append([]byte(nil), m.b.FinishedBytes()...)
}

// any returns a frame of any kind.
func (m *maker) any() []byte {
	switch m.rnd.IntN(8) {
	case 0:
		return m.frame(fbs.MessageBodyLog, 0, 0)
	case 1, 2:
		return m.frame(fbs.MessageBodyNotification, byte(m.rnd.IntN(len(notificationBodies))), 0)
	case 3, 4:
		return m.frame(fbs.MessageBodyResponse, 0, byte(m.rnd.IntN(1+len(unions[unionOf("Response")]))))
	}
	return m.frame(fbs.MessageBodyRequest, byte(m.rnd.IntN(len(requestBodies))), 0)
}

// unionOf returns the union that a table has.
func unionOf(name string) int {
	for _, f := range tableNamed(name).fields {
		if f.kind == kindUnion {
			return int(f.to)
		}
	}
	panic("no union in " + name)
}

// table builds a table; fixed has values of one byte by slot, union tags among
// them.
func (m *maker) table(t *table, depth int, fixed map[int]byte) flatbuffers.UOffsetT {
	offsets := make([]flatbuffers.UOffsetT, len(t.fields))
	tags := make([]byte, len(t.fields))
	for i, f := range t.fields {
		if f.kind == kindScalar || !f.required && f.kind != kindUnion && (depth > 8 || m.rnd.IntN(3) == 0) {
			continue
		}
		count := m.rnd.IntN(4)
		if depth > 8 {
			count = 0
		}
		switch f.kind {
		case kindString:
			offsets[i] = m.string()
		case kindTable:
			offsets[i] = m.table(&tables[f.to], depth+1, nil)
		case kindUnion:
			tag, ok := fixed[i-1]
			if !ok && (f.required || m.rnd.IntN(2) == 0) {
				tag = byte(1 + m.rnd.IntN(len(unions[f.to])))
				if depth > 8 {
					tag = 1
				}
			}
			if tags[i-1] = tag; tag > 0 {
				offsets[i] = m.table(&tables[unions[f.to][tag-1]], depth+1, nil)
			}
		case kindScalars:
			m.b.StartVector(int(f.size), count, int(f.size))
			for range count * int(f.size) {
				m.b.PrependByte(byte(m.rnd.Uint32()))
			}
			offsets[i] = m.b.EndVector(count)
		case kindStrings, kindTables:
			var elements []flatbuffers.UOffsetT
			for range count {
				if f.kind == kindStrings {
					elements = append(elements, m.string())
				} else {
					elements = append(elements, m.table(&tables[f.to], depth+1, nil))
				}
			}
			offsets[i] = m.b.CreateVectorOfTables(elements)
		}
	}
	m.b.StartObject(len(t.fields))
	for i, f := range t.fields {
		value, isFixed := fixed[i]
		switch {
		case f.kind != kindScalar:
			m.b.PrependUOffsetTSlot(i, offsets[i], 0)
		case isFixed:
			m.b.PrependByteSlot(i, value, 0)
		case i+1 < len(t.fields) && t.fields[i+1].kind == kindUnion:
			m.b.PrependByteSlot(i, tags[i], 0)
		case m.rnd.IntN(3) == 0:
		default:
			switch f.size {
			case 1: // also a bool
				m.b.PrependByte(byte(m.rnd.IntN(2)))
			case 2:
				m.b.PrependUint16(uint16(m.rnd.Uint32()))
			case 4:
				m.b.PrependUint32(m.rnd.Uint32())
			case 8:
				m.b.PrependUint64(m.rnd.Uint64())
			}
			m.b.Slot(i)
		}
	}
	return m.b.EndObject()
}

func (m *maker) string() flatbuffers.UOffsetT {
	return m.b.CreateString(strings.Repeat("s", m.rnd.IntN(40)))
}

// mutate changes a frame in place and may shorten it.
func (m *maker) mutate(b []byte) []byte {
	for range 1 + m.rnd.IntN(4) {
		if len(b) < 9 {
			return b
		}
		at := m.rnd.IntN(len(b))
		word := at &^ 3 % (len(b) - 4)
		switch m.rnd.IntN(10) {
		case 0, 1:
			b[at] = byte(m.rnd.Uint32())
		case 2, 3:
			b[at] ^= 1 << m.rnd.IntN(8)
		case 4:
			binary.LittleEndian.PutUint32(b[word:], m.rnd.Uint32()>>m.rnd.IntN(32))
		case 5: // a length or an offset that is near
			binary.LittleEndian.PutUint32(b[word:], uint32(m.rnd.IntN(2*len(b))))
		case 6: // two offsets to one place
			from := m.rnd.IntN(len(b)-4) &^ 3
			target := uint32(from) + binary.LittleEndian.Uint32(b[from:])
			binary.LittleEndian.PutUint32(b[word:], target-uint32(word))
		case 7: // a piece of the frame elsewhere
			n := m.rnd.IntN(min(32, len(b)))
			copy(b[at:], b[m.rnd.IntN(len(b)-n):][:n])
		case 8:
			binary.LittleEndian.PutUint16(b[word:], uint16(m.rnd.IntN(64)))
		case 9:
			if m.rnd.IntN(4) == 0 {
				b = b[:at]
			}
		}
	}
	return b
}
