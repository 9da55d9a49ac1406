// Package verify checks frames of the channel before anything reads them: the
// FlatBuffers code for Go trusts its input, so that a bad offset is a panic and
// a bad length is memory without end.
//
// What it knows of the schema is in tables.go, which gen writes. It checks what
// FlatBuffers' own verifier does for C++ (bounds, vtables, required fields,
// unions, strings, vectors, depth) and two things more: that unpacking a frame
// takes no more than eight times its memory, however often its parts refer to
// the same table, and that the body is one that the method or event has.
package verify

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
)

//go:generate go run ./gen ../fbs/channel.fbs tables.go

const (
	// MaxFrame is the largest frame, in bytes, without its size prefix
	// (mediasoup's 8 MiB include it).
	MaxFrame = 8<<20 - 4

	maxDepth = 32 // tables within tables
	// Bytes of memory that unpacking may take for each byte of the frame.
	maxGrowth = 8
)

// Classes of errors, for errors.Is.
var (
	// ErrMalformed is a frame that nothing may read.
	ErrMalformed = errors.New("malformed frame")
	// ErrBody is a well-formed frame, safe to read, whose body is not that of
	// its method or event, or a kind of message that does not go this way.
	ErrBody = errors.New("wrong body")
)

// An Error says what is wrong with a frame, and where.
type Error struct {
	Table, Field string // as in the schema; empty: the frame itself
	Reason       string
	Err          error // ErrMalformed or ErrBody
}

// Error returns the text.
func (e *Error) Error() string {
	switch {
	case e.Table == "":
		return fmt.Sprintf("%v: %s", e.Err, e.Reason)
	case e.Field == "":
		return fmt.Sprintf("%v: %s: %s", e.Err, e.Table, e.Reason)
	}
	return fmt.Sprintf("%v: %s.%s: %s", e.Err, e.Table, e.Field, e.Reason)
}

// Unwrap returns the class.
func (e *Error) Unwrap() error { return e.Err }

// Verify checks a frame that goes to a worker, without its size prefix: a
// Request or a Notification. It does not keep or change the frame, and does not
// allocate unless it returns an error, which is an *Error: ErrMalformed, or
// ErrBody for a frame that can be read but asks for what there isn't. A method
// or event that is unknown passes, whatever its body.
func Verify(frame []byte) error {
	if err := verify(frame); err != nil {
		return err
	}
	return checkToWorker(frame)
}

// VerifyFromWorker checks a frame that comes from a worker: a Response, a
// Notification or a Log. It is like [Verify]. That a Response has the body of
// its request only the sender of the request can tell.
func VerifyFromWorker(frame []byte) error {
	if err := verify(frame); err != nil {
		return err
	}
	return checkFromWorker(frame)
}

// verify checks the structure of a frame.
func verify(frame []byte) error {
	v := verifier{b: frame, budget: len(frame) * maxGrowth}
	switch {
	case len(frame) > MaxFrame:
		v.fail(nil, nil, "too long")
	default:
		if p, ok := v.ref(0); !ok {
			v.fail(nil, nil, "no root")
		} else {
			v.budget -= accessor
			v.table(p, rootTable, 0)
		}
	}
	if v.err != nil {
		return v.err
	}
	return nil
}

type verifier struct {
	b      []byte
	budget int    // bytes of memory that unpacking may still take
	err    *Error // the first
}

// fail keeps the first error and returns false.
func (v *verifier) fail(t *table, f *field, reason string) bool {
	if v.err != nil {
		return false
	}
	v.err = &Error{Reason: reason, Err: ErrMalformed}
	if t != nil {
		v.err.Table = t.name
	}
	if f != nil {
		v.err.Field = f.name
	}
	return false
}

// has reports whether n bytes at p are within the frame.
func (v *verifier) has(p, n int) bool { return p >= 0 && n >= 0 && p <= len(v.b)-n }

// spend takes n bytes of memory from the budget.
func (v *verifier) spend(n int) bool {
	v.budget -= n
	return v.budget >= 0
}

// ref follows the offset at p to something of at least four bytes.
func (v *verifier) ref(p int) (int, bool) {
	if !v.has(p, 4) {
		return 0, false
	}
	o := binary.LittleEndian.Uint32(v.b[p:])
	if o == 0 || o > math.MaxInt32 {
		return 0, false
	}
	q := p + int(o)
	return q, v.has(q, 4)
}

// vector returns where the elements of the vector that p refers to are, and how
// many.
func (v *verifier) vector(p, size int) (start, n int, ok bool) {
	q, ok := v.ref(p)
	if !ok {
		return 0, 0, false
	}
	u := binary.LittleEndian.Uint32(v.b[q:])
	if u > uint32(len(v.b)) || !v.has(q+4, int(u)*size) {
		return 0, 0, false
	}
	return q + 4, int(u), true
}

// string checks the string that p refers to, with its final NUL.
func (v *verifier) string(p int) bool {
	start, n, ok := v.vector(p, 1)
	return ok && v.has(start+n, 1) && v.b[start+n] == 0 && v.spend(heap(n))
}

// table checks the table at p.
func (v *verifier) table(p int, index uint16, depth int) bool {
	t := &tables[index]
	if depth > maxDepth {
		return v.fail(t, nil, "too deep")
	}
	if !v.spend(heap(int(t.size))) {
		return v.fail(t, nil, "too much for its size")
	}
	if !v.has(p, 4) {
		return v.fail(t, nil, "out of bounds")
	}
	vt := vtable{at: p - int(int32(binary.LittleEndian.Uint32(v.b[p:])))}
	if !v.has(vt.at, 4) {
		return v.fail(t, nil, "vtable out of bounds")
	}
	vt.size = int(binary.LittleEndian.Uint16(v.b[vt.at:]))
	// The table's own size, which follows, says nothing: Go's Builder lets
	// tables share a vtable that differ in it only.
	if vt.size < 4 || vt.size&1 != 0 || !v.has(vt.at, vt.size) {
		return v.fail(t, nil, "bad vtable")
	}
	for i := range t.fields {
		f := &t.fields[i]
		o := v.slot(vt, i)
		if o == 0 {
			if f.required {
				return v.fail(t, f, "missing")
			}
			if f.kind == kindUnion && v.tag(p, vt, i) != 0 {
				return v.fail(t, f, "tag without a value")
			}
			continue
		}
		width := 4 // of an offset
		if f.kind == kindScalar {
			width = int(f.size)
		}
		if o < 4 || !v.has(p+o, width) {
			return v.fail(t, f, "out of bounds")
		}
		if !v.field(p, vt, i, t, f, depth) {
			return v.fail(t, f, "out of bounds, or too much for the frame's size")
		}
	}
	return true
}

// field checks the present field f, slot i, of the table at p.
func (v *verifier) field(p int, vt vtable, i int, t *table, f *field, depth int) bool {
	q := p + v.slot(vt, i)
	switch f.kind {
	case kindScalar:
		return !f.optional || v.spend(heap(int(f.size)))
	case kindString:
		return v.string(q)
	case kindTable:
		r, ok := v.ref(q)
		return ok && v.spend(accessor) && v.table(r, f.to, depth+1)
	case kindUnion:
		members := unions[f.to]
		tag := int(v.tag(p, vt, i))
		if tag == 0 || tag > len(members) {
			return v.fail(t, f, "unknown tag")
		}
		r, ok := v.ref(q)
		return ok && v.spend(accessor+unionValue) && v.table(r, members[tag-1], depth+1)
	case kindScalars:
		_, n, ok := v.vector(q, int(f.size))
		return ok && (f.shared || v.spend(heap(n*int(f.size))))
	case kindStrings:
		start, n, ok := v.vector(q, 4)
		ok = ok && v.spend(heap(16*n))
		for j := 0; ok && j < n; j++ {
			ok = v.string(start + 4*j)
		}
		return ok
	case kindTables:
		start, n, ok := v.vector(q, 4)
		ok = ok && v.spend(heap(8*n))
		for j := 0; ok && j < n; j++ {
			var r int
			if r, ok = v.ref(start + 4*j); ok {
				ok = v.table(r, f.to, depth+1)
			}
		}
		return ok
	}
	return false
}

// A vtable is a checked vtable's place in the frame.
type vtable struct{ at, size int }

// slot returns the offset of a field from its table; 0: absent.
func (v *verifier) slot(vt vtable, i int) int {
	if 4+2*i+2 > vt.size {
		return 0
	}
	return int(binary.LittleEndian.Uint16(v.b[vt.at+4+2*i:]))
}

// tag returns the tag of the union in slot i, which its slot before holds.
func (v *verifier) tag(p int, vt vtable, i int) byte {
	if o := v.slot(vt, i-1); o != 0 {
		return v.b[p+o] // within the frame: it was checked before the value
	}
	return 0
}

// Bytes that unpacking takes beside the structs of the tables.
const (
	accessor   = 32 // flatbuffers.Table, by which a table is read
	unionValue = 24 // tag and interface value
)

// heap returns how many bytes Go's allocator takes for n, at most on average:
// the next class of sizes, and for less than 16 without pointers, which share a
// block, twice their size at most.
func heap(n int) int {
	up := func(to int) int { return (n + to - 1) / to * to }
	switch {
	case n < 8:
		return 2 * n
	case n <= 16:
		return 16
	case n <= 32:
		return up(8)
	case n <= 256:
		return up(16)
	case n <= 512:
		return up(32)
	}
	n += 8 // the allocator's header
	if n <= 1024 {
		return up(128)
	}
	return n + n/4
}
